"""Where sliding windows lie: pure integer arithmetic, no tensors."""

from __future__ import annotations

from typing import NamedTuple


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
    h, w = min(height, crop), min(width, crop)
    return [
        Window(top, top + h, left, left + w)
        for top in starts(height, crop, stride)
        for left in starts(width, crop, stride)
    ]


def padding(side: int, multiple: int) -> tuple[int, int]:
    """Pixels to add (before, after) to reach a multiple; the smaller half comes before."""
    missing = -side % multiple
    return missing // 2, missing - missing // 2
