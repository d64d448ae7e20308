"""Blocks of a scene, and the correspondence of the pixel grids of input, model and output.

Pure integer and float arithmetic, no arrays. Three pixel grids have the same extent: the *input* (the raster), the
*model* (the input resampled by a scale) and the *output* (identical to one of the two).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from segearth.windows import Grid, Window

TILE = 512  # side of the tiles in output files
BLOCK = 3584  # 32 · 112 = 7 · 512: a multiple of the paper's stride and of a tile


class Block(NamedTuple):
    """A part of the output that is computed independently of the others.

    Attributes:
        row: row of the block, from 0.
        column: column of the block, from 0.
        area: window of the block, in pixels of the output.
    """

    row: int
    column: int
    area: Window

    @property
    def name(self) -> str:
        """Name in files and ledgers, such as "b0003_0012"."""
        return f"b{self.row:04}_{self.column:04}"

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return (self.area.bottom - self.area.top) * (self.area.right - self.area.left)


def block_side(requested: int | None, stride: int) -> int:
    """Returns the side of blocks in pixels of the model: a multiple of the stride.

    Other sides would need one more window along each axis.

    Args:
        requested: pixels, rounded up; None: near `BLOCK`, and also a multiple of `TILE` if possible.
        stride: step between windows in pixels.
    """
    if requested is not None:
        return -(-requested // stride) * stride
    multiple = math.lcm(stride, TILE)
    step = multiple if multiple <= BLOCK else stride
    return max(1, BLOCK // step) * step


def blocks(area: Window, side: int) -> list[Block]:
    """Splits an area into blocks, row by row. Blocks start at multiples of their side, independent of the area.

    Args:
        area: window in pixels of the output; blocks are clipped to it.
        side: side of a block in pixels of the output, at least 1.
    """
    rows, columns = (range(start // side, -(-end // side)) for start, end in (area[:2], area[2:]))
    cells = (
        Block(row, column, Window(row * side, (row + 1) * side, column * side, (column + 1) * side))
        for row in rows
        for column in columns
    )
    return [block._replace(area=intersection(block.area, area) or block.area) for block in cells]


def intersection(first: Window, second: Window) -> Window | None:
    """Returns the intersection of two windows, or None if they do not overlap."""
    top, left = max(first.top, second.top), max(first.left, second.left)
    bottom, right = min(first.bottom, second.bottom), min(first.right, second.right)
    return Window(top, bottom, left, right) if top < bottom and left < right else None


def slices_within(part: Window, window: Window) -> tuple[slice, slice]:
    """Returns the slices (rows, columns) of a part in the array of the window that contains it."""
    return (
        slice(part.top - window.top, part.bottom - window.top),
        slice(part.left - window.left, part.right - window.left),
    )


@dataclass(frozen=True)
class Frame:
    """The pixel grids of input, model and output of a scene.

    Attributes:
        input_size: (H, W) of the raster.
        grid: window grid, in pixels of the model.
        output_size: (H, W) of the output: that of the input or of the model.
    """

    input_size: tuple[int, int]
    grid: Grid
    output_size: tuple[int, int]

    @classmethod
    def create(
        cls,
        input_size: tuple[int, int],
        scale: float | tuple[float, float],
        crop: int,
        stride: int,
        *,
        output_is_model: bool = False,
    ) -> Frame:
        """Creates the frame of a raster.

        Args:
            input_size: (H, W).
            scale: model pixels per input pixel, above 0, or (vertical, horizontal) if they differ; sizes are rounded to
                whole pixels, at least 1.
            crop: side of a window in pixels of the model.
            stride: step between windows.
            output_is_model: whether the output has the pixels of the model.
        """
        scales = scale if isinstance(scale, tuple) else (scale, scale)
        height, width = (max(1, round(side * factor)) for side, factor in zip(input_size, scales, strict=True))
        return cls(input_size, Grid(height, width, crop, stride), (height, width) if output_is_model else input_size)

    @property
    def model_size(self) -> tuple[int, int]:
        """(H', W') of the model grid."""
        return self.grid.height, self.grid.width

    def model_area(self, area: Window) -> Window:
        """Returns the model pixels from which an output area is interpolated; the same area if sizes are equal."""
        top, bottom = _source_range(area.top, area.bottom, self.model_size[0], self.output_size[0])
        left, right = _source_range(area.left, area.right, self.model_size[1], self.output_size[1])
        return Window(top, bottom, left, right)

    def output_rows(self, top: int, bottom: int, area: Window) -> range:
        """Returns the rows of an output area that are interpolated from model rows `top` to `bottom` (excluded)."""
        return _target_range(top, bottom, range(area.top, area.bottom), self.model_size[0], self.output_size[0])

    def output_columns(self, left: int, right: int, area: Window) -> range:
        """Returns the columns of an output area that are interpolated from model columns `left` to `right`."""
        return _target_range(left, right, range(area.left, area.right), self.model_size[1], self.output_size[1])


def map_centre(position: int, length: int, new_length: int) -> float:
    """Converts a pixel centre from an axis of `length` pixels to one of `new_length`; 0 is the first centre."""
    return (position + 0.5) * new_length / length - 0.5


def _source_range(start: int, end: int, model: int, output: int) -> tuple[int, int]:
    """Returns the model positions from which output positions `start` to `end` are interpolated."""
    if model == output:
        return start, end
    first = math.floor(max(0.0, map_centre(start, output, model)))
    last = math.floor(max(0.0, map_centre(end - 1, output, model))) + 1
    return min(first, model - 1), min(last, model - 1) + 1


def _target_range(start: int, end: int, positions: range, model: int, output: int) -> range:
    """Returns the output positions that are interpolated from any model position from `start` to `end`."""
    first = bisect_right(positions, start, key=lambda i: _source_range(i, i + 1, model, output)[1])
    return positions[first : bisect_left(positions, end, key=lambda i: _source_range(i, i + 1, model, output)[0])]
