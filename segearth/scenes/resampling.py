"""Resampling of any part of a raster, with the same result whatever part is asked for.

Pixels are weighted by a triangle: bilinear where there are more pixels than before, the mean of all that a pixel
covers (antialiased) where there are fewer, nothing at all at scale 1. Places and weights come from the whole raster's
coordinates in float64, so that neighbouring blocks fit together to the last bit. (GDAL's own resampling depends on the
part that is read.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.scenes.grid import centre
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # A part of a raster: pixels (3, h, w) from 0 to 255, uint8 or float32; which are valid, (h, w) bool
    Pixels = tuple[NDArray[np.uint8 | np.float32], NDArray[np.bool_]]

_AT_ONCE = 2048  # side of what is read, or made, at once
_ROUNDING = 1e-9
KINDS = ("antialias", "bilinear")  # "bilinear" is the paper's: two pixels along each axis, whatever the scale


class Resampled(NamedTuple):
    """A part of a raster at another size.

    Attributes:
        pixels: (3, h, w) from 0 to 255, uint8 or float32 as they were read.
        valid: (h, w) bool: valid pixels have at least half of the weight.
    """

    pixels: NDArray[np.uint8 | np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Taps:
    """Which pixels of an axis each new pixel is made of.

    Attributes:
        start: the first pixel that any of them needs.
        index: (n, k) pixels, from `start`.
        weight: (n, k) float64; each row sums to 1.
    """

    start: int
    index: NDArray[np.intp]
    weight: NDArray[np.float64]

    @property
    def end(self) -> int:
        """The first pixel after all that are needed."""
        return self.start + int(self.index.max()) + 1


def taps(length: int, onto: int, start: int, end: int, kind: str = "antialias") -> Taps:
    """The pixels and weights of some new pixels of an axis.

    Args:
        length: pixels of the axis.
        onto: pixels that it becomes.
        start: the first new pixel that is wanted.
        end: the first one that is not.
        kind: one of `KINDS`.
    """
    radius = max(1.0, length / onto) if kind == "antialias" else 1.0
    at = (np.arange(start, end) + 0.5) * length / onto - 0.5
    first = np.floor(at - radius).astype(np.intp) + 1
    index = first[:, None] + np.arange(math.ceil(2 * radius))
    weight = np.clip(1 - np.abs(index - at[:, None]) / radius, 0, None)
    weight[(index < 0) | (index >= length)] = 0
    # beyond the outermost centres there is the outermost pixel alone, as in other bilinear resizing
    weight /= weight.sum(axis=1, keepdims=True)
    used = weight > 0
    low, high = int(index[used].min()), int(index[used].max())
    return Taps(low, np.clip(index, low, high) - low, weight)


def resample(
    read: Callable[[Window], Pixels],
    size: tuple[int, int],
    onto: tuple[int, int],
    area: Window,
    fill: tuple[float, float, float],
    kind: str = "antialias",
) -> Resampled:
    """A part of a raster at another size; invalid pixels have no weight.

    Args:
        read: gives any part of the raster, in its own pixels.
        size: (H, W) of the raster.
        onto: (H', W') that it becomes.
        area: what is wanted, in pixels of the new size.
        fill: the value of invalid pixels in each band.
        kind: one of `KINDS`.
    """
    if size == onto:
        return Resampled(*read(area))
    tall, wide = (max(1, int(_AT_ONCE * min(1.0, new / old))) for old, new in zip(size, onto, strict=True))
    strips = []
    for top in range(area.top, area.bottom, tall):
        tiles = [
            _tile(
                read,
                size,
                onto,
                Window(top, min(area.bottom, top + tall), left, min(area.right, left + wide)),
                fill,
                kind,
            )
            for left in range(area.left, area.right, wide)
        ]
        strips.append([np.concatenate(parts, axis=-1) for parts in zip(*tiles, strict=True)])
    pixels, valid = (np.concatenate(parts, axis=-2) for parts in zip(*strips, strict=True))
    return Resampled(pixels, valid)


def _tile(
    read: Callable[[Window], Pixels],
    size: tuple[int, int],
    onto: tuple[int, int],
    area: Window,
    fill: tuple[float, float, float],
    kind: str,
) -> Resampled:
    """An area whose pixels fit into memory, as in `resample`."""
    rows = taps(size[0], onto[0], area.top, area.bottom, kind)
    columns = taps(size[1], onto[1], area.left, area.right, kind)
    pixels, valid = read(Window(rows.start, rows.end, columns.start, columns.end))
    if valid.all():
        found = np.stack([_along(_along(band, columns, 1), rows, 0) for band in pixels])
        kept = np.ones(found.shape[1:], bool)
    else:
        mass = _along(_along(valid, columns, 1), rows, 0)
        kept = mass >= 0.5
        safe = np.where(kept & (mass < 1 - _ROUNDING), mass, 1)  # as where no pixel of the tile is invalid
        found = np.stack([_along(_along(band * valid, columns, 1), rows, 0) / safe for band in pixels])
        for band, value in zip(found, fill, strict=True):
            band[~kept] = value
    if pixels.dtype == np.uint8:
        found = np.rint(found)
    return Resampled(found.clip(0, 255).astype(pixels.dtype), kept)


def _along(array: NDArray[np.generic], own: Taps, axis: int) -> NDArray[np.float64]:
    """Weighted sums along an axis of a plane (h, w), tap by tap: the order of the additions is that of the taps."""
    shape = [1, 1]
    shape[axis] = -1
    total: NDArray[np.float64] | None = None
    for index, weight in zip(own.index.T, own.weight.T, strict=True):
        part = array.take(index, axis=axis) * weight.reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None  # there is a tap
    return total


def interpolate(
    rows: NDArray[np.float32], have: Window, size: tuple[int, int], onto: tuple[int, int], area: Window
) -> NDArray[np.float32]:
    """Bilinear interpolation of planes from a grid to another one, between the centres of its pixels.

    Args:
        rows: (Q, h, w), a part of the grid.
        have: which part.
        size: (H', W') of the grid.
        onto: (H, W) of the other grid.
        area: what is wanted, in its pixels; `have` must hold all that it is made of.
    """
    if size == onto:
        return rows[:, area.top - have.top : area.bottom - have.top, area.left - have.left : area.right - have.left]
    for axis, (length, target, start, end, first) in enumerate(
        (
            (size[0], onto[0], area.top, area.bottom, have.top),
            (size[1], onto[1], area.left, area.right, have.left),
        ),
        start=1,
    ):
        if length == target:  # as `Frame.model_area` has it: pixels are made of themselves alone
            rows = rows.take(range(start - first, end - first), axis=axis)
            continue
        at = np.array([max(0.0, centre(position, target, length)) for position in range(start, end)])
        low = np.minimum(np.floor(at).astype(np.intp), length - 1)
        high = np.minimum(low + 1, length - 1)
        share = (at - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        rows = rows.take(low - first, axis=axis) * (1 - share) + rows.take(high - first, axis=axis) * share
    return rows
