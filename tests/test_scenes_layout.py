"""How a scene is cut: blocks that fit into memory, and what the first line says of it."""

from dataclasses import replace

import pytest

pytest.importorskip("rasterio", reason="scenes need the extra geo")

from affine import Affine
from rasterio.crs import CRS
from scenemodels import CROP, STRIDE, mini_predictor

from segearth.errors import UserError
from segearth.models.window_memory import CPU_BATCH
from segearth.scenes.aoi import Area
from segearth.scenes.grid import Frame
from segearth.scenes.layout import (
    describe_model_input,
    fit_block_side,
    make_frame,
    window_batch,
    window_count,
    working_set,
)
from segearth.scenes.naming import scene_name
from segearth.scenes.options import SceneOptions
from segearth.scenes.pixel_size import PixelSize, pixel_size
from segearth.windows import Window

LARGE = (50_000, 40_000)


@pytest.mark.parametrize("names", [2, 30, 300])
@pytest.mark.parametrize("scale", [0.1, 0.5, 1, 2])
def test_blocks_fit_into_the_memory_whatever_the_names_and_the_scale(names, scale):
    model = mini_predictor("; ".join(f"thing {i}" for i in range(names))).model
    frame, sides, options = Frame.create(LARGE, scale, CROP, STRIDE), [], SceneOptions()
    for megabytes in (400, 1200, 5000):
        options = replace(options, max_memory_mb=megabytes)
        side = fit_block_side(frame, model, options)
        own = round(side * scale)
        assert own % STRIDE == 0
        assert working_set(frame, own, model, options) <= megabytes * 2**20
        assert working_set(frame, 2 * own, model, options) > megabytes * 2**20 or own == 3584
        assert fit_block_side(frame, model, replace(options, block=own // 2)) <= side
        wide = fit_block_side(frame, model, replace(options, block=20_000))  # what is asked for is a bound
        assert working_set(frame, round(wide * scale), model, options) <= megabytes * 2**20
        sides.append(side)
        assert window_batch(frame, model, options) == CPU_BATCH  # bits may depend on it, so it depends on no memory
    assert sides == sorted(sides)
    with pytest.raises(UserError, match=rf"max_memory=0.2 is too little for {names} names: expected \d+ or more"):
        fit_block_side(frame, model, SceneOptions(max_memory_mb=0.2))


def test_windows_of_a_part():
    frame = Frame.create((1000, 1000), 1, 224, 112)
    assert window_count(frame, Area(Window(0, 1000, 0, 1000))) == 64
    assert window_count(frame, Area(Window(0, 1, 0, 1))) == 1
    assert window_count(frame, Area(Window(500, 501, 500, 501))) == 4


@pytest.mark.parametrize(
    ("metres", "scale", "text"),
    [
        (0.3, 1, "1,000 × 2,000 pixels, 0.3 m a pixel: a window is 67 m"),
        (0.3, 0.5, "1,000 × 2,000 pixels, seen as 500 × 1,000, 0.6 m a pixel: a window is 134 m"),
        (0.05, 1, "a window is 11 m; the paper's data sets are seen at 0.3 to 1.2 m: try gsd=0.6"),
        (10, 1, "a window is 2,240 m; that is coarser than the paper's data sets, which are seen at 0.3 to 1.2 m"),
        (0.001, 1, "a window is 0.22 m; the paper's data sets are seen at 0.3 to 1.2 m: try gsd=0.6"),
        (None, 1, "1,000 × 2,000 pixels"),
        (None, 0.1, "seen as 100 × 200, less than a window of 224 × 224"),
    ],
)
def test_the_first_line(metres, scale, text):
    size = PixelSize(metres, metres, "")
    assert describe_model_input(Frame.create((2000, 1000), scale, 224, 112), size).endswith(text)


def test_pixels_that_are_not_square():
    """Of degrees at 50° N: `gsd` makes them square, and without it the first line says how."""
    pixel = pixel_size(Affine(3e-6, 0, 9, 0, -3e-6, 50), CRS.from_epsg(4326), (2000, 1000))
    assert (pixel.height_m, pixel.width_m) == (pytest.approx(0.3336, abs=1e-3), pytest.approx(0.2151, abs=1e-3))
    frame = Frame.create((2000, 1000), 1, 224, 112)
    assert describe_model_input(frame, pixel).endswith(
        "pixels are 0.33 m high and 0.22 m wide, gsd=0.27 makes them square for the model"
    )

    class Open:
        size, name, pixel_size = (2000, 1000), "a.tif", pixel

    class Cut:
        slide_crop, slide_stride = 224, 112

    frame = make_frame(Open, Cut, SceneOptions(gsd=0.5))
    assert frame.model_size == (round(2000 * pixel.height_m / 0.5), round(1000 * pixel.width_m / 0.5))
    assert "square" not in describe_model_input(frame, pixel)
    plane = pixel_size(Affine(0.5, 0, 5e5, 0, -0.5, 5.5e6), CRS.from_epsg(32632), (2000, 1000))
    assert (plane.height_m, plane.width_m) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/a.b.tif", "a.b"), ("town", "town"), (".hidden", "hidden"), ("https://x.org/p/a.tif?sig=a/b.c", "a"),
        ("s3://bucket/p/a.tif", "a"), ("zip:///data/a.zip!in/b.tif", "b"), ("/vsicurl/https://x.org/a.tif?k=1", "a"),
        ('NETCDF:"/data/a.nc":red', "a_red"), ("<VRTDataset/>", "mosaic"), ("<GDAL_WMS/>", "scene"),
        ("https://x.org/items/S2A", "S2A"), ("/data/" + 300 * "x" + ".tif", 120 * "x"),
    ],
)  # fmt: skip
def test_names_of_scenes(address, name):
    assert scene_name(address) == name
