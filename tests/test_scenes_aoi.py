"""Boxes and polygons, as pixels of a raster."""

import json
import pickle

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")
pyproj = pytest.importorskip("pyproj", reason="scenes need the extra geo")
shapely = pytest.importorskip("shapely", reason="scenes need the extra geo")
pyogrio = pytest.importorskip("pyogrio", reason="scenes need the extra geo")

from rasters import noise, write  # noqa: E402

from segearth.errors import UserError  # noqa: E402
from segearth.scenes import aoi  # noqa: E402
from segearth.scenes.aoi import Area, area_from_bbox, area_from_file  # noqa: E402
from segearth.scenes.raster import open_raster  # noqa: E402
from segearth.windows import Window  # noqa: E402

TO_LONLAT = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)


@pytest.fixture
def raster(tmp_path):
    """70 × 90 pixels of 0.5 m; its corner is 500000, 5500000."""
    with open_raster(write(tmp_path / "a.tif", noise(1, 70, 90, "uint8"))) as opened:
        yield opened


def geojson(path, *shapes, crs=None):
    """Writes shapes in longitude and latitude, or in another system."""
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)} for shape in shapes]
    path.write_text(json.dumps({"type": "FeatureCollection", **named, "features": features}))
    return path


@pytest.mark.parametrize(
    ("box", "window"),
    [
        ("500005,5499980,500010.2,5499990", Window(20, 40, 10, 21)),  # snapped outward
        ((500005, 5499980, 500010, 5499990), Window(20, 40, 10, 20)),  # on the borders of pixels
        ("500005.01,5499980.01,500009.99,5499989.99", Window(20, 40, 10, 20)),
        ("0,0,1e6,1e7", Window(0, 70, 0, 90)),
        ("500001.1,5499999.1,500001.2,5499999.2", Window(1, 2, 2, 3)),
        ("500044.9,5499000,600000,5499965.1", Window(69, 70, 89, 90)),
    ],
)
def test_a_box_is_snapped_outward_to_pixels(raster, box, window):
    assert area_from_bbox(raster, box) == Area(window)


def test_borders_of_pixels_survive_rounding(tmp_path):
    transform = rasterio.Affine(0.1, 0, 0.3, 0, -0.1, 0.7)
    with open_raster(write(tmp_path / "a.tif", noise(1, 70, 90, "uint8"), transform=transform)) as raster:
        for start in range(1, 60):
            west, north = 0.3 + start * 0.1, 0.7 - start * 0.1
            box = (west, north - 0.1, west + 0.1, north)
            assert area_from_bbox(raster, box).window == Window(start, start + 1, start, start + 1)


def test_a_box_in_another_system(raster):
    west, south = TO_LONLAT.transform(500005, 5499980)
    east, north = TO_LONLAT.transform(500010, 5499990)
    window = area_from_bbox(raster, (west, south, east, north), "EPSG:4326").window
    assert (np.abs(np.subtract(window, (20, 40, 10, 20))) <= 1).all()
    assert area_from_bbox(raster, "-180,-90,180,90", "EPSG:4326").window == Window(0, 70, 0, 90)
    with pytest.raises(UserError, match="no part of .* lies in the box"):  # it has coordinates in UTM, but far off
        area_from_bbox(raster, "100,-60,120,-50", "EPSG:4326")


@pytest.mark.parametrize("box", ["179.999,-17.001,-179.999,-16.999", "-180,-17.001,-179.999,-16.999"])
def test_a_box_in_degrees_at_the_antimeridian_of_a_raster_in_utm(tmp_path, box):
    east, north = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32760", always_xy=True).transform(180, -17)
    transform = rasterio.Affine(10, 0, east - 450, 0, -10, north + 350)
    path = write(tmp_path / "a.tif", noise(1, 70, 90, "uint8"), crs="EPSG:32760", transform=transform)
    with open_raster(path) as raster:
        top, bottom, left, right = area_from_bbox(raster, box, "EPSG:4326").window
    assert (abs(left - (34 if box.startswith("1") else 45)) <= 1, abs(right - 56) <= 1) == (True, True)
    assert (abs(top - 24) <= 1, abs(bottom - 46) <= 1) == (True, True)


