import numpy as np
import pytest

from segearth.windows import padding, sliding_windows, starts, window_blocks


def test_starts_of_the_paper():
    assert starts(448, 224, 112) == [0, 112, 224]
    assert starts(300, 224, 112) == [0, 76]
    assert starts(224, 224, 112) == [0]
    assert starts(100, 224, 112) == [0]


@pytest.mark.parametrize("seed", range(50))
def test_windows_cover_every_pixel_once_or_more(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 300, 2)
    crop = int(rng.integers(1, 200))
    stride = int(rng.integers(1, crop + 1))
    windows = sliding_windows(int(height), int(width), crop, stride)
    count = np.zeros((height, width), int)
    for w in windows:
        assert 0 <= w.top < w.bottom <= height
        assert 0 <= w.left < w.right <= width
        assert (w.bottom - w.top, w.right - w.left) == (min(height, crop), min(width, crop))
        count[w.top : w.bottom, w.left : w.right] += 1
    assert count.min() >= 1
    assert len(set(windows)) == len(windows)
    assert windows == sorted(windows, key=lambda w: (w.top, w.left))


@pytest.mark.parametrize("seed", range(30))
def test_blocks_hold_every_window_once_and_are_aligned(seed):
    rng = np.random.default_rng(seed)
    height, width, crop = (int(n) for n in rng.integers(8, 400, 3))
    stride = int(rng.integers(1, crop + 1))
    align, side = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    blocks = window_blocks(height, width, crop, stride, align, side)
    assert sorted(w for block in blocks for w in block) == sliding_windows(height, width, crop, stride)
    for block in blocks:
        assert len({w.top for w in block}) <= side
        assert len({w.left for w in block}) <= side
        assert all((w.top - block[0].top) % align == 0 and (w.left - block[0].left) % align == 0 for w in block)


@pytest.mark.parametrize(("length", "crop", "stride"), [(0, 10, 5), (10, 0, 1), (10, 5, 0), (10, 5, 6)])
def test_exceptions(length, crop, stride):
    with pytest.raises(ValueError, match="expected"):
        starts(length, crop, stride)


@pytest.mark.parametrize("multiple", [1, 14, 16, 32])
def test_padding_reaches_the_multiple_with_the_smaller_half_first(multiple):
    for side in range(1, 100):
        before, after = padding(side, multiple)
        assert (side + before + after) % multiple == 0
        assert 0 <= after - before <= 1
        assert before + after < multiple
