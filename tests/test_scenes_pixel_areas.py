import math
from itertools import pairwise

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
pyproj = pytest.importorskip("pyproj", reason="the extra geo is not installed")
from affine import Affine  # noqa: E402
from rasterio.crs import CRS  # noqa: E402

from segearth.scenes.georeference import Georeference  # noqa: E402
from segearth.scenes.pixel_areas import pixel_areas  # noqa: E402

GEOD = pyproj.Geod(ellps="WGS84")


def turned(degrees, x, y, width, height):
    """A transform whose rows go so many degrees up from the east."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Affine(cos * width, sin * height, x, sin * width, -cos * height, y)


def test_the_whole_earth_has_its_area():
    areas = pixel_areas(Affine(1, 0, -180, 0, -0.5, 90), CRS.from_epsg(4326), (360, 360))
    assert areas.values.shape == (360,)
    assert areas.values.sum() * 360 == pytest.approx(510_065_621_724_088.4, rel=1e-12)  # of WGS 84
    assert "WGS 84 (EPSG:4326)" in areas.method


@pytest.mark.parametrize("pixel", [1e-6, 1e-3, 0.1])
@pytest.mark.parametrize("top", [0.05, 50.3, -89.5])
def test_a_small_pixel_in_degrees_has_the_area_of_its_geodesic_outline(pixel, top):
    areas = pixel_areas(Affine(pixel, 0, 7, 0, -pixel, top), CRS.from_epsg(4326), (3, 5))
    for row in range(3):
        north, south = top - row * pixel, top - (row + 1) * pixel
        # the geodesic between two points of a parallel is not the parallel: many short ones come near
        lons = np.linspace(7, 7 + pixel, 50)
        outline = [*lons, *lons[::-1]], [*np.full(50, north), *np.full(50, south)]
        true = abs(GEOD.polygon_area_perimeter(*outline)[0])
        assert areas.values[row] == pytest.approx(true, rel=2e-5 if pixel == 1e-6 else 2e-8)


def test_small_pixels_sum_to_large_ones():
    fine = pixel_areas(Affine(1e-5, 0, 7, 0, -1e-5, 51), CRS.from_epsg(4326), (10_000, 10_000))
    coarse = pixel_areas(Affine(0.1, 0, 7, 0, -0.1, 51), CRS.from_epsg(4326), (1, 1))
    assert fine.values.sum() * 10_000 == pytest.approx(coarse.values[0], rel=1e-12)


def test_the_antimeridian_and_the_poles_are_no_borders():
    crs = CRS.from_epsg(4326)
    across = pixel_areas(Affine(0.1, 0, 179.5, 0, -0.1, 10), crs, (4, 10))
    elsewhere = pixel_areas(Affine(0.1, 0, 20, 0, -0.1, 10), crs, (4, 10))
    np.testing.assert_array_equal(across.values, elsewhere.values)
    beyond = pixel_areas(Affine(1, 0, 0, 0, -1, 91), crs, (3, 3)).values
    assert beyond[0] == 0 < beyond[1] < beyond[2]


def test_grads_and_other_prime_meridians():
    grads = pixel_areas(Affine(0.01, 0, 2, 0, -0.01, 50), CRS.from_epsg(4807), (2, 2))  # NTF (Paris)
    degrees = pixel_areas(Affine(0.009, 0, 2, 0, -0.009, 45), CRS.from_epsg(4275), (2, 2))  # NTF
    np.testing.assert_allclose(grads.values, degrees.values, rtol=1e-9)


def test_a_sphere():
    crs = CRS.from_proj4("+proj=longlat +R=1000 +no_defs")
    areas = pixel_areas(Affine(1, 0, -180, 0, -1, 90), crs, (180, 360))
    assert areas.values.sum() * 360 == pytest.approx(4 * math.pi * 1000**2, rel=1e-12)


def test_utm_is_measured_in_the_plane():
    areas = pixel_areas(Affine(0.5, 0, 356_000, 0, -0.5, 5_645_000), CRS.from_epsg(25832), (1000, 1000))
    assert areas.values == 0.25
    assert "in the plane of ETRS89 / UTM zone 32N (EPSG:25832), at most 0.0" in areas.method


def test_us_feet_are_no_metres():
    areas = pixel_areas(Affine(2, 0, 980_000, 0, -2, 200_000), CRS.from_epsg(2263), (100, 100))
    assert areas.values == pytest.approx(4 * (1200 / 3937) ** 2, rel=1e-12)


def test_a_rotated_transform_has_the_area_of_its_parallelogram():
    assert pixel_areas(turned(30, 356_000, 5_645_000, 2, 3), CRS.from_epsg(25832), (50, 50)).values == pytest.approx(6)


def test_web_mercator_has_true_areas():
    pixel = 30.0
    transform = Affine(pixel, 0, 779_000, 0, -pixel, 6_600_000)  # near Cologne
    areas = pixel_areas(transform, CRS.from_epsg(3857), (400, 300))
    to_degrees = pyproj.Transformer.from_crs(3857, 4326, always_xy=True)
    _, lats = to_degrees.transform(np.full(401, 779_000.0), 6_600_000 - pixel * np.arange(401.0))
    degrees = pixel / 6378137 * 180 / math.pi
    rows = [Affine(degrees, 0, 0, 0, south - north, north) for north, south in pairwise(lats)]
    true = [pixel_areas(row, CRS.from_epsg(4326), (1, 1)).values[0] for row in rows]
    np.testing.assert_allclose(areas.values, true, rtol=1e-8)
    assert areas.values[0] < 0.42 * pixel**2  # the plane's is 2.4 times too large
    assert "does not keep areas" in areas.method
    assert "differ" not in areas.method


def test_other_systems_that_do_not_keep_areas():
    crs = CRS.from_epsg(3995)  # polar stereographic: areas vary along rows, too
    transform = Affine(10_000, 0, -1_500_000, 0, -10_000, 1_500_000)
    areas = pixel_areas(transform, crs, (300, 300))
    assert "pixels of a row differ by up to" in areas.method
    plane = pixel_areas(Affine(10_000, 0, -1_500_000, 0, -10_000, 1_500_000), CRS.from_epsg(3571), (300, 300))
    assert plane.values == 1e8  # Lambert's azimuthal system keeps areas
    assert areas.values.sum() * 300 == pytest.approx(_square(3995, 1_500_000), rel=2e-3)


def _square(epsg, half):
    """The area of a square around the pole, from its outline in many points."""
    side = np.linspace(-half, half, 400)
    x = [*side, *np.full(400, half), *side[::-1], *np.full(400, -half)]
    y = [*np.full(400, half), *side[::-1], *np.full(400, -half), *side]
    lon, lat = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y)
    return abs(GEOD.polygon_area_perimeter(lon, lat)[0])


def test_a_rotated_geographic_raster():
    areas = pixel_areas(turned(20, 7, 51, 1e-3, 1e-3), CRS.from_epsg(4326), (20, 30))
    straight = pixel_areas(Affine(1e-3, 0, 7, 0, -1e-3, 51), CRS.from_epsg(4326), (20, 30))
    np.testing.assert_allclose(areas.values, straight.values, rtol=1e-3)


def test_without_coordinate_system_there_are_pixels_only():
    areas = pixel_areas(Affine.identity(), None, (3, 3))
    assert areas.values is None
    assert areas.rows(0, 2) is None
    assert "in pixels only" in areas.method


def test_a_local_system_has_its_unit():
    crs = CRS.from_wkt('LOCAL_CS["site",UNIT["foot",0.3048]]')
    areas = pixel_areas(Affine(2, 0, 0, 0, -2, 0), crs, (3, 3))
    assert areas.values == pytest.approx(4 * 0.3048**2)
    ground = Georeference.from_rasterio(Affine(2, 0, 0, 0, -2, 0), crs)
    assert ground.distance_m(1, 1) == pytest.approx(0.6096)
    assert ground.north_angle(1, 1) is None


def test_heights_and_datum_shifts_do_not_matter():
    compound = CRS.from_user_input("EPSG:7415")  # RD New and heights
    assert pixel_areas(Affine(1, 0, 121_000, 0, -1, 487_000), compound, (5, 5)).values == 1
    assert pixel_areas(Affine(1, 0, 121_000, 0, -1, 487_000), compound, (5, 5)).rows(1, 3).tolist() == [1, 1]


def test_metres_and_north():
    utm = Georeference.from_rasterio(Affine(0.5, 0, 500_000, 0, -0.5, 5_645_000), CRS.from_epsg(25832))
    assert utm.distance_m(0, 0) == pytest.approx(0.5 / 0.9996, rel=1e-6)
    assert utm.north_angle(0, 0) == pytest.approx(0, abs=1e-4)  # on the central meridian
    mercator = Georeference.from_rasterio(Affine(10, 0, 779_000, 0, -10, 6_600_000), CRS.from_epsg(3857))
    assert mercator.distance_m(0, 0) == pytest.approx(10 * math.cos(math.radians(50.9)), rel=5e-3)
    degrees = Georeference.from_rasterio(Affine(1e-5, 0, 180, 0, -1e-5, 60), CRS.from_epsg(4326))
    assert degrees.distance_m(0, 0) == pytest.approx(0.5579, rel=2e-3)
    rotated = Georeference.from_rasterio(turned(30, 7, 0, 1e-3, 1e-3), CRS.from_epsg(4326))
    assert rotated.north_angle(0, 0) == pytest.approx(math.radians(30), abs=1e-6)
    upside_down = Georeference.from_rasterio(Affine(1e-3, 0, 7, 0, 1e-3, 0), CRS.from_epsg(4326))
    assert abs(upside_down.north_angle(0, 0)) == pytest.approx(math.pi)
    pole = Georeference.from_rasterio(Affine(1000, 0, 0, 0, -1000, 0), CRS.from_epsg(3995))
    assert abs(pole.north_angle(1000.0, 0.0)) == pytest.approx(math.pi / 2)  # east of the pole, north is to the left
