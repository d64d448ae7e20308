import numpy as np
import pytest
import torch

from segearth.scenes.grid import Frame
from segearth.scenes.resampling import interpolate, resample
from segearth.windows import Window

FILL = (10.0, 20.0, 30.0)


def reader(pixels, valid):
    return lambda area: (
        pixels[:, area.top : area.bottom, area.left : area.right],
        valid[area.top : area.bottom, area.left : area.right],
    )


def drawn(kind, height=300, width=410, holes=False):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, height, width)).astype(kind)
    valid = rng.random((height, width)) > 0.4 if holes else np.ones((height, width), bool)
    return pixels, valid


@pytest.mark.parametrize("kind", ["antialias", "bilinear"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("scale", [0.37, 0.5, 1, 1.7])
def test_blocks_have_the_values_of_the_whole(scale, holes, dtype, kind):
    pixels, valid = drawn(dtype, holes=holes)
    size, read = valid.shape, reader(pixels, valid)
    onto = tuple(round(side * scale) for side in size)
    whole, kept = resample(read, size, onto, Window(0, onto[0], 0, onto[1]), FILL, kind)
    assert whole.dtype == dtype
    for side in (512, 97, 33):
        for top in range(0, onto[0], side):
            for left in range(0, onto[1], side):
                area = Window(top, min(top + side, onto[0]), left, min(left + side, onto[1]))
                part, own = resample(read, size, onto, area, FILL, kind)
                assert np.array_equal(part, whole[:, top : area.bottom, left : area.right])
                assert np.array_equal(own, kept[top : area.bottom, left : area.right])


@pytest.mark.parametrize("scale", [0.1, 0.37, 1, 1.7])
def test_a_constant_stays_that_constant(scale):
    pixels, valid = np.full((3, 60, 50), 77, np.uint8), np.ones((60, 50), bool)
    onto = tuple(round(side * scale) for side in valid.shape)
    found, kept = resample(reader(pixels, valid), valid.shape, onto, Window(0, onto[0], 0, onto[1]), FILL)
    assert (found == 77).all()
    assert kept.all()


def test_half_the_size_by_hand():
    """Antialiased at 1/2: weights 1, 3, 3, 1 of four pixels; bilinear: the mean of the two in the middle."""
    pixels = np.tile(np.array([0, 80, 160, 240, 0, 0, 0, 0], np.float32), (3, 1, 1))
    valid = np.ones((1, 8), bool)
    area = Window(0, 1, 0, 4)
    found = resample(reader(pixels, valid), (1, 8), (1, 4), area, FILL).pixels
    assert found[0, 0, 1] == (1 * 80 + 3 * 160 + 3 * 240 + 1 * 0) / 8
    found = resample(reader(pixels, valid), (1, 8), (1, 4), area, FILL, "bilinear").pixels
    assert found[0, 0, 1] == (160 + 240) / 2


def test_invalid_pixels_have_no_weight():
    pixels, valid = np.full((3, 1, 8), 50, np.uint8), np.array([[True] * 4 + [False] * 4])
    pixels[:, :, 4:] = 255
    found, kept = resample(reader(pixels, valid), (1, 8), (1, 4), Window(0, 1, 0, 4), FILL)
    assert kept[0].tolist() == [True, True, False, False]
    assert found[:, 0].T.tolist() == [[50] * 3, [50] * 3, [10, 20, 30], [10, 20, 30]]


@pytest.mark.parametrize("sizes", [((40, 50), (300, 410)), ((300, 410), (40, 50)), ((7, 9), (8, 8)), ((1, 1), (5, 3))])
def test_interpolation_is_that_of_torch_and_fits_together(sizes):
    size, onto = sizes
    planes = np.random.default_rng(0).random((2, *size), np.float32)
    frame = Frame.create(size, 1, 10, 5)
    frame = Frame(onto, frame.grid, onto)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(planes)[None], size=onto, mode="bilinear", align_corners=False
    )[0].numpy()
    whole = interpolate(planes, Window(0, size[0], 0, size[1]), size, onto, Window(0, onto[0], 0, onto[1]))
    assert np.abs(whole - expected).max() < 5e-5  # torch has the places of pixels in float32
    for top in range(0, onto[0], 3):
        area = Window(top, min(top + 3, onto[0]), 1, onto[1])
        have = frame.model_area(area)
        part = planes[:, have.top : have.bottom, have.left : have.right]
        assert np.array_equal(interpolate(part, have, size, onto, area), whole[:, area.top : area.bottom, 1:])
