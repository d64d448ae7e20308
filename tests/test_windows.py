import numpy as np
import pytest

from segearth.windows import Grid, Window, padding, sliding_windows, starts, window_groups


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
def test_groups_hold_every_window_once_and_are_aligned(seed):
    rng = np.random.default_rng(seed)
    height, width, crop = (int(n) for n in rng.integers(8, 400, 3))
    stride = int(rng.integers(1, crop + 1))
    align, rows, columns = int(rng.integers(1, 9)), int(rng.integers(1, 5)), int(rng.integers(1, 5))
    windows = [w for w in sliding_windows(height, width, crop, stride) if rng.random() < 0.8]
    groups = window_groups(windows, align, rows, columns)
    assert sorted(w for group in groups for w in group) == windows
    for group in groups:
        assert group == sorted(group)
        assert len({w.top for w in group}) <= rows
        assert len({w.left for w in group}) <= columns
        assert all((w.top - group[0].top) % align == 0 and (w.left - group[0].left) % align == 0 for w in group)


@pytest.mark.parametrize("seed", range(30))
def test_windows_of_an_area_are_those_that_share_a_pixel_with_it(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 300, 2))
    crop = int(rng.integers(1, 200))
    grid = Grid(height, width, crop, int(rng.integers(1, crop + 1)))
    (top, bottom), (left, right) = (sorted(int(n) for n in rng.choice(side + 1, 2, False)) for side in (height, width))
    expected = [w for w in grid.windows() if w.top < bottom and w.bottom > top and w.left < right and w.right > left]
    assert grid.windows(Window(top, bottom, left, right)) == expected
    assert grid.count == len(grid.windows())


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
