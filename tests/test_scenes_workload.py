"""How much there is to compute in a scene, counted without listing it."""

import numpy as np
import pytest

from segearth.scenes.grid import BLOCK, Frame, blocks
from segearth.scenes.workload import estimate_workload
from segearth.windows import Window


def whole(frame):
    return Window(0, frame.output_size[0], 0, frame.output_size[1])


@pytest.mark.parametrize("size", [(1, 1), (224, 225), (500, 1300), (1000, 100)])
@pytest.mark.parametrize(("scale", "side"), [(1, 112), (1, 300), (0.37, 500), (1.7, 256)])
@pytest.mark.parametrize("part", [(0, 1), (0.3, 0.6)])
def test_what_blocks_compute(size, scale, side, part):
    frame = Frame.create(size, scale, 224, 112)
    (top, bottom), (left, right) = ([int(share * length + share) for share in part] for length in size)
    area = Window(top, min(max(bottom, top + 1), size[0]), left, min(max(right, left + 1), size[1]))
    found = estimate_workload(frame, area, side, np.ones((1, 1), bool))
    cut = blocks(area, side)
    assert found.windows == len(frame.grid.windows(frame.model_area(area)))
    assert found.blocks[0] * found.blocks[1] == len(cut)
    assert found.computed_windows == sum(len(frame.grid.windows(frame.model_area(block.area))) for block in cut)
    assert found.valid_share == 1


@pytest.mark.parametrize(
    ("side", "overhead"),
    [(512, 0.97), (1024, 0.45), (2048, 0.20), (4096, 0.09), (8192, 0.05), (448, 0.56), (1008, 0.23), (2016, 0.10),
     (4032, 0.05), (8064, 0.02), (BLOCK, 0.06)],
)  # fmt: skip
def test_windows_that_several_blocks_compute(side, overhead):
    """Of a raster of 20,000 pixels a side; a side of blocks that is a multiple of the stride needs fewer."""
    frame = Frame.create((20_000, 20_000), 1, 224, 112)
    found = estimate_workload(frame, whole(frame), side, np.ones((2048, 2048), bool))
    assert found.windows == 31_684
    assert found.overhead == pytest.approx(overhead, abs=0.01)


@pytest.mark.parametrize("scale", [1, 0.5, 3])
def test_windows_without_a_valid_pixel(scale):
    """The whole mask tells it exactly, a sample of it nearly."""
    valid = np.zeros((900, 1200), bool)
    valid[100:350, 500:1100] = True
    frame = Frame.create(valid.shape, scale, 112, 56)
    high, wide = (axis / scale for axis in frame.grid.window_size)
    some = [
        valid[int(w.top / scale) : int(w.top / scale + high), int(w.left / scale) : int(w.left / scale + wide)].any()
        for w in frame.grid.windows()
    ]
    share = sum(some) / len(some)
    assert 0.1 < share < 0.6
    assert estimate_workload(frame, whole(frame), 448, valid).valid_share == pytest.approx(share, abs=0.02)
    assert estimate_workload(frame, whole(frame), 448, valid[5::10, 5::10]).valid_share == pytest.approx(
        share, abs=0.05
    )
    assert estimate_workload(frame, whole(frame), 448, np.zeros((90, 120), bool)).valid_share == 0
