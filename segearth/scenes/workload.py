"""Estimate of the work for a scene: numbers of windows and blocks, and windows computed by several blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segearth.scenes.grid import Frame, blocks
from segearth.windows import Window, starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Workload:
    """Numbers of windows and blocks of a scene.

    Attributes:
        windows: number of windows that overlap the area.
        blocks: numbers of blocks (rows, columns).
        computed_windows: sum over all blocks; windows that several blocks share count several times.
        valid_share: approximate share of windows with a valid pixel; the others are skipped.
    """

    windows: int
    blocks: tuple[int, int]
    computed_windows: int
    valid_share: float

    @property
    def overhead(self) -> float:
        """Relative number of additional windows that are computed because of the blocks."""
        return self.computed_windows / self.windows - 1


def estimate_workload(frame: Frame, area: Window, side: int, valid: NDArray[np.bool_]) -> Workload:
    """Estimates the work for an area of a scene.

    Args:
        frame: grids of the scene.
        area: window to map, in pixels of the output.
        side: side of blocks, in pixels of the output.
        valid: (h, w) bool, validity of an evenly spread sample of pixels.
    """
    rows, columns = _touching_windows(frame, area)
    down = blocks(area._replace(left=0, right=1), side)
    across = blocks(area._replace(top=0, bottom=1), side)
    computed = sum(len(_touching_windows(frame, block.area)[0]) for block in down) * sum(
        len(_touching_windows(frame, block.area)[1]) for block in across
    )
    valid_share = _valid_share(frame, rows, columns, valid)
    return Workload(len(rows) * len(columns), (len(down), len(across)), computed, valid_share)


def _touching_windows(frame: Frame, area: Window) -> tuple[Indices, Indices]:
    """Returns the start rows and start columns of the windows that overlap an area of the output."""
    grid, part = frame.grid, frame.model_area(area)
    overlapping = []
    for length, size, start, end in (
        (grid.height, grid.window_size[0], part.top, part.bottom),
        (grid.width, grid.window_size[1], part.left, part.right),
    ):
        begin = np.array(starts(length, grid.crop, grid.stride))
        overlapping.append(begin[(begin < end) & (begin + size > start)])
    return overlapping[0], overlapping[1]


def _valid_share(frame: Frame, rows: Indices, columns: Indices, valid: NDArray[np.bool_]) -> float:
    """Returns the share of windows, given by their start rows and columns, that contain a valid sample pixel."""
    if valid.all():
        return 1.0
    sums = np.pad(valid, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    (first, last), (left, right) = (
        _sample_range(begin, size, side, length)
        for begin, size, side, length in zip(
            (rows, columns), frame.grid.window_size, frame.model_size, valid.shape, strict=True
        )
    )
    below, above = sums[last], sums[first]
    inside = below[:, right] - above[:, right] - below[:, left] + above[:, left]
    return float((inside > 0).mean())


def _sample_range(begin: Indices, size: int, side: int, length: int) -> tuple[Indices, Indices]:
    """Returns the first and last (excluded) of `length` evenly spread sample pixels in each window, at least one."""
    first = np.floor(begin * length / side).astype(np.intp).clip(0, length - 1)
    last = np.ceil((begin + size) * length / side).astype(np.intp).clip(1, length)
    return first, np.maximum(last, first + 1)
