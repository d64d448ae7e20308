"""Tiles of images and maps, from the file or a copy of it, and from the parts of a map that is being made."""

import io

import numpy as np
import pytest
from PIL import Image
from rasters import break_tile, noise, write
from scenemodels import mini_predictor

from segearth.errors import UserError
from segearth.scenes.grid import blocks
from segearth.scenes.options import SceneOptions
from segearth.scenes.predict import predict_scene
from segearth.web import preview
from segearth.web.images import file_name, inspect
from segearth.web.maps import MapAccumulator, MapFiles
from segearth.web.preview import image_tile, max_zoom, prepare, tile_area
from segearth.web.worker import block_side_for
from segearth.windows import Window

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")


def pixels_of(view, zoom, column, row):
    return np.asarray(Image.open(io.BytesIO(image_tile(view, zoom, column, row))))


@pytest.mark.parametrize(
    ("size", "zoom"), [((1, 1), 0), ((256, 256), 0), ((257, 1), 1), ((512, 512), 1), ((20000, 300), 7)]
)
def test_at_zoom_0_all_is_in_one_tile(size, zoom):
    assert max_zoom(size) == zoom
    area, step = tile_area(size, 0, 0, 0)
    assert area == Window(0, size[0], 0, size[1])
    assert step == 1 << zoom


@pytest.mark.parametrize("where", [(-1, 0, 0), (2, 0, 0), (1, 2, 0), (1, 0, 2), (1, -1, 0), (1, 0, -1), (1, 10**12, 0)])
def test_beyond_the_image_there_are_no_tiles(where):
    assert tile_area((400, 400), *where) is None


def test_fine_tiles_are_the_image(tmp_path):
    pixels = noise(3, 300, 530, "uint8")
    mask = np.full((300, 530), 255, np.uint8)
    mask[:20, :30] = 0
    view, remarks = prepare(write(tmp_path / "a.tif", pixels, mask=mask), "a.tif", tmp_path)
    assert view.preview is None  # so small an image needs no copy
    assert remarks == []
    assert view.max_zoom == 2
    found = pixels_of(view, 2, 1, 0)
    assert found.shape == (256, 256, 4)
    assert np.array_equal(found[..., :3], pixels[:, :256, 256:512].transpose(1, 2, 0))
    assert not pixels_of(view, 2, 0, 0)[:20, :30, 3].any()
    corner = pixels_of(view, 2, 2, 1)
    assert np.array_equal(corner[:44, :18, :3], pixels[:, 256:, 512:].transpose(1, 2, 0))
    assert not corner[44:, :, 3].any()
    assert not corner[:, 18:, 3].any()
    assert image_tile(view, 2, 3, 0) is None
    whole = pixels_of(view, 0, 0, 0)
    assert whole[5:75, 8:133, 3].all()
    mean = pixels[:, 100:104, 100:104].mean(axis=(1, 2))
    assert np.abs(whole[25, 25, :3] - mean).max() <= 1


def test_pngs_have_no_colour_profile(tmp_path):
    view, _ = prepare(write(tmp_path / "a.tif", noise(3, 30, 30, "uint8")), "a.tif", tmp_path)
    data = image_tile(view, 0, 0, 0)
    assert not any(chunk in data for chunk in (b"iCCP", b"gAMA", b"sRGB", b"cHRM"))


