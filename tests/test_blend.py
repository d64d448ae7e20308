import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from segearth.models.blend import BLENDS, Blend
from segearth.scenes import options
from segearth.windows import Grid, Window


def test_scenes_know_all_blends():
    assert tuple(BLENDS) == options.BLENDS


def logits_of(grid, queries=2, seed=0):
    """Random logits for every window."""
    generator = torch.Generator().manual_seed(seed)
    return {window: torch.randn(queries, *grid.window_size, generator=generator) for window in grid.windows()}


def whole(grid, logits, blend="mean"):
    sums = Blend(grid, 2, blend=blend)
    for window in grid.windows():
        sums.add(window, logits[window])
    return sums.take(grid.height)


def test_mean_and_hann_by_hand():
    """Two windows of four pixels that share two."""
    grid = Grid(1, 6, 4, 2)
    logits = {Window(0, 1, 0, 4): torch.ones(2, 1, 4), Window(0, 1, 2, 6): torch.full((2, 1, 4), 3.0)}
    assert whole(grid, logits)[0, 0].tolist() == [1, 1, 2, 2, 3, 3]
    near, far = math.sin(math.pi / 8) ** 2, math.sin(3 * math.pi / 8) ** 2
    mixed = [(far * 1 + near * 3) / (far + near), (near * 1 + far * 3) / (far + near)]
    assert_close(whole(grid, logits, "hann")[0, 0], torch.tensor([1, 1, *mixed, 3, 3]))


@pytest.mark.parametrize("blend", BLENDS)
def test_a_constant_stays_that_constant_to_the_corners(blend):
    grid = Grid(300, 250, 64, 24)
    logits = {window: torch.full((2, 64, 64), 0.3) for window in grid.windows()}
    assert_close(whole(grid, logits, blend), torch.full((2, 300, 250), 0.3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("seed", range(25))
def test_areas_and_bands_of_rows_have_the_bits_of_the_whole(seed, blend):
    rng = np.random.default_rng(seed)
    height, width, crop = (int(n) for n in rng.integers([1, 1, 2], [120, 120, 50]))
    grid = Grid(height, width, crop, int(rng.integers(max(1, crop // 3), crop + 1)))
    logits = logits_of(grid)
    expected = whole(grid, logits, blend)
    (top, bottom), (left, right) = (sorted(int(n) for n in rng.choice(side + 1, 2, False)) for side in (height, width))
    area = Window(top, bottom, left, right)
    blended, rows = Blend(grid, 2, area, rows=min(crop, height), blend=blend), []
    for window in grid.windows(area):
        rows.append(blended.take(window.top))
        blended.add(window, logits[window])
    while blended.top < bottom:
        rows.append(blended.take(min(bottom, blended.top + 7)))
    assert torch.equal(torch.cat(rows, dim=1), expected[:, top:bottom, left:right])


def test_exceptions():
    blended = Blend(Grid(100, 20, 20, 10), 1, rows=20)
    with pytest.raises(ValueError, match="rows 0 to 20 that are held: take rows first"):
        blended.add(Window(10, 30, 0, 20), torch.zeros(1, 20, 20))
    with pytest.raises(ValueError, match="rows 0 to 30 asked for, 20 are held"):
        blended.take(30)
    assert blended.take(0).shape == (1, 0, 20)
