"""Unusual rasters from end to end: each has the right map at the right place, whatever its shape, place or type."""

import numpy as np
import pytest
import torch
from PIL import Image

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")
pyproj = pytest.importorskip("pyproj", reason="scenes need the extra geo")

from affine import Affine  # noqa: E402
from rasters import UTM, write  # noqa: E402
from scenemodels import mini_predictor, stub_predictor  # noqa: E402

from segearth.classification import classify  # noqa: E402
from segearth.errors import without_warnings  # noqa: E402
from segearth.labels import apply_thresholds, label_values  # noqa: E402
from segearth.scenes.layers import quantised  # noqa: E402
from segearth.scenes.options import SceneOptions  # noqa: E402
from segearth.scenes.predict import predict_scene  # noqa: E402
from segearth.transfer import normalise  # noqa: E402

RGB = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def predictor():
    return mini_predictor()


def drawn(height=101, width=77, bands=3, high=256):
    """Patches of random colours, (bands, height, width) of whole numbers from 0 to `high`."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, high, (bands, -(-height // 11), -(-width // 9)))
    return np.kron(coarse, np.ones((1, 11, 9), int))[:, :height, :width]


def stretched(samples, valid):
    """Float32 from 0 to 255 by the percentiles 2 and 98 of valid samples."""
    limits = [np.percentile(band[valid].astype(float), [2, 98]) for band in samples]
    return np.stack(
        [
            np.clip((np.float32(band) - np.float32(low)) * np.float32(255 / (high - low)), 0, 255)
            for band, (low, high) in zip(samples, limits, strict=True)
        ]
    ).astype(np.float32)


def expected_map(predictor, pixels, valid):
    """Labels and confidence, as a picture of these pixels (3, h, w) has them, with nodata."""
    pixels = pixels.copy()
    if valid.any():
        fill = pixels[:, valid].mean(axis=1, dtype=float).round(0 if pixels.dtype == np.uint8 else 3)
        pixels[:, ~valid] = fill[:, None].astype(pixels.dtype)
    logits = predictor.model.logits(normalise(torch.from_numpy(pixels)[None]), valid.shape)
    found = classify(predictor.model, predictor.vocabulary, logits[0])
    labels = apply_thresholds(found.best, found.confidence, predictor.vocabulary, predictor.threshold)
    nodata = label_values(len(predictor.vocabulary)).nodata
    return np.where(valid, labels, nodata), quantised(found.confidence, valid)


def check_map(result, path, predictor, pixels, valid):
    """Compares a map with that of the pixels, and its place with the raster's."""
    labels, confidence = expected_map(predictor, pixels, valid)
    with rasterio.open(path) as own, rasterio.open(result.labels) as file:
        found, palette = file.read(1), file.colormap(1)
        assert file.shape == own.shape == valid.shape
        assert (file.crs, file.transform, file.bounds) == (own.crs, own.transform, own.bounds)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert bool(file.overviews(1)) == (max(file.shape) > 512)  # a side of GDAL's tiles
        for factor in file.overviews(1):
            smaller = file.read(1, out_shape=tuple(-(-side // factor) for side in file.shape))
            assert set(np.unique(smaller)) <= set(np.unique(found))
        names = {name for key, name in file.tags(1).items() if key.startswith("class_")}
    assert np.array_equal(found, labels)
    assert np.array_equal(found == 255, ~valid)  # no valid pixel becomes nodata, and no other one has a label
    assert names == set(predictor.classes)
    assert [palette[i][:3] for i in range(len(names))] == [tuple(colour) for colour in predictor.vocabulary.palette]
    with rasterio.open(result.confidence) as file:
        found = file.read(1)
    assert np.array_equal(found == 0, ~valid)
    assert np.abs(found.astype(int) - confidence).max() <= 1  # float32 of the stretch
    summary = result.summary
    assert (summary["valid_pixels"], summary["nodata_pixels"]) == (valid.sum(), (~valid).sum())
    assert [row["pixels"] for row in summary["classes"]] == [(labels == i).sum() for i in range(len(names))]
    assert summary["failed"] == []
    assert result.failed == {}
    for picture in (path for path in result.files if path.suffix == ".png"):
        Image.open(picture).load()


def mapped(path, predictor, **options):
    folder = path.with_suffix("")
    return predict_scene(path, folder, predictor, options=SceneOptions(confidence=True, block=96, **options))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (700, 1), (2, 3), (30, 20), (64, 64), (65, 33), (101, 77)])
def test_shapes(tmp_path, predictor, size):
    pixels = drawn(*size).astype(np.uint8)
    path = write(tmp_path / "a.tif", pixels, colours=RGB)
    check_map(mapped(path, predictor), path, predictor, pixels, np.ones(size, bool))


@pytest.mark.parametrize("output_grid", ["input", "model"])
@pytest.mark.parametrize("scale", [0.3, 1.7])
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (3, 2), (70, 41)])
def test_shapes_at_other_scales_keep_their_bounds(tmp_path, predictor, size, scale, output_grid):
    path = write(tmp_path / "a.tif", drawn(*size).astype(np.uint8), colours=RGB)
    result = mapped(path, predictor, scale=scale, output_grid=output_grid)
    with rasterio.open(path) as own, rasterio.open(result.labels) as file:
        assert file.bounds == pytest.approx(own.bounds)
        model_size = tuple(max(1, round(side * scale)) for side in size)
        assert file.shape == (size if output_grid == "input" else model_size)
        assert (file.read(1) != 255).all()
    assert result.summary["area_m2"] == pytest.approx(0.25 * size[0] * size[1])


