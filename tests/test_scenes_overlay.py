import math

import numpy as np
import pytest
from serving import Server, in_ranges

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
pytest.importorskip("pyproj", reason="the extra geo is not installed")
from affine import Affine  # noqa: E402
from PIL import Image  # noqa: E402
from rasterio.crs import CRS  # noqa: E402
from rasters import noise, write  # noqa: E402

from segearth.scenes.raster import open_raster  # noqa: E402
from segearth.scenes.scene_overlay import (  # noqa: E402
    add_scale_bar,
    length_text,
    raster_thumbnail,
    round_length,
    scene_overlay,
    thumbnail,
)
from segearth.scenes.scene_summary import map_statistics  # noqa: E402
from segearth.vocabulary import Vocabulary  # noqa: E402
from segearth.windows import Window  # noqa: E402

WORDS = Vocabulary.from_string("road; tree,forest; roof")
UTM = Affine(0.5, 0, 356_000, 0, -0.5, 5_645_000)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def scene(size):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, *size)).astype(np.uint8)
    valid = np.ones(size, bool)
    valid[: size[0] // 4, : size[1] // 4] = False
    pixels[:, ~valid] = 90
    read = []

    def part(window):
        read.append(window)
        top, bottom, left, right = window
        return pixels[:, top:bottom, left:right], valid[top:bottom, left:right]

    return pixels, valid, part, read


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (301, 420), (1500, 1300)])
def test_a_thumbnail_has_the_mean_of_what_a_pixel_covers(size):
    pixels, _, part, read = scene(size)
    area = Window(0, size[0], 0, size[1])
    small = thumbnail(part, area, 200)
    factor = -(-max(size) // 200)
    assert small.valid.shape == (-(-size[0] // factor), -(-size[1] // factor))
    assert max(w.bottom - w.top for w in read) <= 1024
    whole = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).reduce(factor)
    known = small.valid
    np.testing.assert_array_equal(small.pixels[known], np.asarray(whole)[known])
    assert (small.pixels[~known] == 255).all()
    if min(size) > 100:
        y, x = size[0] // factor // 2, size[1] // factor // 2
        mean = pixels[:, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].mean(axis=(1, 2))
        np.testing.assert_allclose(small.pixels[y, x], mean, atol=0.51)
        assert not known[: size[0] // factor // 5, : size[1] // factor // 5].any()


def test_a_thumbnail_of_a_part_and_of_floats():
    pixels, _, part, _ = scene((90, 120))
    small = thumbnail(lambda window: (part(window)[0] + np.float32(0.2), part(window)[1]), Window(30, 90, 40, 120))
    np.testing.assert_array_equal(small.pixels, pixels[:, 30:, 40:].transpose(1, 2, 0))


def overlay(tmp_path, size, transform, crs, unclassified=True):
    _, valid, part, _ = scene(size)
    labels = np.indices(size).sum(axis=0) // 40 % 3
    labels = np.where(valid, labels, 255).astype(np.uint8)
    labels[-1:, -1:] = 254
    path = tmp_path / "labels.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=size[0],
        width=size[1],
        count=1,
        dtype="uint8",
        nodata=255,
        transform=transform,
        crs=crs and CRS.from_epsg(crs),
    ) as file:
        file.write(labels, 1)
    rows = map_statistics(path, WORDS, unclassified).rows
    return scene_overlay(thumbnail(part, Window(0, size[0], 0, size[1])), path, WORDS, rows, note="model: tiny"), labels


def test_an_overlay_has_the_maps_colours_over_the_picture(tmp_path):
    picture, labels = overlay(tmp_path, (500, 600), UTM, 25832)
    pixels, _, _, _ = scene((500, 600))
    shown = np.asarray(picture)
    left = (picture.width - 600) // 2
    for y, x in ((250, 330), (300, 520), (400, 130)):
        expected = 0.5 * pixels[:, y, x] + 0.5 * np.array(WORDS.palette[labels[y, x]])
        np.testing.assert_allclose(shown[y, left + x], expected, atol=1)
    assert (shown[:100, left : left + 140] == 255).all()  # nothing valid
    plain, _ = overlay(tmp_path, (500, 600), Affine.identity(), None)
    assert picture.height > plain.height  # by the scale bar and north


@pytest.mark.parametrize("size", [(1, 1), (1, 2100), (2100, 1)])
def test_odd_shapes(tmp_path, size):
    picture, _ = overlay(tmp_path, size, UTM, 25832)
    assert max(picture.size) >= 480
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 5


def ink(picture):
    """Where a strip below a white picture of 800 × 300 is dark: rows, columns."""
    return np.nonzero(np.asarray(picture.convert("L"))[300:] < 60)


def test_a_scale_bar_has_its_length():
    white = Image.new("RGB", (800, 300), (255, 255, 255))
    found = add_scale_bar(white, 0.6, None)  # a quarter of the width is 120 m
    line = np.nonzero((np.asarray(found.convert("L")) < 60).sum(axis=0))[0]
    run = line[: np.nonzero(np.diff(line) > 3)[0][0] + 1]  # the bar, before its text
    assert run[-1] - run[0] == round(100 / 0.6)


@pytest.mark.parametrize(
    ("angle", "side"), [(0, "top"), (math.pi / 2, "right"), (math.pi, "bottom"), (-math.pi / 2, "left")]
)
def test_the_arrow_points_north(angle, side):
    rows, columns = ink(add_scale_bar(Image.new("RGB", (800, 300), (255, 255, 255)), None, angle))
    arrow = columns < columns.min() + 28  # without its letter
    rows, columns = rows[arrow], columns[arrow]
    across, along = (columns, rows) if side in ("top", "bottom") else (rows, columns)
    low, high = (np.ptp(across[along == end]) for end in (along.min(), along.max()))
    assert (low < high) == (side in ("top", "left"))  # the tip is the narrow end


def test_without_place_there_is_no_strip():
    white = Image.new("RGB", (800, 300), (255, 255, 255))
    assert add_scale_bar(white, None, None) is white


def test_round_lengths():
    assert [round_length(value) for value in (1, 1.9, 4.99, 5, 99, 0.03, 12_345)] == [1, 1, 2, 5, 50, 0.02, 10_000]
    assert [length_text(value) for value in (5, 200, 1000, 20_000, 0.2, 0.005)] == [
        "5 m",
        "200 m",
        "1 km",
        "20 km",
        "20 cm",
        "5 mm",
    ]


def test_what_lies_on_a_network_is_not_read_again(tmp_path):
    """Of its overviews a picture is made, as of the raster itself; without any, the map stands alone."""
    pixels = np.kron(noise(3, 10, 8, "uint8"), np.ones((1, 16, 16), np.uint8))
    path = write(tmp_path / "a.tif", pixels, colours=["red", "green", "blue"])
    server = Server()
    try:
        area = Window(16, 160, 32, 128)
        server.routes["/bare.tif"] = in_ranges(path.read_bytes())
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
        server.routes["/a.tif"] = in_ranges(path.read_bytes())
        with open_raster(path) as raster:
            expected, _ = raster_thumbnail(raster, area, 18)
        with open_raster(f"{server.url}/a.tif") as raster:
            found, remarks = raster_thumbnail(raster, area, 18)
        assert (found.pixels.shape, remarks) == ((18, 12, 3), [])
        assert np.abs(found.pixels.astype(int) - expected.pixels).max() <= 1
        with open_raster(f"{server.url}/bare.tif") as raster:
            alone, remarks = raster_thumbnail(raster, area, 18)
        assert (alone.pixels == 255).all()
        assert remarks == [
            f"the overlay shows the map alone: {server.url}/bare.tif would have been read once more for it"
        ]
    finally:
        server.close()
