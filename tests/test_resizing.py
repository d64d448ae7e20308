import hashlib
import tracemalloc

import numpy as np
import pytest
import torch

from segearth.images.resizing import resize, resized_size
from segearth.transfer import resize_on, to_device


def noise(height: int, width: int) -> np.ndarray:
    """Pixels (height, width, 3) uint8, the extremes among them."""
    pixels = np.random.default_rng([height, width]).integers(-64, 320, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


SHAPES = [  # (height, width) before and after
    *(((90, 130), size) for size in [(378, 448), (448, 120), (30, 500), (90, 130), (91, 130), (90, 129), (1, 1)]),
    *(((97, 89), size) for size in [(48, 44), (49, 45), (194, 178), (97, 1), (1, 89), (13, 11)]),
    *(((1, 1), size) for size in [(1, 1), (5, 7), (448, 448)]),
    *(((1, 300), size) for size in [(1, 448), (9, 448), (1, 17)]),
    *(((300, 1), size) for size in [(448, 1), (448, 9), (17, 1)]),
    *(((2, 3), size) for size in [(299, 448), (1, 2), (3, 2)]),
    ((1024, 1024), (448, 448)),
    ((512, 384), (448, 336)),
    ((3, 5000), (1, 448)),
    ((900, 1600), (252, 448)),
]


@pytest.mark.parametrize(("before", "after"), SHAPES)
def test_every_value_is_opencvs(before, after):
    cv2 = pytest.importorskip("cv2", reason="opencv needs system libraries that are not here", exc_type=ImportError)
    pixels = noise(*before)
    ours = resize(pixels, after)
    assert (ours.shape, ours.dtype) == ((*after, 3), np.uint8)
    assert np.array_equal(ours, cv2.resize(pixels, after[::-1], interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize(("before", "after"), SHAPES)
def test_on_a_device_it_gives_the_same_values(before, after, device):
    pixels = noise(*before)
    pixels.flags.writeable = False
    with torch.inference_mode():
        there = resize_on(device, pixels, after)
    assert there.device.type == device.type
    assert (there.shape, there.dtype) == ((*after, 3), torch.uint8)
    assert np.array_equal(there.cpu().numpy(), resize(pixels, after))


def test_a_device_gets_pixels_and_tables_in_one_copy_each(monkeypatch, device):
    sent = []

    def spy(array, device):
        sent.append(array.dtype)
        return to_device(array, device)

    monkeypatch.setattr("segearth.transfer.to_device", spy)
    assert np.array_equal(resize_on(device, noise(60, 80), (100, 90)).cpu(), resize(noise(60, 80), (100, 90)))
    assert sent == [np.uint8, np.int64]


def test_on_a_device_bands_of_rows_are_one_image(monkeypatch, device):
    monkeypatch.setattr("segearth.transfer._VALUES", 3 * 90 * 7)
    for before in ((60, 80), (400, 80)):
        assert np.array_equal(resize_on(device, noise(*before), (100, 90)).cpu(), resize(noise(*before), (100, 90)))


@pytest.mark.parametrize(
    ("before", "after", "digest"),
    [
        ((90, 130), (378, 448), "222abb760f3ccd37"),
        ((97, 89), (48, 44), "2cc28f7b7aecbece"),
        ((1024, 1024), (448, 448), "6f2c6c76bffcf7fe"),
        ((1, 300), (9, 448), "32987ee820998edf"),
        ((2, 3), (299, 448), "b1f21dd081863553"),
        ((300, 1), (17, 1), "530dcd02762a175d"),
    ],
)
def test_pinned(before, after, digest):
    """What OpenCV 5.0 and 4.10 give, where they are not installed."""
    assert hashlib.sha256(resize(noise(*before), after).tobytes()).hexdigest()[:16] == digest


def test_small_cases_by_hand():
    row = np.array([0, 255], np.uint8)[None, :, None].repeat(3, axis=2)
    assert resize(row, (1, 4))[0, :, 0].tolist() == [0, 64, 191, 255]
    column = np.ascontiguousarray(row.transpose(1, 0, 2))
    assert resize(column, (4, 1))[:, 0, 0].tolist() == [0, 64, 191, 255]
    white = np.full((1, 1, 3), 255, np.uint8)
    assert (resize(white, (7, 5)) == 255).all()


def test_the_own_size_is_no_copy():
    pixels = noise(20, 30)
    assert resize(pixels, (20, 30)) is pixels


@pytest.mark.parametrize("layout", ["reversed", "every other", "by columns", "read only"])
def test_any_layout_in_memory(layout):
    whole = noise(60, 80)
    pixels = {
        "reversed": whole[::-1, ::-1, ::-1],
        "every other": whole[::2, 1::2],
        "by columns": np.asfortranarray(whole),
        "read only": whole.view(),
    }[layout]
    pixels.flags.writeable = False
    assert np.array_equal(resize(pixels, (40, 50)), resize(pixels.copy(order="C"), (40, 50)))


def test_bands_of_rows_are_one_image(monkeypatch):
    expected = resize(noise(60, 80), (100, 90))
    for values in (1, 3 * 90 * 7, 1 << 30):
        monkeypatch.setattr("segearth.images.resizing._VALUES", values)
        assert np.array_equal(resize(noise(60, 80), (100, 90)), expected)


@pytest.mark.parametrize(("before", "after"), [((2000, 2000), (448, 448)), ((300, 300), (1500, 1500))])
def test_little_memory_beside_the_result(before, after):
    pixels = noise(*before)
    tracemalloc.start()
    try:
        resize(pixels, after)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - 3 * after[0] * after[1] < 16e6


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (448, 448)),
        ((1080, 1280), (378, 448)),
        ((3000, 4000), (336, 448)),
        ((2160, 4096), (236, 448)),
        ((100, 50), (448, 224)),
        ((1, 1), (448, 448)),
        ((3, 5000), (1, 448)),
    ],
)
def test_resized_size_is_mmcvs(size, expected):
    assert resized_size(*size, 448) == expected
