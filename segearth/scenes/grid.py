"""Which part of a raster is computed at once, and how the pixels of input, model and output correspond.

Pure integer and float arithmetic, no arrays. Three grids of pixels cover the same ground, corner on corner: the
*input*'s, that of the *model*, which is the input at a scale, and that of the *output*, which is one of the two.
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
    """A part of the output that is computed at once and needs no other.

    Attributes:
        row: from the top, from 0.
        column: from the left, from 0.
        area: in pixels of the output.
    """

    row: int
    column: int
    area: Window

    @property
    def name(self) -> str:
        """For files and ledgers, such as "b0003_0012"."""
        return f"b{self.row:04}_{self.column:04}"

    @property
    def pixels(self) -> int:
        """How many it has."""
        return (self.area.bottom - self.area.top) * (self.area.right - self.area.left)


def block_side(asked: int | None, stride: int) -> int:
    """The side of blocks in pixels of the model: a multiple of the stride, so that as few windows as can be are shared.

    A side that is no multiple needs one window more along each axis.

    Args:
        asked: pixels; rounded up. None: near `BLOCK`, and a multiple of a tile, too, where that is possible.
        stride: step between windows in pixels.
    """
    if asked is not None:
        return -(-asked // stride) * stride
    both = math.lcm(stride, TILE)
    step = both if both <= BLOCK else stride
    return max(1, BLOCK // step) * step


def blocks(area: Window, side: int) -> list[Block]:
    """Cuts an area into blocks, row by row. They begin at multiples of their side, whatever the area.

    Args:
        area: in pixels of the output; a block holds no pixel beyond it.
        side: pixels of the output, at least 1.
    """
    rows, columns = (range(start // side, -(-end // side)) for start, end in (area[:2], area[2:]))
    cells = (
        Block(row, column, Window(row * side, (row + 1) * side, column * side, (column + 1) * side))
        for row in rows
        for column in columns
    )
    return [block._replace(area=common(block.area, area) or block.area) for block in cells]


def common(one: Window, other: Window) -> Window | None:
    """What two windows share."""
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom, right = min(one.bottom, other.bottom), min(one.right, other.right)
    return Window(top, bottom, left, right) if top < bottom and left < right else None


def within(part: Window, window: Window) -> tuple[slice, slice]:
    """Where a part of a window lies in its array."""
    return (
        slice(part.top - window.top, part.bottom - window.top),
        slice(part.left - window.left, part.right - window.left),
    )


@dataclass(frozen=True)
class Frame:
    """How input, model and output correspond.

    Attributes:
        input_size: (H, W) of the raster.
        grid: of the windows, in pixels of the model.
        output_size: (H, W), that of the input or that of the model.
    """

    input_size: tuple[int, int]
    grid: Grid
    output_size: tuple[int, int]

    @classmethod
    def of(
        cls,
        input_size: tuple[int, int],
        scale: float | tuple[float, float],
        crop: int,
        stride: int,
        *,
        output_is_model: bool = False,
    ) -> Frame:
        """The frame of a raster.

        Args:
            input_size: (H, W).
            scale: the model's pixels for one of the input, above 0, or (down, along) where they differ; sides are
                rounded to whole pixels, at least 1.
            crop: side of a window in pixels of the model.
            stride: step between windows.
            output_is_model: whether the output has the model's pixels.
        """
        scales = scale if isinstance(scale, tuple) else (scale, scale)
        height, width = (max(1, round(side * by)) for side, by in zip(input_size, scales, strict=True))
        return cls(input_size, Grid(height, width, crop, stride), (height, width) if output_is_model else input_size)

    @property
    def model_size(self) -> tuple[int, int]:
        """(H', W')."""
        return self.grid.height, self.grid.width

    def model_area(self, area: Window) -> Window:
        """The pixels of the model that an area of the output is interpolated from, bilinearly; itself at one scale."""
        top, bottom = _drawn_on(area.top, area.bottom, self.model_size[0], self.output_size[0])
        left, right = _drawn_on(area.left, area.right, self.model_size[1], self.output_size[1])
        return Window(top, bottom, left, right)

    def output_rows(self, top: int, bottom: int, of: Window) -> range:
        """The rows of an area of the output that are interpolated from any of some rows of the model."""
        return _drawing(top, bottom, range(of.top, of.bottom), self.model_size[0], self.output_size[0])

    def output_columns(self, left: int, right: int, of: Window) -> range:
        """Likewise of columns."""
        return _drawing(left, right, range(of.left, of.right), self.model_size[1], self.output_size[1])


def centre(position: int, length: int, onto: int) -> float:
    """Where the centre of a pixel of an axis of `length` lies on one of `onto` pixels; 0 is the first one's centre."""
    return (position + 0.5) * onto / length - 0.5


def _drawn_on(start: int, end: int, model: int, output: int) -> tuple[int, int]:
    if model == output:
        return start, end
    first = math.floor(max(0.0, centre(start, output, model)))
    last = math.floor(max(0.0, centre(end - 1, output, model))) + 1
    return min(first, model - 1), min(last, model - 1) + 1


def _drawing(start: int, end: int, of: range, model: int, output: int) -> range:
    """Which positions of the output are drawn from any of start..end."""
    first = bisect_right(of, start, key=lambda at: _drawn_on(at, at + 1, model, output)[1])
    return of[first : bisect_left(of, end, key=lambda at: _drawn_on(at, at + 1, model, output)[0])]
