"""Where sliding windows lie: pure integer arithmetic, no tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LONG_SIDE = 448  # that pictures are resized to, as in the paper
CROP, STRIDE = 224, 112  # side of a window and step between windows, in pixels: SegEarth-OV's released settings


class Window(NamedTuple):
    """A rectangle of pixels, rows top..bottom and columns left..right, the ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


def starts(length: int, crop: int, stride: int) -> list[int]:
    """First pixels of the windows along one axis.

    Windows start at 0, stride, 2·stride, ...; the last one is pulled back so that it ends at the border.
    An axis shorter than the crop has one window, as long as the axis.

    Args:
        length: pixels along the axis, at least 1.
        crop: pixels of a window, at least 1.
        stride: step in pixels, between 1 and crop, so that no pixel is left out.

    Raises:
        ValueError: a value out of its range.
    """
    if length < 1 or crop < 1 or not 1 <= stride <= crop:
        raise ValueError(
            f"length {length}, crop {crop}, stride {stride}: expected length ≥ 1 and 1 ≤ stride ≤ crop "
            "(a larger stride would leave pixels out)"
        )
    last = max(length - crop, 0)
    return [*range(0, last, stride), last]


def sliding_windows(height: int, width: int, crop: int, stride: int) -> list[Window]:
    """Covers height × width pixels with windows, row by row; all have the same size.

    Every pixel lies in at least one window and no window appears twice. Sides shorter than the crop
    make windows of that side. Raises like `starts`.
    """
    return Grid(height, width, crop, stride).windows()


@dataclass(frozen=True)
class Grid:
    """Where the windows of an image or a raster lie.

    Attributes:
        height: pixels.
        width: pixels.
        crop: pixels of a window's side.
        stride: step in pixels, between 1 and `crop`.
    """

    height: int
    width: int
    crop: int
    stride: int

    @property
    def window_size(self) -> tuple[int, int]:
        """(height, width) of every window."""
        return min(self.height, self.crop), min(self.width, self.crop)

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(starts(self.height, self.crop, self.stride)) * self.columns

    @property
    def columns(self) -> int:
        """How many windows there are in a row."""
        return len(starts(self.width, self.crop, self.stride))

    def windows(self, area: Window | None = None) -> list[Window]:
        """The windows, row by row; of an area, all that share a pixel with it.

        Raises like `starts`.
        """
        h, w = self.window_size
        rows, columns = starts(self.height, self.crop, self.stride), starts(self.width, self.crop, self.stride)
        if area is not None:
            rows = [top for top in rows if top < area.bottom and top + h > area.top]
            columns = [left for left in columns if left < area.right and left + w > area.left]
        return [Window(top, top + h, left, left + w) for top in rows for left in columns]


def window_groups(windows: Sequence[Window], align: int, rows: int, columns: int) -> list[list[Window]]:
    """Groups windows of one grid that can share work.

    Within a group, windows start a multiple of `align` pixels apart, on both axes. The last window of a row or column,
    pulled back to the border, often does not, and is then in a group of its own.

    Args:
        windows: of one size, row by row; some of the grid may be missing.
        align: pixels that starts in a group differ by, or multiples.
        rows: of windows in a group, at most.
        columns: of windows in a group, at most.

    Returns:
        Every window once. Groups follow each other by their rows, then by their columns; within a group, windows stand
        row by row.
    """
    runs_of_rows = _runs(sorted({window.top for window in windows}), align, rows)
    strip_of = {top: number for number, tops in enumerate(runs_of_rows) for top in tops}
    strips: list[list[Window]] = [[] for _ in runs_of_rows]
    for window in windows:
        strips[strip_of[window.top]].append(window)
    groups = []
    for strip in strips:
        for lefts in _runs(sorted({window.left for window in strip}), align, columns):
            groups.append([window for window in strip if window.left in lefts])
    return groups


def _runs(positions: list[int], align: int, most: int) -> list[list[int]]:
    """Cuts positions into runs of at most so many whose members are multiples of `align` apart."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and len(runs[-1]) < most and (position - runs[-1][0]) % align == 0:
            runs[-1].append(position)
        else:
            runs.append([position])
    return runs


def padding(side: int, multiple: int) -> tuple[int, int]:
    """Pixels to add (before, after) to reach a multiple; the smaller half comes before."""
    missing = -side % multiple
    return missing // 2, missing - missing // 2
