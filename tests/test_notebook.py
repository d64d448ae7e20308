"""What a notebook shows of a map, and its polygons as a GeoDataFrame. Maps are made by hand: no model is needed."""

import base64
import html
import io
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_result import result

from segearth.errors import UserError
from segearth.notebook.interactive import interactive_html
from segearth.notebook.view import class_colours, pixel_view
from segearth.result import Result
from segearth.scenes.options import SceneResult
from segearth.scenes.raster_spec import RasterSpec
from segearth.summary import result_rows
from segearth.vocabulary import Vocabulary

HOSTILE = "{{7*7}} </script><script>alert(1)</script> {% x %} <b>&amp; 'é'"
GEO = "scenes need the extra geo"


def page_of(shown: str) -> str:
    """The page in the frame of a notebook's map."""
    return html.unescape(re.search(r'srcdoc="(.*?)"', shown, re.S)[1])


def content_of(page: str) -> dict:
    """What its script is given."""
    return json.loads(re.search(r"const segearth = (.*?);</script>", page, re.S)[1])


def image_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def scene(crs: str, transform: tuple, scale: int = 20, **more) -> Result:
    rasterio = pytest.importorskip("rasterio", reason=GEO)
    return result(scale=scale, transform=rasterio.Affine(*transform), crs=rasterio.crs.CRS.from_string(crs), **more)


def test_the_map_of_a_picture_is_in_pixels():
    one = result(threshold=0.5, scale=20)
    view = pixel_view(one, result_rows(one))
    assert view.bounds == ((0, 0), (40, 60))
    assert not view.is_on_earth
    assert np.array_equal(view.picture[..., :3], one.pixels)
    assert view.colours[0, 0].tolist() == [*one.palette[0], 255]
    assert view.colours[0, 30, 3] == 0  # unclassified: clear
    large = result(scale=800)  # 1600 × 2400
    view = pixel_view(large, result_rows(large))
    assert view.colours.shape == view.picture.shape == (534, 800, 4)
    assert view.bounds == ((-2, 0), (1600, 2400))
    assert np.array_equal(view.colours[266, [266, 267]], class_colours(large.labels[799, [799, 801]], large.palette))


def test_names_are_neither_html_nor_scripts_nor_templates():
    pytest.importorskip("folium")
    one = result(f"road; {HOSTILE.replace(';', '')}; water", scale=20, name="<i>{{1+1}}")
    shown = one._repr_html_()
    page = page_of(shown)
    content = content_of(page)
    assert content["title"] == "<i>{{1+1}}"
    assert {row["name"] for row in content["rows"]} == set(one.classes)
    assert HOSTILE.replace(";", "") in one.classes
    for text in (page, shown):
        assert "<b>" not in text
        assert "<i>" not in text
        assert "alert(1)</script>" not in text
    assert {row["share"] for row in content["rows"]} == {"33.3 %"}


def test_nothing_but_leaflet_is_fetched():
    pytest.importorskip("folium")
    one = result(scale=20)
    page = page_of(one._repr_html_())
    assert {address.rpartition("/")[2] for address in re.findall(r'(?:src|href)="(http[^"]+)"', page)} == {
        *("leaflet.js", "leaflet.css")
    }
    assert "openstreetmap" not in page.lower()
    assert "L.CRS.Simple" in page
    assert re.search(r'"?minZoom"?: -12\b', page)  # large images fit into the frame
    pictures = [image_of(uri) for uri in content_of(page)["images"]]
    assert [picture.shape for picture in pictures] == [(40, 60, 4)] * 2
    assert pictures[1][0, 0].tolist() == [*one.palette[0], 255]


def test_without_folium_there_is_a_picture(monkeypatch):
    monkeypatch.setitem(sys.modules, "folium", None)
    shown = result(scale=20)._repr_html_()
    assert shown.startswith("<img ")
    assert "<table" in shown
    assert "<iframe" not in shown


