"""How much there is to compute in a scene: windows, blocks, and windows that several blocks compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segearth.scenes.grid import Frame, blocks
from segearth.windows import Window, starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.intp]


@dataclass(frozen=True)
class Counts:
    """What there is to compute.

    Attributes:
        windows: that touch the area.
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


def count(frame: Frame, area: Window, side: int, valid: NDArray[np.bool_]) -> Counts:
    """Counts what there is to compute.

    Args:
        frame: of the scene.
        area: what is wanted, in pixels of the output.
        side: of blocks, in pixels of the output.
        valid: which of some pixels of the raster, evenly spread, are valid (h, w).
    """
    rows, columns = _touching(frame, area)
    down = blocks(area._replace(left=0, right=1), side)
    across = blocks(area._replace(top=0, bottom=1), side)
    computed = sum(len(_touching(frame, block.area)[0]) for block in down) * sum(
        len(_touching(frame, block.area)[1]) for block in across
    )
    seen = _seen(frame, rows, columns, valid)
    return Counts(len(rows) * len(columns), (len(down), len(across)), computed, seen)


def _touching(frame: Frame, area: Window) -> tuple[Places, Places]:
    """Where the rows and columns of windows begin that touch an area of the output."""
    grid, part = frame.grid, frame.model_area(area)
    found = []
    for length, size, start, end in (
        (grid.height, grid.window_size[0], part.top, part.bottom),
        (grid.width, grid.window_size[1], part.left, part.right),
    ):
        every = np.array(starts(length, grid.crop, grid.stride))
        found.append(every[(every < end) & (every + size > start)])
    return found[0], found[1]


def _seen(frame: Frame, rows: Places, columns: Places, valid: NDArray[np.bool_]) -> float:
    """The share of windows, at some rows and columns of the grid, that have a valid pixel among some."""
    if valid.all():
        return 1.0
    sums = np.pad(valid, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    (first, last), (left, right) = (
        _spread(begin, size, side, length)
        for begin, size, side, length in zip(
            (rows, columns), frame.grid.window_size, frame.model_size, valid.shape, strict=True
        )
    )
    below, above = sums[last], sums[first]
    inside = below[:, right] - above[:, right] - below[:, left] + above[:, left]
    return float((inside > 0).mean())


def _spread(begin: Places, size: int, side: int, length: int) -> tuple[Places, Places]:
    """Which of `length` pixels, evenly spread along a side, lie in windows: first and last (excluded), one at least."""
    first = np.floor(begin * length / side).astype(np.intp).clip(0, length - 1)
    last = np.ceil((begin + size) * length / side).astype(np.intp).clip(1, length)
    return first, np.maximum(last, first + 1)
