"""How much there is to compute in a scene: windows, blocks, and windows that several blocks compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segearth.scenes.grid import Frame, blocks
from segearth.windows import Window, starts

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Counts:
    """What there is to compute.

    Attributes:
        windows: of the grid.
        blocks: (rows, columns).
        computed: windows of all blocks, those that several blocks share as often as they are computed.
        seen: the share of the windows with a valid pixel, about; others are skipped.
    """

    windows: int
    blocks: tuple[int, int]
    computed: int
    seen: float

    @property
    def overhead(self) -> float:
        """The share of windows that are computed in addition, because of the blocks."""
        return self.computed / self.windows - 1


def count(frame: Frame, side: int, valid: NDArray[np.bool_]) -> Counts:
    """Counts what there is to compute.

    Args:
        frame: of the scene.
        side: of blocks, in pixels of the output.
        valid: which of some pixels of the raster, evenly spread, are valid (h, w).
    """
    height, width = frame.output_size
    rows = blocks(Window(0, height, 0, 1), side)
    columns = blocks(Window(0, 1, 0, width), side)
    down = sum(_touching(frame, block.area)[0] for block in rows)
    right = sum(_touching(frame, block.area)[1] for block in columns)
    return Counts(frame.grid.count, (len(rows), len(columns)), down * right, _seen(frame, valid))


def _touching(frame: Frame, area: Window) -> tuple[int, int]:
    """How many rows and columns of windows touch an area of the output."""
    grid, part = frame.grid, frame.model_area(area)
    high, wide = grid.window_size
    rows, columns = starts(grid.height, grid.crop, grid.stride), starts(grid.width, grid.crop, grid.stride)
    return (
        sum(top < part.bottom and top + high > part.top for top in rows),
        sum(left < part.right and left + wide > part.left for left in columns),
    )


def _seen(frame: Frame, valid: NDArray[np.bool_]) -> float:
    """The share of windows that have a valid pixel among some."""
    if valid.all():
        return 1.0
    grid = frame.grid
    sums = np.pad(valid, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    (first, last), (left, right) = (
        _range(np.array(starts(side, grid.crop, grid.stride)), size, side, length)
        for side, size, length in zip((grid.height, grid.width), grid.window_size, valid.shape, strict=True)
    )
    below, above = sums[last], sums[first]
    inside = below[:, right] - above[:, right] - below[:, left] + above[:, left]
    return float((inside > 0).mean())


def _range(begin: NDArray[np.intp], size: int, side: int, length: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which of `length` pixels, evenly spread along a side, lie in windows: first and last (excluded), one at least."""
    first = np.floor(begin * length / side).astype(np.intp).clip(0, length - 1)
    last = np.ceil((begin + size) * length / side).astype(np.intp).clip(1, length)
    return first, np.maximum(last, first + 1)