def test_a_scene_lies_where_it_is_on_the_earth():
    one = scene("EPSG:32632", (0.5, 0, 500000, 0, -0.5, 5500000))
    view = one._view()
    assert view.is_on_earth
    (south, west), (north, east) = view.bounds
    assert (west, north) == pytest.approx((9, 49.6527), abs=1e-3)  # the zone's middle
    assert 0 < east - west < 0.001
    assert 0 < north - south < 0.001
    middle = view.colours[[view.colours.shape[0] // 4, 3 * view.colours.shape[0] // 4], view.colours.shape[1] // 6]
    assert np.array_equal(middle, class_colours(one.labels[[10, 30], 10], one.palette))
    assert max(view.colours.shape) == 1024
    assert view.rows[0]["area_m2"] == 200


def test_a_scene_in_web_mercator_stays_as_it_is():
    one = scene("EPSG:3857", (2, 0, 1000, 0, -2, 9000), scale=512)
    view = one._view()
    assert view.colours.shape == (683, 1024, 4)
    assert np.array_equal(
        view.colours[0, [0, 340, 343, 1023]], class_colours(one.labels[0, [0, 510, 515, 1535]], one.palette)
    )
    assert (view.colours[..., 3] == 255).all()
    assert np.abs(view.picture[:100, :100, :3].astype(int).mean() - one.pixels[:150, :150].mean()) < 2


def test_the_map_of_the_earth_is_off_at_first():
    pytest.importorskip("folium")
    page = page_of(scene("EPSG:32632", (0.5, 0, 500000, 0, -0.5, 5500000))._repr_html_())
    (tiles,) = re.findall(r"var (tile_layer_\w+) = L.tileLayer\(", page)
    assert f"{tiles}.addTo" not in page
    assert f'"OpenStreetMap (online)" : {tiles}' in page  # in the list of layers


def test_nodata_is_clear():
    one = scene("EPSG:32632", (0.5, 0, 500000, 0, -0.5, 5500000))
    labels = one.labels.copy()
    labels[:20, :20] = 255
    view = replace(one, labels=labels)._view()
    assert view.colours[250, 150, 3] == view.picture[250, 150, 3] == 0
    assert view.colours[250, 500, 3] == view.picture[250, 500, 3] == 255


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:3413", (1000, 0, -30000, 0, -1000, 20000)),  # the pole
        ("EPSG:32660", (20000, 0, 300000, 0, -20000, 5500000)),  # over the antimeridian
        ('LOCAL_CS["building site",UNIT["metre",1]]', (1, 0, 0, 0, -1, 0)),
    ],
)
def test_where_there_is_no_such_map_there_is_a_picture(crs, transform):
    one = scene(crs, transform)
    assert one._view() is None
    assert one._repr_html_().startswith("<img ")