@pytest.mark.parametrize("kind", ["copy", "overviews", "strips", "png", "jpeg"])
def test_coarse_tiles_are_means_wherever_they_are_read(tmp_path, monkeypatch, kind):
    """From the copy, from the image's own overviews, or from a copy of what has no tiles."""
    monkeypatch.setattr(preview, "_SMALL", 256)
    monkeypatch.setattr(preview, "_QUICK", 300_000)
    smooth = Image.fromarray(noise(3, 9, 13, "uint8").transpose(1, 2, 0)).resize((1280, 896), Image.Resampling.BICUBIC)
    pixels = np.ascontiguousarray(np.asarray(smooth).transpose(2, 0, 1))
    path = tmp_path / f"a.{'tif' if kind in ('copy', 'overviews', 'strips') else kind}"
    if kind in ("png", "jpeg"):
        smooth.save(path, quality=98) if kind == "jpeg" else smooth.save(path)
    else:
        profile = {"tiled": False} if kind == "strips" else {"blockxsize": 64, "blockysize": 64}
        write(path, pixels, **profile)
    if kind == "overviews":
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    (tmp_path / "work").mkdir()
    view, _ = prepare(path, "a", tmp_path / "work")
    assert (view.preview is None) == (kind == "overviews")
    assert view.reduction == (4 if kind in ("copy", "overviews") else 1)
    for zoom in range(view.max_zoom + 1):
        step = 1 << (view.max_zoom - zoom)
        found = pixels_of(view, zoom, 0, 0).astype(int)
        tall, wide = (min(256, side // step) for side in (896, 1280))
        part = pixels[:, : tall * step, : wide * step].reshape(3, tall, step, wide, step).mean(axis=(2, 4))
        assert np.abs(found[:tall, :wide, :3] - part.transpose(1, 2, 0)).max() <= (12 if kind == "jpeg" else 4), zoom
        assert found[: tall - 1, : wide - 1, 3].all()


def test_images_of_more_than_8_bits_are_stretched(tmp_path):
    pixels = noise(4, 80, 90, "uint16", 1000, 1200)
    view, _ = prepare(write(tmp_path / "a.tif", pixels), "a.tif", tmp_path)
    found = pixels_of(view, 0, 0, 0)[:80, :90]
    assert found[..., :3].std() > 50
    assert found[..., 3].all()


def test_damaged_parts_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(preview, "_SMALL", 64)
    monkeypatch.setattr(preview, "_READ", 32)
    path = write(tmp_path / "a.tif", noise(3, 256, 256, "uint8"), interleave="band")
    break_tile(path, 1, 2, 3)
    view, remarks = prepare(path, "a.tif", tmp_path)
    assert any("cannot be read" in remark for remark in remarks)
    whole = np.asarray(Image.open(io.BytesIO(preview.png(np.asarray(_copy(view))))))
    assert not whole[16:24, 24:32, 3].any()
    assert whole[:16, :, 3].all()


def _copy(view):
    with rasterio.open(view.preview) as file:
        return np.ascontiguousarray(file.read().transpose(1, 2, 0))


def test_an_image_that_cannot_be_read_is_told(tmp_path):
    path = tmp_path / "a.tif"
    write(path, np.zeros((1, 64, 64), "complex64"))
    with pytest.raises(UserError, match="complex numbers"):
        prepare(path, "a.tif", tmp_path)


def test_what_is_known_of_an_image(tmp_path):
    found = inspect(write(tmp_path / "a.tif", noise(4, 400, 600, "uint16")), "a.tif", sent=True)
    assert {**found, "transform": None} == {
        "width": 600, "height": 400, "bands": 4, "crs": "EPSG:32632", "transform": None, "windows": 15,
        "metres_per_pixel": pytest.approx(0.5, rel=1e-3), "area_m2_per_pixel": pytest.approx(0.25),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [("town.tif", "town"), ("../../etc/passwd", "image"), ("Ä b.c.tif", "b_c"), ("..", "image"), ("\0", "image")],
)
def test_files_of_maps_have_plain_names(name, expected):
    assert file_name(name) == expected


@pytest.mark.parametrize(
    ("longest", "side"), [(1, 1), (448, 448), (1024, 1024), (1500, 1500), (1600, 800), (4096, 1024), (20000, 1000)]
)
def test_blocks_leave_no_slivers(longest, side):
    assert block_side_for(longest) == side


@pytest.mark.parametrize("words", ["road; tree", "road; tree | threshold=0.7; water"])
def test_parts_and_finished_rasters_give_the_same(tmp_path, words):
    scene = write(tmp_path / "a.tif", noise(3, 200, 150, "uint8"), mask=np.eye(200, 150, dtype=np.uint8) ^ 1)
    options = SceneOptions(block=96, confidence=True, scores=True, keep_parts=True)
    predictor = mini_predictor(words)
    predict_scene(scene, tmp_path / "map", predictor, options=options)
    files = MapFiles(tmp_path / "map", "a", (200, 150), 96, predictor.vocabulary, 0.0)
    areas = [Window(0, 200, 0, 150), Window(90, 200, 95, 97), Window(199, 200, 149, 150)]
    finished = [files.best(area) for area in areas], [files.scores(*at) for at in ((0, 0), (100, 99), (5, 6))]
    for layer in ("labels", "confidence", "scores"):
        files.raster_path(layer).rename(tmp_path / layer)
    parts = [files.best(area) for area in areas], [files.scores(*at) for at in ((0, 0), (100, 99), (5, 6))]
    for was, now in zip(finished[0], parts[0], strict=True):
        assert all(np.array_equal(*pair) for pair in zip(was, now, strict=True))
    assert parts[1][0] is None  # not valid
    assert all(np.array_equal(*pair) for pair in zip(finished[1][1:], parts[1][1:], strict=True))

    digest, cut = MapAccumulator(files), {block.name: block for block in blocks(areas[0], 96)}
    gone = files.parts_folder / "b0001_0001.labels.tif"
    gone.rename(tmp_path / "gone.tif")
    assert digest.update(cut)
    labels, confidence = parts[0][0]
    assert not files.best(Window(96, 192, 96, 150))[1].any()  # nothing is known there yet
    assert digest.histogram.sum() == (confidence > 0).sum() - (confidence[96:192, 96:] > 0).sum()
    assert not digest.update(cut)
    (tmp_path / "gone.tif").rename(gone)
    assert digest.update(cut)
    known = confidence > 0
    assert digest.histogram[:, 0].sum() == 0
    for index in range(len(predictor.vocabulary)):
        expected = np.bincount(confidence[known & (labels == index)], minlength=256)
        assert np.array_equal(digest.histogram[index], expected)
    coarse = np.load(tmp_path / "map/every4.npy")
    assert np.array_equal(coarse[..., 0][known[::4, ::4]], labels[::4, ::4][known[::4, ::4]])
    assert np.array_equal(coarse[..., 1], confidence[::4, ::4])
