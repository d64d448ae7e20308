import numpy as np
import pytest
from PIL import Image

from segearth.errors import UserError
from segearth.pictures import blend, label_image, with_legend

PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
LABELS = np.array([[0, 1], [2, 1]])


def test_label_image_keeps_indices_and_colours(tmp_path):
    label_image(LABELS, PALETTE).save(tmp_path / "a.png")
    again = Image.open(tmp_path / "a.png")
    assert again.mode == "P"
    assert np.array_equal(np.asarray(again), LABELS)
    assert np.array_equal(np.asarray(again.convert("RGB")), PALETTE[LABELS])


def test_label_image_holds_256_classes():
    labels = np.arange(256).reshape(16, 16)
    assert np.array_equal(np.asarray(label_image(labels, np.zeros((256, 3), np.uint8))), labels)
    with pytest.raises(UserError, match="257 classes"):
        label_image(labels, np.zeros((257, 3), np.uint8))


def test_blend_is_half_image_half_colour():
    pixels = np.full((2, 2, 3), 100, np.uint8)
    blended = np.asarray(blend(pixels, LABELS, PALETTE)).astype(int)
    assert np.abs(blended - (100 + PALETTE[LABELS].astype(int)) / 2).max() <= 1
    unknown = np.asarray(blend(pixels, np.full((2, 2), 255), PALETTE))
    assert np.array_equal(unknown, pixels)


@pytest.mark.parametrize("size", [(1, 1), (5000, 3), (3, 2000), (1024, 1024)])
def test_legend_shows_every_class(size):
    picture = Image.new("RGB", size, (9, 9, 9))
    colours = np.array([[250, 10 * i, 77] for i in range(20)], np.uint8)
    result = with_legend(
        picture, [f"a class with a long name {i}" for i in range(20)], colours, ["1.0 %"] * 20, "model: x"
    )
    assert result.width >= size[0]
    assert result.height > size[1]
    found = {tuple(c) for c in np.asarray(result).reshape(-1, 3)}
    assert {tuple(c) for c in colours} <= found
