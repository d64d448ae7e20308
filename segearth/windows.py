"""Where sliding windows lie: pure integer arithmetic, no tensors."""

from __future__ import annotations

from typing import NamedTuple

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
    return [window for block in window_blocks(height, width, crop, stride, 1, 1) for window in block]


def window_blocks(height: int, width: int, crop: int, stride: int, align: int, side: int) -> list[list[Window]]:
    """Groups the sliding windows into blocks that can share work.

    Within a block, windows start a multiple of `align` pixels apart, on both axes. The last window of a row or column,
    pulled back to the border, often does not, and is then in a block of its own.

    Args:
        height: pixels of the image.
        width: pixels of the image.
        crop: pixels of a window's side.
        stride: step in pixels.
        align: pixels that starts in a block differ by, or multiples.
        side: windows along a block's side, at most.

    Returns:
        Blocks of windows; every window of `sliding_windows` once. Raises like `starts`.
    """
    h, w = min(height, crop), min(width, crop)
    return [
        [Window(top, top + h, left, left + w) for top in rows for left in columns]
        for rows in _runs(starts(height, crop, stride), align, side)
        for columns in _runs(starts(width, crop, stride), align, side)
    ]


def _runs(positions: list[int], align: int, side: int) -> list[list[int]]:
    """Cuts positions into runs of at most `side` whose members are multiples of `align` apart."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and len(runs[-1]) < side and (position - runs[-1][0]) % align == 0:
            runs[-1].append(position)
        else:
            runs.append([position])
    return runs


def padding(side: int, multiple: int) -> tuple[int, int]:
    """Pixels to add (before, after) to reach a multiple; the smaller half comes before."""
    missing = -side % multiple
    return missing // 2, missing - missing // 2