def square_metres(bounds):
    """Of a box in degrees on the ellipsoid."""
    west, south, east, north = bounds
    corners = (west, east, east, west), (south, south, north, north)
    return abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(*corners)[0])


PLACES = {
    "no coordinate system": (None, None, None),
    "rotated": ("EPSG:32632", Affine(0.4, 0.3, 500000, 0.3, -0.4, 5500000), 0.25 * 101 * 77),
    "south up": ("EPSG:32632", Affine(0.5, 0, 500000, 0, 0.5, 5500000), 0.25 * 101 * 77),
    "antimeridian": (
        "EPSG:4326", Affine(0.001, 0, 179.96, 0, -0.001, -17), square_metres((179.96, -17.101, 180.037, -17))
    ),
    "US feet": ("EPSG:2263", Affine(2, 0, 980_000, 0, -2, 200_000), 4 * (1200 / 3937) ** 2 * 101 * 77),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_places(tmp_path, predictor, place, recwarn):
    crs, transform, area = PLACES[place]
    pixels = drawn().astype(np.uint8)
    path = write(tmp_path / "a.tif", pixels, colours=RGB, crs=crs, transform=transform)
    result = mapped(path, predictor)
    assert not [one for one in recwarn.list if one.category is rasterio.errors.NotGeoreferencedWarning]  # but a remark
    with without_warnings(rasterio.errors.NotGeoreferencedWarning):
        check_map(result, path, predictor, pixels, np.ones(pixels.shape[1:], bool))
    summary = result.summary
    if crs is None:
        assert (summary["crs"], summary["area_m2"]) == (None, None)
        assert any("has no coordinate system, so its map has none" in one for one in summary["remarks"])
        assert all(row["area_m2"] is None for row in summary["classes"])
        return
    assert summary["crs"] == crs
    assert summary["remarks"] == []
    assert summary["area_m2"] == pytest.approx(area, rel=1e-4)
    assert sum(row["area_m2"] for row in summary["classes"]) == pytest.approx(summary["area_m2"], rel=1e-9)


def corner(height=101, width=77):
    """All valid but for a corner and a lone pixel."""
    valid = np.ones((height, width), bool)
    valid[:40, :50] = False
    valid[90, 70] = False
    return valid


def four_bands_of_16_bits(path):
    valid, samples = corner(), drawn(bands=4, high=3000) + 1
    write(path, np.where(valid, samples, 0).astype(np.uint16), nodata=0, colours=[*RGB, "undefined"])
    return stretched(samples[:3], valid), valid


def alpha_of_16_bits(path):
    valid, samples = corner(), drawn(bands=3, high=3000)
    alpha = np.where(valid, 65535, 0)[None]
    write(path, np.concatenate([samples, alpha]).astype(np.uint16), colours=[*RGB, "alpha"], ALPHA="YES")
    return stretched(samples, valid), valid


def float_with_nan(path):
    valid, samples = corner(), drawn(high=1000) / np.float32(1000) - np.float32(0.2)
    samples[1, ~valid] = np.nan  # in one band only
    samples[2, 100, 76] = np.inf
    write(path, samples, colours=RGB)
    valid[100, 76] = False
    return stretched(samples, valid), valid


def negative(path):
    valid, samples = corner(), drawn(high=2000) - 1500
    write(path, np.where(valid, samples, -9999).astype(np.int16), nodata=-9999, colours=RGB)
    return stretched(samples, valid), valid


def all_nodata(path):
    write(path, np.zeros((3, 101, 77), np.uint8), nodata=0, colours=RGB)
    return np.zeros((3, 101, 77), np.uint8), np.zeros((101, 77), bool)


def palette(path):
    colours = {i: tuple(int(value) for value in np.random.default_rng(i).integers(0, 256, 3)) for i in range(9)}
    values, valid = drawn(bands=1, high=8).astype(np.uint8), corner()
    write(path, np.where(valid, values, 8), nodata=8, palette={i: (*rgb, 255) for i, rgb in colours.items()},
          photometric="PALETTE")  # fmt: skip
    table = np.array([colours[i] for i in range(9)], np.uint8)
    return table[values[0]].transpose(2, 0, 1).copy(), valid


def thirteen_bands(path):
    valid, samples = corner(), drawn(bands=13, high=9000) + 1
    write(path, np.where(valid, samples, 0).astype(np.uint16), nodata=0)
    return stretched(samples[[3, 2, 1]], valid), valid


def one_band(path):
    values = drawn(bands=1).astype(np.uint8)
    write(path, values)
    return np.repeat(values, 3, axis=0), np.ones((101, 77), bool)


KINDS = [four_bands_of_16_bits, alpha_of_16_bits, float_with_nan, negative, all_nodata, palette, thirteen_bands,
         one_band]  # fmt: skip
REMARKS = {
    thirteen_bands: "4, 3 and 2 are used as red, green and blue",
    one_band: "has one band; it is used three times",
    all_nodata: "has no valid pixel",
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_types(tmp_path, predictor, kind):
    path = tmp_path / "a.tif"
    pixels, valid = kind(path)
    result = mapped(path, predictor)
    check_map(result, path, predictor, pixels, valid)
    said = REMARKS.get(kind)
    assert [said in one for one in result.summary["remarks"]] == [True] * (said is not None)


def test_a_raster_without_a_valid_pixel_needs_no_model(tmp_path):
    predictor = stub_predictor(lambda pixels: pixels, 3)
    path = tmp_path / "a.tif"
    all_nodata(path)
    result = mapped(path, predictor, scale=0.5)
    assert predictor.model.windows == 0
    assert (result.summary["valid_pixels"], result.summary["area_m2"]) == (0, 0)
    assert [row["mean_confidence"] for row in result.summary["classes"]] == [None] * 3


def test_threads_divide_the_work_evenly(tmp_path):
    seen = set()

    def logits(pixels):
        seen.add(torch.get_num_threads())
        return pixels / 255

    path = write(tmp_path / "a.tif", drawn().astype(np.uint8), colours=RGB)
    torch.set_num_threads(3)
    try:
        mapped(path, stub_predictor(logits, 3))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert seen == {2}


@pytest.mark.filterwarnings("ignore:.*only class")
@pytest.mark.parametrize("count", [1, 300])
def test_one_class_and_300(tmp_path, count):
    path = write(tmp_path / "a.tif", drawn(50, 30).astype(np.uint8), colours=RGB)
    predictor = mini_predictor("; ".join(f"wörd {i}" for i in range(count)))
    result = mapped(path, predictor)
    with rasterio.open(result.labels) as file:
        labels, tags = file.read(1), file.tags(1)
        assert (file.dtypes[0], file.nodata) == (("uint8", 255) if count == 1 else ("uint16", 65535))
    assert [tags[f"class_{i}"] for i in range(count)] == list(predictor.classes)
    expected, _ = expected_map(predictor, drawn(50, 30).astype(np.uint8), np.ones((50, 30), bool))
    assert np.array_equal(labels, expected)
    assert [row["pixels"] for row in result.summary["classes"]] == [(labels == i).sum() for i in range(count)]


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_windows_at_once_change_no_label_and_no_score(tmp_path, predictor, batch):
    path = write(tmp_path / "a.tif", drawn(200, 150).astype(np.uint8), colours=RGB)
    found = []
    for number in (batch, 4):
        result = predict_scene(
            path, tmp_path / str(number), predictor, options=SceneOptions(confidence=True, scores=True, batch=number)
        )
        found.append([rasterio.open(file).read() for file in (result.labels, result.confidence, result.scores)])
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


def test_tiles_of_one_mosaic_and_their_neighbours_take_one_stretch(tmp_path, predictor):
    samples = drawn(96, 160, high=4000).astype(np.uint16)
    samples[:, :, 80:] //= 4  # the right tile alone would be stretched to four times its contrast
    left = write(tmp_path / "left.tif", samples[:, :, :80], colours=RGB)
    right = write(tmp_path / "right.tif", samples[:, :, 80:], colours=RGB, transform=UTM @ Affine.translation(80, 0))
    settings = [
        mapped(path, predictor, stretch_from=left).summary["settings"]["raster"]["stretch"] for path in (left, right)
    ]
    assert settings[0] == settings[1]