@pytest.fixture
def on_disk(tmp_path) -> SceneResult:
    """A map as `predict_scene` leaves it, of a raster that is still there."""
    rasterio = pytest.importorskip("rasterio", reason=GEO)
    one = scene("EPSG:32632", (0.5, 0, 500000, 0, -0.5, 5500000), name="town")
    profile = {"driver": "GTiff", "width": 60, "height": 40, "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "town.tif", "w", transform=one.transform, crs=one.crs, **profile) as file:
        file.write(one.pixels.transpose(2, 0, 1))
    files = (*one.save(tmp_path), *one.save(tmp_path / "town.confidence.tif"))
    summary = one.with_threshold(0).summary()
    spec = RasterSpec(str(tmp_path / "town.tif"), (1, 2, 3), None, (0.0, 0.0, 0.0))
    return SceneResult(tmp_path / "town.labels.tif", None, None, summary, {}, files, spec)


def test_a_scene_on_disk_is_shown_over_its_raster(on_disk, monkeypatch):
    pytest.importorskip("folium")
    content = content_of(page_of(on_disk._repr_html_()))
    assert content["title"] == "town"
    assert content["rows"][0]["share"] == "33.3 % · 0.02000 ha"
    picture, colours = map(image_of, content["images"])
    palette = [one["colour"] for one in on_disk.summary["settings"]["classes"]]
    assert colours[200, 150].tolist() == [*palette[0], 255]
    assert picture.shape == colours.shape
    assert picture[200, 150, 3] == 255
    (on_disk.labels.parent / "town.tif").unlink()
    assert len(content_of(page_of(on_disk._repr_html_()))["images"]) == 1  # the raster is gone
    monkeypatch.setitem(sys.modules, "folium", None)
    assert on_disk._repr_html_().startswith('<img alt="the map of town"')
    assert "<table" in replace(on_disk, files=())._repr_html_()


def test_a_part_is_shown_over_its_part_of_the_raster(on_disk, tmp_path):
    import rasterio

    from segearth.scenes.scene_view import scene_view

    wide = np.zeros((3, 120, 180), np.uint8)
    with rasterio.open(on_disk.labels) as file:
        move = rasterio.Affine(0.5, 0, file.transform.c - 30, 0, -0.5, file.transform.f + 20)
    wide[:, 40:80, 60:120] = 200
    profile = {"driver": "GTiff", "width": 180, "height": 120, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(tmp_path / "wide.tif", "w", transform=move, **profile) as file:
        file.write(wide)
    spec = replace(on_disk.raster, address=str(tmp_path / "wide.tif"))
    view = scene_view(replace(on_disk, raster=spec))
    inside = view.picture[view.picture[..., 3] == 255]
    assert (inside[:, :3] == 200).all()
    assert len(inside) > 0.9 * view.picture[..., 0].size


def test_a_large_raster_without_overviews_is_not_read_for_a_picture(on_disk, monkeypatch):
    from segearth.scenes import scene_view

    monkeypatch.setattr(scene_view, "_MAX_PIXELS", 2000)
    view = scene_view.scene_view(on_disk)
    assert view.picture is None
    page = page_of(interactive_html(view)) if pytest.importorskip("folium") else ""
    assert content_of(page)["opacity"] == 1


def test_polygons_as_a_geodataframe(on_disk, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    from segearth.vectors.vectorize import vectorize

    one = scene("EPSG:32632", (0.5, 0, 500000, 0, -0.5, 5500000), name="town")
    frame = one.to_geodataframe()
    assert isinstance(frame, geopandas.GeoDataFrame)
    assert list(frame.columns) == [
        *("class", "class_id", "pixels", "area_m2", "mean_confidence", "source", "geometry"),
    ]
    assert frame["class"].tolist() == ["road", "tree", "water"]
    assert frame.area_m2.tolist() == frame.area.tolist() == [200, 200, 200]
    assert frame.mean_confidence.round(2).tolist() == [0.55, 0.55, 0.5]
    assert frame.crs.to_epsg() == 32632
    written = geopandas.read_file(vectorize(on_disk.labels, tmp_path / "vectors").path, layer="town")
    assert written.equals(frame)
    assert on_disk.to_geodataframe().equals(frame)
    assert on_disk.to_geodataframe(only=["water"], dissolve=True).geom_type.tolist() == ["MultiPolygon"]
    with pytest.raises(UserError, match=r"to_geodataframe has no option 'min_aera': did you mean 'min_area'\?"):
        one.to_geodataframe(min_aera=3)
    with pytest.raises(UserError, match="town.labels.tif has no class of this name"):
        on_disk.to_geodataframe(only=["sea"])


def test_polygons_of_a_picture_are_in_pixels():
    pytest.importorskip("geopandas")
    frame = result(scale=20, threshold=0.5).to_geodataframe()
    assert frame.crs is None
    assert set(frame["class"]) == {"road", "unclassified", "tree", "water"}
    assert frame.pixels.sum() == 2400
    assert frame.total_bounds.tolist() == [0, -40, 60, 0]  # y is minus the row
    assert frame.area_m2.isna().all()


def test_without_geopandas_a_sentence_says_what_to_install(on_disk, monkeypatch):
    monkeypatch.setitem(sys.modules, "geopandas", None)
    for one in (on_disk, result()):
        with pytest.raises(UserError, match=r'to_geodataframe needs geopandas.*pip install "segearth\[notebook\]"'):
            one.to_geodataframe()


def test_many_classes():
    many = Vocabulary.from_list([f"thing {i}" for i in range(300)])
    best = np.array([[0, 299]], np.uint16)
    one = Result(best, np.ones((1, 2), np.float32), None, many, best, np.zeros((1, 2, 3), np.uint8))
    view = pixel_view(one, result_rows(one))
    assert view.colours[0, 1].tolist() == [*one.palette[299], 255]
    if shown := interactive_html(view):
        assert len(content_of(page_of(shown))["rows"]) == 40