def test_a_box_of_a_rotated_raster_holds_the_whole_box(tmp_path):
    transform = rasterio.Affine(0.4, 0.3, 500000, 0.3, -0.4, 5500000)
    with open_raster(write(tmp_path / "a.tif", noise(1, 70, 90, "uint8"), transform=transform)) as raster:
        x, y = (np.array(values) for values in (transform.a * 30 + transform.b * 20 + transform.c,
                                                transform.d * 30 + transform.e * 20 + transform.f))  # fmt: skip
        window = area_from_bbox(raster, (x - 2, y - 2, x + 2, y + 2)).window
    assert window == Window(14, 26, 24, 36)  # ± 2 · (0.4 + 0.3) / 0.25 pixels


@pytest.mark.parametrize("box", ["179.99,-0.05,-179.99,0.05", (179.99, -0.05, 180.01, 0.05)])
def test_across_the_antimeridian(tmp_path, box):
    transform = rasterio.Affine(0.001, 0, 179.95, 0, -0.001, 0.04)
    path = write(tmp_path / "a.tif", noise(1, 70, 90, "uint8"), crs="EPSG:4326", transform=transform)
    east = geojson(tmp_path / "east.json", shapely.box(-179.99, 0, -179.97, 0.02))
    with open_raster(path) as raster:
        assert area_from_bbox(raster, box).window == Window(0, 70, 40, 60)
        area, _ = area_from_file(raster, east)
        assert area.window == Window(20, 40, 60, 80)
        assert area.mask(Window(0, 70, 0, 90)).sum() == 400


def test_polygons_of_a_file(raster, tmp_path):
    triangle = shapely.Polygon([(500005, 5499990), (500025, 5499990), (500005, 5499970)])
    path = geojson(tmp_path / "a.json", triangle, crs="urn:ogc:def:crs:EPSG::32632")
    area, remarks = area_from_file(raster, path)
    assert remarks == []
    assert area.window == Window(20, 60, 10, 50)
    mask = area.mask(Window(0, 70, 0, 90))
    rows, columns = np.mgrid[:70, :90] + 0.5
    inside = (rows > 20) & (columns > 10) & (rows + columns < 70)
    border = rows + columns == 70
    assert np.array_equal(mask[~border], inside[~border])


def test_polygons_in_longitude_and_latitude_with_a_hole(raster, tmp_path):
    rectangle = shapely.box(500005, 5499975, 500030, 5499995).difference(shapely.box(500010, 5499980, 500020, 5499990))
    lonlat = shapely.transform(rectangle, lambda xy: np.column_stack(TO_LONLAT.transform(xy[:, 0], xy[:, 1])))
    area, remarks = area_from_file(raster, geojson(tmp_path / "a.json", lonlat, shapely.Point(9, 49)))
    assert remarks == []
    mask = area.mask(Window(0, 70, 0, 90))
    expected = np.zeros((70, 90), bool)
    expected[10:50, 10:60] = True
    expected[20:40, 20:40] = False
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("side", [7, 16, 33])
def test_a_mask_is_the_same_in_any_part(raster, tmp_path, monkeypatch, side):
    monkeypatch.setattr(aoi, "TILE", 16)
    rng = np.random.default_rng(0)
    shapes = [shapely.Polygon(np.array([500000, 5499965]) + rng.uniform(-5, 50, (5, 2))).convex_hull for _ in range(3)]
    area, _ = area_from_file(raster, geojson(tmp_path / "a.json", *shapes, crs="EPSG:32632"))
    area = pickle.loads(pickle.dumps(area))
    whole = area.mask(Window(0, 70, 0, 90))
    assert 500 < whole.sum() < 6000
    for top in range(0, 70, side):
        for left in range(0, 90, side):
            part = Window(top, min(70, top + side), left, min(90, left + side))
            assert np.array_equal(area.mask(part), whole[top : part.bottom, left : part.right])


