"""Scenes from a raster to files: the same bytes whatever the blocks, the memory, the workers and the kills."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from affine import Affine  # noqa: E402
from rasterio.crs import CRS  # noqa: E402
from rasterio.features import rasterize  # noqa: E402
from rasterio.vrt import WarpedVRT  # noqa: E402

from segearth import load_model  # noqa: E402
from segearth.errors import UserError  # noqa: E402
from segearth.hashes import sha256_of  # noqa: E402
from segearth.scenes.layers import quantised  # noqa: E402
from segearth.scenes.options import SceneOptions, SceneProgress  # noqa: E402
from segearth.scenes.predict import predict_scene  # noqa: E402
from segearth.scenes.scene_view import scene_view  # noqa: E402
from segearth.synthetic import draw_scene  # noqa: E402

CLASSES = "road; tree,forest; water; building"
TRANSFORM = Affine(0.3, 0, 356_000, 0, -0.3, 5_645_000)
ALL = {"confidence": True, "scores": True}


@pytest.fixture(scope="module")
def predictor():
    return load_model("tiny", CLASSES, "cpu", slide_crop=112, slide_stride=56)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """300 x 240 drawn pixels in UTM zone 32, with a corner that has none."""
    pixels = np.asarray(draw_scene(0, 320).image)[:240, :300].transpose(2, 0, 1)
    path = tmp_path_factory.mktemp("scene") / "town.tif"
    mask = np.full(pixels.shape[1:], 255, np.uint8)
    mask[:70, :90] = 0
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", height=240, width=300, count=3, dtype="uint8", crs=CRS.from_epsg(32632),
            transform=TRANSFORM, tiled=True, blockxsize=64, blockysize=64,
        ) as file,
    ):  # fmt: skip
        file.write(pixels)
        file.write_mask(mask)
    return path


def hashes(result):
    return {path.name: sha256_of(path) for path in (result.labels, result.confidence, result.scores)}


def test_a_scene_is_the_prediction_of_its_pixels(scene, predictor, tmp_path):
    result = predict_scene(scene, tmp_path, predictor, options=SceneOptions(**ALL))
    with rasterio.open(scene) as file:
        pixels, valid = file.read().transpose(1, 2, 0).copy(), file.dataset_mask() > 0
    fill = [round(float(pixels[..., band][valid].mean())) for band in range(3)]
    pixels[~valid] = fill
    expected = predictor.predict(pixels, None)
    with rasterio.open(result.labels) as file:
        labels = file.read(1)
        assert (file.crs, file.transform, file.nodata) == (CRS.from_epsg(32632), TRANSFORM, 255)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert np.array_equal(labels, np.where(valid, expected.labels, 255))
    with rasterio.open(result.scores) as file:
        assert np.array_equal(file.read(), quantised(expected.scores, valid))
        assert file.descriptions == ("road", "tree", "water", "building")
    rows = {row["name"]: row for row in result.summary["classes"]}
    for i, name in enumerate(predictor.classes):
        assert rows[name]["pixels"] == (labels == i).sum()
        assert rows[name]["area_m2"] == pytest.approx(0.09 * (labels == i).sum(), rel=0.01)
    assert json.loads((tmp_path / "town.summary.json").read_text()) == result.summary
    assert Image.open(tmp_path / "town.overlay.png").width > 300
    assert not (tmp_path / "town.segearth").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in result.files)
    view = scene_view(result)  # of a notebook: the raster lies below its map
    picture = view.picture[view.picture[..., 3] == 255]
    assert len(picture) == pytest.approx(valid.mean() * view.picture[..., 0].size, rel=0.1)  # turned a little
    assert picture[:, :3].mean() == pytest.approx(pixels[valid].mean(), abs=3)
    assert view.title == "town"


@pytest.mark.parametrize(
    ("options", "run"),
    [({"block": 56}, {}), ({"block": 130, "max_memory_mb": 20}, {}), ({"block": 112}, {"workers": 2})],
    ids=["small blocks", "little memory", "two workers"],
)
def test_equal_maps_are_equal_bytes(scene, predictor, tmp_path, options, run):
    whole = predict_scene(scene, tmp_path / "whole", predictor, options=SceneOptions(**ALL))
    parts = predict_scene(scene, tmp_path / "parts", predictor, options=SceneOptions(**ALL, **options), **run)
    assert hashes(parts) == hashes(whole)
    assert parts.summary["classes"] == whole.summary["classes"]


def test_running_again(scene, predictor, tmp_path):
    first = predict_scene(scene, tmp_path, predictor)
    stamp = first.labels.stat().st_mtime_ns
    again = predict_scene(scene, tmp_path, predictor, options=SceneOptions(block=56))
    assert again.summary == first.summary
    assert again.labels.stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="was made with blend"):
        predict_scene(scene, tmp_path, predictor, options=SceneOptions(blend="hann"))
    anew = predict_scene(scene, tmp_path, predictor, options=SceneOptions(blend="hann"), overwrite=True)
    assert anew.summary["settings"]["blend"] == "hann"


class Stop(Exception):  # noqa: N818 (ends a run, and is no error)
    """Ends a run in its middle."""


def test_a_run_that_ended_early_goes_on(scene, predictor, tmp_path):
    options, seen = SceneOptions(**ALL, block=56), []

    def stop(step):
        seen.append(step.done)
        if step.done == 7:
            raise Stop

    with pytest.raises(Stop):
        predict_scene(scene, tmp_path / "a", predictor, options=options, progress=stop)
    assert (tmp_path / "a" / "town.segearth" / "job.json").is_file()
    counts = []
    resumed = predict_scene(scene, tmp_path / "a", predictor, options=options, progress=lambda s: counts.append(s.done))
    assert counts[0] == 7
    assert hashes(resumed) == hashes(predict_scene(scene, tmp_path / "b", predictor, options=options))


def test_scale(scene, predictor, tmp_path):
    result = predict_scene(scene, tmp_path, predictor, options=SceneOptions(gsd=0.6, output_grid="model"))
    with rasterio.open(result.labels) as file:
        assert file.shape == (120, 150)
        assert file.transform == Affine(0.6, 0, 356_000, 0, -0.6, 5_645_000)
    with pytest.raises(UserError, match="one thing in two ways"):
        SceneOptions(gsd=1, scale=1)


def test_progress_in_megapixels(scene, predictor, tmp_path):
    seen = []
    predict_scene(scene, tmp_path, predictor, options=SceneOptions(block=168), progress=seen.append)
    ends = [next(step for step in seen if step.done == number) for number in range(5)]
    corners = np.cumsum([0, 168 * 168, 132 * 168, 168 * 72, 132 * 72]) / 1e6
    assert [step.megapixels for step in ends] == pytest.approx(corners)
    assert {(step.total, step.megapixels_total) for step in seen} == {(4, 0.072)}
    assert (ends[0].seconds_left, ends[0].megapixels_per_second, ends[4].seconds_left) == (None, None, 0)
    rows = [step.megapixels for step in seen if step.done == 0]  # also within a block
    assert rows == sorted(set(rows))
    assert 0 < rows[1] < corners[1]
    half = SceneProgress(3, 4, 30.0, 50.0, 10.0, seconds=5.0)  # an earlier run's work is no pace of this one
    assert (half.megapixels_per_second, half.seconds_left) == (4, 5)


@pytest.mark.parametrize("options", [{}, {"scale": 0.6}, {"scale": 1.3, "output_grid": "model"}], ids=str)
def test_a_part_has_the_bits_of_the_whole(scene, predictor, tmp_path, options):
    """A triangle: the map has its own window, is nodata outside of it, and within it is as the whole map."""
    corners = [[356_012.2, 5_644_990.1], [356_070.4, 5_644_975.3], [356_030.5, 5_644_940.6], [356_012.2, 5_644_990.1]]
    shape = {"type": "Polygon", "coordinates": [corners]}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    collection = {"type": "FeatureCollection", "crs": crs, "features": [{"type": "Feature", "geometry": shape}]}
    (tmp_path / "a.geojson").write_text(json.dumps(collection))
    whole = predict_scene(scene, tmp_path / "whole", predictor, options=SceneOptions(**ALL, **options))
    options = SceneOptions(**ALL, **options, aoi=tmp_path / "a.geojson", block=112)
    part = predict_scene(scene, tmp_path / "part", predictor, options=options)
    for kind in ("labels", "confidence", "scores"):
        with rasterio.open(getattr(whole, kind)) as one, rasterio.open(getattr(part, kind)) as other:
            side = one.transform.a
            left = round((other.transform.c - one.transform.c) / side)
            top = round((one.transform.f - other.transform.f) / side)
            assert (left, top) == (math.floor(12.2 / side), math.floor(9.9 / side))
            assert other.shape == (math.ceil(59.4 / side) - top, math.ceil(70.4 / side) - left)
            inside = rasterize([shape], other.shape, transform=other.transform) > 0
            expected = one.read()[:, top : top + other.height, left : left + other.width]
            assert np.array_equal(other.read(), np.where(inside, expected, other.nodata))
    assert part.summary["classes"] != whole.summary["classes"]
    with pytest.raises(UserError, match="made with area"):
        predict_scene(scene, tmp_path / "part", predictor, options=SceneOptions(**ALL))


def test_a_box_is_mapped_in_few_windows(scene, predictor, tmp_path):
    options = SceneOptions(bbox=(356_045, 5_644_970, 356_048, 5_644_973))  # pixels 150 to 160, 90 to 100
    result = predict_scene(scene, tmp_path, predictor, options=options)
    with rasterio.open(result.labels) as file:
        assert (file.shape, file.bounds[:2]) == ((10, 10), (356_045, 5_644_970))
        assert (file.read(1) != 255).all()
    assert Image.open(tmp_path / "town.overlay.png").width > 100
    with pytest.raises(UserError, match="one thing in two ways"):
        SceneOptions(bbox="0,0,1,1", aoi="a.geojson")


def test_a_mosaic_is_the_scene_that_was_cut(scene, predictor, tmp_path):
    with rasterio.open(scene) as file:
        for name, left, width in (("a", 0, 170), ("b", 170, 130)):
            window = rasterio.windows.Window(left, 0, width, 240)
            profile = file.profile | {
                "width": width,
                "transform": Affine(0.3, 0, 356_000 + 0.3 * left, 0, -0.3, 5_645_000),
            }
            with (
                rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
                rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as part,
            ):
                part.write(file.read(window=window))
                part.write_mask(file.dataset_mask(window=window))
    tiles = [tmp_path / "a.tif", tmp_path / "b.tif"]
    whole = predict_scene(scene, tmp_path / "whole", predictor)
    result = predict_scene(tiles, tmp_path / "tiles", predictor, options=SceneOptions(block=112))
    assert result.labels.name == "mosaic.labels.tif"
    with rasterio.open(whole.labels) as one, rasterio.open(result.labels) as other:
        assert (one.transform, one.crs) == (other.transform, other.crs)
        assert np.array_equal(one.read(), other.read())
    assert len(result.summary["settings"]["input"]["files"]) == 2
    again = predict_scene(tiles, tmp_path / "tiles", predictor)
    assert again.summary == result.summary
    tiles[0].write_bytes(tiles[0].read_bytes() + b"0")
    with pytest.raises(UserError, match="of another image"):
        predict_scene(tiles, tmp_path / "tiles", predictor)


def test_an_overview_in_place_of_the_raster(scene, predictor, tmp_path):
    (path := tmp_path / "town.tif").write_bytes(scene.read_bytes())
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2], rasterio.enums.Resampling.average)
    with rasterio.open(path, OVERVIEW_LEVEL=0) as small:
        pixels = small.read()
    result = predict_scene(path, tmp_path / "out", predictor, options=SceneOptions(overview=0))
    with rasterio.open(result.labels) as file:
        assert (file.shape, file.transform) == ((120, 150), Affine(0.6, 0, 356_000, 0, -0.6, 5_645_000))
        nodata = file.read(1) == 255
    assert nodata[:35, :45].all()
    assert not nodata[36:].any()
    assert pixels.shape == (3, 120, 150)


def test_a_dataset_that_is_open_and_has_no_address(scene, predictor, tmp_path):
    expected = predict_scene(scene, tmp_path / "a", predictor, options=SceneOptions(**ALL))
    with rasterio.open(scene) as file, WarpedVRT(file, crs=file.crs, add_alpha=True) as warped:
        result = predict_scene(warped, tmp_path / "b", predictor, name="town", options=SceneOptions(**ALL))
    assert np.array_equal(rasterio.open(result.labels).read(), rasterio.open(expected.labels).read())


def test_the_table_of_a_scene(scene, predictor, tmp_path):
    result = predict_scene(scene, tmp_path, predictor)
    rows = list(csv.DictReader((tmp_path / "town.summary.csv").open(encoding="utf-8")))
    assert list(rows[0]) == ["image", "class", "pixels", "percent", "area_m2", "mean_confidence"]
    for row, figures in zip(rows, result.summary["classes"], strict=True):
        assert (row["image"], row["class"]) == ("town", figures["name"])
        for key in ("pixels", "percent", "area_m2", "mean_confidence"):
            assert row[key] == ("" if figures[key] is None else str(figures[key]))
