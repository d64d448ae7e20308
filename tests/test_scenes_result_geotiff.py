"""Maps of scenes in memory: pixels without data, areas, and GeoTIFFs. Made by hand: no model is needed."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from affine import Affine  # noqa: E402
from rasterio.crs import CRS  # noqa: E402

from segearth.errors import UserError  # noqa: E402
from segearth.result import Result, thresholded  # noqa: E402
from segearth.scenes.layers import dequantised, quantised  # noqa: E402
from segearth.vocabulary import Vocabulary  # noqa: E402

UTM = CRS.from_epsg(32632)
TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_500_000)
BEST = np.array([[0, 0, 1, 255], [2, 2, 1, 255]], np.uint8)
CONFIDENCE = np.array([[0.9, 0.2, 0.8, 0], [0.4, 0.6, 0.3, 0]], np.float32)
ALL = ["town.labels.qml", "town.labels.tif.aux.xml", "town.labels.tif", "town.overlay.png", "town.summary.json"]


def result(threshold=0.0, scale=20, place=(TRANSFORM, UTM), **more):
    best, confidence = (np.repeat(np.repeat(a, scale, 0), scale, 1) for a in (BEST, CONFIDENCE))
    pixels = np.random.default_rng(0).integers(0, 256, (*best.shape, 3), dtype=np.uint8)
    own = {"name": "town", "settings": {"model": "tiny"}, "transform": place[0], "crs": place[1], **more}
    scores = np.stack([np.where(best == i, confidence, confidence / 3) for i in range(3)])
    words = Vocabulary.of("road; tree,forest; water")
    return thresholded(Result(best, confidence, scores, words, best, pixels, threshold, **own))


def test_pixels_without_data_are_in_no_figure():
    one = result()
    assert one.shares() == pytest.approx({"road": 1 / 3, "tree": 1 / 3, "water": 1 / 3})
    assert [row["percent"] for row in one.summary()["classes"]] == [33.333] * 3
    assert [row["mean_confidence"] for row in one.summary()["classes"]] == [0.55, 0.55, 0.5]
    assert (one.valid == (one.labels != 255)).all()
    assert one.valid.sum() == 2400
    row = result(0.5).summary()["classes"][-1]
    assert (row["name"], row["pixels"], row["percent"]) == ("unclassified", 1200, 50)
    nothing = result()
    nothing.labels[:] = 255
    assert set(nothing.shares().values()) == {0}
    assert "town" in repr(nothing)


def test_pixels_without_data_have_no_label_whatever_the_threshold():
    one = result().with_threshold(0.5)
    assert one.labels[::20, ::20].tolist() == [[0, 254, 1, 255], [254, 2, 254, 255]]
    assert one.with_threshold(1, background="water").labels[::20, ::20].tolist() == [[2, 2, 2, 255]] * 2
    assert one.with_threshold({"road": 0.95}).labels[0, ::20].tolist() == [254, 254, 1, 255]
    assert (one.with_threshold(0).labels == one.best).all()


def test_a_truth_counts_where_there_is_data():
    assert result().summary(np.minimum(result().labels, 2))["miou"] == 1


def test_where_a_map_lies():
    summary = result().summary()
    assert (summary["crs"], summary["pixel_m"]) == ("EPSG:32632", pytest.approx(0.5, rel=1e-3))
    assert summary["transform"] == list(TRANSFORM[:6])
    assert summary["bounds"] == [500_000, 5_499_980, 500_040, 5_500_000]
    assert (summary["valid_pixels"], summary["nodata_pixels"], summary["area_m2"]) == (2400, 800, 600)
    assert [row["area_m2"] for row in summary["classes"]] == [200] * 3
    assert summary["versions"]["rasterio"] == rasterio.__version__
    assert "ha" in result().table().splitlines()[0]
    assert "in EPSG:32632" in repr(result())


def test_without_a_coordinate_system_areas_are_unknown():
    one = result(place=(Affine.identity(), None))
    assert one.summary()["area_m2"] is None
    assert one.summary()["crs"] is None
    assert "ha" not in one.table().splitlines()[0].split()
    assert " in " not in repr(one)
    picture = result(place=(None, None)).summary()
    assert not {"crs", "transform", "area_m2", "valid_pixels"} & {*picture, *picture["classes"][0]}


def test_overlay():
    one = result()
    full = np.asarray(one.overlay(1, outline=False, legend=False))
    assert np.array_equal(full[0, -1], one.pixels[0, -1])
    assert np.array_equal(full[0, 0], one.palette[0])
    assert one.overlay().height > result(place=(None, None)).overlay().height  # by the scale bar


def test_save(tmp_path):
    one = result(0.5)
    written = one.save(tmp_path)
    assert [path.name for path in written] == ALL
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(ALL)
    with rasterio.open(tmp_path / "town.labels.tif") as file:
        assert np.array_equal(file.read(1), one.labels)
        assert (file.crs, file.transform, file.nodata) == (UTM, TRANSFORM, 255)
        assert file.colormap(1)[0][:3] == tuple(one.palette[0])
        assert file.tags(1)["class_254"] == "unclassified"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert "tree" in (tmp_path / "town.labels.qml").read_text()
    assert json.loads((tmp_path / "town.summary.json").read_text()) == one.summary()
    for name, scores in (("confidence", one.confidence), ("a.SCORES", one.scores)):
        assert one.save(tmp_path / f"{name}.tif") == [tmp_path / f"{name}.tif"]
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            assert np.array_equal(np.squeeze(file.read()), quantised(scores, one.valid))
            assert np.abs(dequantised(file.read()) - scores)[..., one.valid].max() <= 1 / 507
    with np.load(one.save(tmp_path / "town.npz")[0]) as arrays:
        assert arrays["transform"].tolist() == list(TRANSFORM[:6])
        assert CRS.from_wkt(str(arrays["crs"])) == UTM
    assert Image.open(one.save(tmp_path / "town.png")[0]).getpixel((79, 0)) == 255
    with pytest.raises(UserError, match="made with scores=True"):
        replace(one, scores=None).save(tmp_path / "x.scores.tif")


def test_a_picture_can_be_a_tiff_too(tmp_path):
    one = result(place=(None, None))
    assert "town.labels.png" in [path.name for path in one.save(tmp_path)]
    one.save(tmp_path / "labels.tiff")
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        file = rasterio.open(tmp_path / "labels.tiff")
    with file:
        assert file.crs is None
        assert np.array_equal(file.read(1), one.labels)


def test_without_rasterio(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(
        UserError, match=r"rasterio writes, and that is not installed: run: pip install \"segearth\[geo"
    ):
        result(place=(None, None)).save(tmp_path / "labels.tif")
    assert not list(tmp_path.iterdir())