def test_a_box_masks_what_is_beyond_it():
    mask = Area(Window(2, 4, 3, 8)).mask(Window(0, 3, 0, 10))
    assert np.argwhere(mask).tolist() == [[2, column] for column in range(3, 8)]
    assert not Area(Window(2, 4, 3, 8)).mask(Window(5, 9, 0, 10)).any()


def test_polygons_that_overlap_or_cross_themselves(raster, tmp_path):
    bow = shapely.Polygon([(500005, 5499990), (500025, 5499970), (500025, 5499990), (500005, 5499970)])
    area, _ = area_from_file(raster, geojson(tmp_path / "a.json", bow, shapely.box(500005, 5499970, 500025, 5499990),
                                           crs="EPSG:32632"))  # fmt: skip
    assert area.mask(Window(0, 70, 0, 90)).sum() == 1600


def test_layers_and_a_missing_system_are_said(raster, tmp_path):
    square = shapely.to_wkb([shapely.box(500005, 5499980, 500010, 5499990)])
    for number, name in enumerate(["first", "second"]):
        pyogrio.raw.write(tmp_path / "a.gpkg", square, [], [], layer=name, geometry_type="Polygon", crs="EPSG:32632",
                          append=bool(number))  # fmt: skip
    area, remarks = area_from_file(raster, tmp_path / "a.gpkg")
    assert (area.window, len(remarks)) == (Window(20, 40, 10, 20), 1)
    assert "has 2 layers; the first one, first, is used" in remarks[0]
    with pytest.warns(UserWarning, match="crs"):
        pyogrio.raw.write(tmp_path / "b.shp", square, [], [], geometry_type="Polygon", crs=None)
    area, remarks = area_from_file(raster, tmp_path / "b.shp")
    assert area.window == Window(20, 40, 10, 20)
    assert "b.shp has no coordinate system; that of " in remarks[0]


@pytest.mark.parametrize(
    ("box", "crs", "message"),
    [
        ("1,2,3", None, "the box is 1,2,3: expected four numbers, west, south, east and north, such as bbox="),
        ("a,b,c,d", None, "expected four numbers"),
        ("0,0,nan,1", None, "expected four numbers"),
        ("500010,5499980,500005,5499990", None, "has no area: expected west below east"),
        ("0,0,1,1", None, "no part of .*a.tif lies in the box: .*between 500000 and 500045, 5499965 and 5500000 in W"),
        ("0,0,1,1", "EPSG:99", "unknown coordinate system EPSG:99 of bbox_crs"),
    ],
)  # fmt: skip
def test_boxes_that_are_refused(raster, box, crs, message):
    with pytest.raises(UserError, match=message):
        area_from_bbox(raster, box, crs)


@pytest.mark.parametrize("kind", ["missing", "text", "points", "elsewhere"])
def test_files_that_are_refused(raster, tmp_path, kind):
    path = tmp_path / "x.json"
    message = {
        "missing": r"no file at .*x.json: expected polygons",
        "text": r"x.json cannot be read \(.*expected a file of polygons",
        "points": "x.json holds no polygons",
        "elsewhere": "no part of .*a.tif lies in .*x.json, whose polygons lie between .* in WGS 84: ",
    }[kind]
    if kind == "text":
        path.write_text("hello")
    elif kind != "missing":
        geojson(path, shapely.Point(9, 49) if kind == "points" else shapely.box(10, 50, 11, 51))
    with pytest.raises(UserError, match=message):
        area_from_file(raster, path)


def test_a_raster_without_coordinates_takes_pixels_but_no_other_system(tmp_path):
    with open_raster(write(tmp_path / "a.tif", noise(1, 70, 90, "uint8"), crs=None)) as raster:
        assert area_from_bbox(raster, "10,20,30,40").window == Window(20, 40, 10, 30)
        with pytest.raises(UserError, match="has no coordinate system, and bbox is in WGS 84: .*gdal_edit.py -a_srs"):
            area_from_bbox(raster, "10,20,30,40", "EPSG:4326")
