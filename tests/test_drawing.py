import numpy as np
import pytest
from PIL import Image

from segearth.drawing import blend, label_image, side_by_side, with_legend

PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
LABELS = np.array([[0, 1], [2, 1]])


def test_label_image_keeps_indices_and_colours(tmp_path):
    label_image(LABELS, PALETTE).save(tmp_path / "a.png")
    again = Image.open(tmp_path / "a.png")
    assert again.mode == "P"
    assert np.array_equal(np.asarray(again), LABELS)
    assert np.array_equal(np.asarray(again.convert("RGB")), PALETTE[LABELS])


def test_label_image_holds_254_classes_and_two_more_labels(tmp_path):
    labels = np.arange(256).reshape(16, 16)
    image = label_image(labels, np.full((254, 3), 7, np.uint8))
    image.save(tmp_path / "a.png")
    again = Image.open(tmp_path / "a.png")
    assert np.array_equal(np.asarray(again), labels)
    colours = np.asarray(again.convert("RGB")).reshape(256, 3)
    assert (colours[:254] == 7).all()
    unclassified, nodata = colours[254:].tolist()
    assert len(set(unclassified)) == len(set(nodata)) == 1  # greys
    assert unclassified != nodata


@pytest.mark.parametrize("count", [255, 300])
def test_label_image_of_more_classes_has_16_bits(tmp_path, count):
    labels = np.array([[0, count - 1], [65534, 65535]], np.uint16)
    label_image(labels, np.zeros((count, 3), np.uint8)).save(tmp_path / "a.png")
    again = Image.open(tmp_path / "a.png")
    assert again.mode in ("I;16", "I")  # I: older versions of Pillow
    assert np.array_equal(np.asarray(again), labels)


def test_blend_is_half_image_half_colour():
    pixels = np.full((2, 2, 3), 100, np.uint8)
    blended = np.asarray(blend(pixels, LABELS, PALETTE)).astype(int)
    assert np.abs(blended - (100 + PALETTE[LABELS].astype(int)) / 2).max() <= 1
    unknown = np.asarray(blend(pixels, np.full((2, 2), 255), PALETTE))
    assert np.array_equal(unknown, pixels)


def test_opacity_goes_from_image_to_map():
    pixels = np.full((2, 2, 3), 100, np.uint8)
    assert np.array_equal(np.asarray(blend(pixels, LABELS, PALETTE, opacity=0)), pixels)
    assert np.array_equal(np.asarray(blend(pixels, LABELS, PALETTE, opacity=1)), PALETTE[LABELS])


@pytest.mark.parametrize(("dtype", "outside"), [(np.uint8, 254), (np.uint16, 65534), (np.int64, -1)])
def test_what_is_no_class_stays_uncoloured(dtype, outside):
    pixels = np.full((1, 2, 3), 100, np.uint8)
    blended = np.asarray(blend(pixels, np.array([[1, outside]], dtype), PALETTE))
    assert blended[0, 0].tolist() == [50, 177, 50]
    assert blended[0, 1].tolist() == [100, 100, 100]


@pytest.mark.parametrize(("grey", "sign"), [(200, -1), (5, 1)])
def test_an_outline_is_seen_on_bright_and_on_dark_ground(grey, sign):
    pixels = np.full((20, 20, 3), grey, np.uint8)
    labels = np.zeros((20, 20), np.uint8)
    labels[:, 10:] = 1
    colours = np.array([[grey] * 3, [grey] * 3], np.uint8)  # two classes that only the line tells apart
    assert np.array_equal(np.asarray(blend(pixels, labels, colours)), pixels)
    drawn = np.asarray(blend(pixels, labels, colours, outline=True)).astype(int)
    assert sorted(set(np.nonzero(drawn != grey)[1])) == [10]  # one pixel wide
    assert (sign * (drawn[:, 10] - grey) > 60).all()
    uncoloured = np.asarray(blend(pixels, np.where(labels == 1, 255, labels), colours, outline=True))
    assert np.array_equal(uncoloured, drawn)


def test_the_outline_of_a_large_image_is_wider():
    labels = np.repeat(np.arange(2, dtype=np.uint8), 1500)[None]
    drawn = np.asarray(blend(np.full((1, 3000, 3), 200, np.uint8), labels, np.full((2, 3), 200, np.uint8), 0.5, True))
    assert np.flatnonzero((drawn != 200).any(axis=2)).tolist() == [1499, 1500, 1501]


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


def test_entries_beyond_the_palette_are_hatched():
    picture = Image.new("RGB", (480, 480), (9, 9, 9))
    plain = with_legend(picture, ["a", "b", "c"], PALETTE)
    hatched = with_legend(picture, ["a", "b", "unclassified"], PALETTE[:2], ["1 %", "2 %", "3 %"])
    rows = [{tuple(c) for c in np.asarray(image)[480:].reshape(-1, 3)} for image in (plain, hatched)]
    assert (0, 0, 255) in rows[0]
    assert (0, 0, 255) not in rows[1]
    assert {(255, 0, 0), (0, 255, 0), (214, 214, 214)} <= rows[1]
    assert (214, 214, 214) not in rows[0]


@pytest.mark.parametrize("size", [(480, 480), (4000, 1000), (500, 2000)])
def test_a_legend_of_three_hundred_is_no_ribbon(size):
    names = [f"class {i}" for i in range(299)] + ["a very long name " * 20]
    legend = with_legend(Image.new("RGB", size), names, np.zeros((300, 3), np.uint8), ["0.3 %"] * 300)
    assert legend.height - size[1] < 1.1 * max(size[1], legend.width)
    assert legend.width < max(size[0], 4 * (legend.height - size[1]))


def test_ignored_pixels_have_an_entry_of_their_own():
    pixels = np.zeros((2, 2, 3), np.uint8)
    without = side_by_side(pixels, {"label": LABELS}, ["a", "b", "c"], PALETTE)
    with_ignored = side_by_side(pixels, {"label": np.array([[0, 255], [2, 1]])}, ["a", "b", "c"], PALETTE)
    grey = [np.count_nonzero((np.asarray(image) == 214).all(axis=2)) for image in (without, with_ignored)]
    assert grey[0] == 0
    assert grey[1] > 160 * 160 // 3  # a quarter of the panel has stripes
