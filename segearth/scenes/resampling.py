"""Resampling of windows of a raster, with results that do not depend on the window.

Pixels are weighted by a triangle filter: bilinear when enlarging, antialiased when reducing, unchanged at scale 1.
Positions and weights are computed in float64 from coordinates of the whole raster, so neighbouring blocks agree to the
last bit. (GDAL's resampling depends on the window that is read.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.scenes.grid import map_centre
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # A part of a raster: pixels (3, h, w) from 0 to 255, uint8 or float32; and their validity (h, w) bool
    Pixels = tuple[NDArray[np.uint8 | np.float32], NDArray[np.bool_]]

_MAX_SIDE = 2048  # side of tiles that are read or computed at once
_ROUNDING = 1e-9
KINDS = ("antialias", "bilinear")  # "bilinear" is that of the paper: two pixels per axis at every scale


class Resampled(NamedTuple):
    """A part of a raster at another size.

    Attributes:
        pixels: (3, h, w) from 0 to 255, uint8 or float32 as in the input.
        valid: (h, w) bool, true if valid input pixels have at least half of the weight.
    """

    pixels: NDArray[np.uint8 | np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Taps:
    """Filter taps of n new pixels along an axis: input pixels and their weights.

    Attributes:
        start: first input pixel that is needed.
        index: (n, k) input pixels, relative to `start`.
        weight: (n, k) float64; each row sums to 1.
    """

    start: int
    index: NDArray[np.intp]
    weight: NDArray[np.float64]

    @property
    def end(self) -> int:
        """Last input pixel that is needed (excluded)."""
        return self.start + int(self.index.max()) + 1


def taps(length: int, new_length: int, start: int, end: int, kind: str = "antialias") -> Taps:
    """Computes the filter taps of new pixels along an axis.

    Args:
        length: number of input pixels of the axis.
        new_length: number of new pixels of the axis.
        start: first new pixel to compute.
        end: last new pixel (excluded).
        kind: one of `KINDS`.
    """
    radius = max(1.0, length / new_length) if kind == "antialias" else 1.0
    centres = (np.arange(start, end) + 0.5) * length / new_length - 0.5
    first = np.floor(centres - radius).astype(np.intp) + 1
    index = first[:, None] + np.arange(math.ceil(2 * radius))
    weight = np.clip(1 - np.abs(index - centres[:, None]) / radius, 0, None)
    weight[(index < 0) | (index >= length)] = 0
    # beyond the outermost centres, only the outermost pixel counts, as usual in bilinear resizing
    weight /= weight.sum(axis=1, keepdims=True)
    used = weight > 0
    low, high = int(index[used].min()), int(index[used].max())
    return Taps(low, np.clip(index, low, high) - low, weight)


def resample(
    read: Callable[[Window], Pixels],
    size: tuple[int, int],
    new_size: tuple[int, int],
    area: Window,
    fill: tuple[float, float, float],
    kind: str = "antialias",
) -> Resampled:
    """Resamples a window of a raster; invalid pixels have no weight.

    Args:
        read: reads a window of the raster, in its own pixels.
        size: (H, W) of the raster.
        new_size: (H', W') of the resampled raster.
        area: window to compute, in pixels of the new size.
        fill: value of invalid pixels in each band.
        kind: one of `KINDS`.
    """
    if size == new_size:
        return Resampled(*read(area))
    tall, wide = (max(1, int(_MAX_SIDE * min(1.0, new / old))) for old, new in zip(size, new_size, strict=True))
    strips = []
    for top in range(area.top, area.bottom, tall):
        bottom = min(area.bottom, top + tall)
        parts = [Window(top, bottom, left, min(area.right, left + wide)) for left in range(area.left, area.right, wide)]
        tiles = [_resample_tile(read, size, new_size, part, fill, kind) for part in parts]
        strips.append([np.concatenate(arrays, axis=-1) for arrays in zip(*tiles, strict=True)])
    pixels, valid = (np.concatenate(arrays, axis=-2) for arrays in zip(*strips, strict=True))
    return Resampled(pixels, valid)


def _resample_tile(
    read: Callable[[Window], Pixels],
    size: tuple[int, int],
    new_size: tuple[int, int],
    area: Window,
    fill: tuple[float, float, float],
    kind: str,
) -> Resampled:
    """Resamples an area that fits into memory; arguments as of `resample`."""
    rows = taps(size[0], new_size[0], area.top, area.bottom, kind)
    columns = taps(size[1], new_size[1], area.left, area.right, kind)
    pixels, valid = read(Window(rows.start, rows.end, columns.start, columns.end))
    if valid.all():
        resampled = np.stack([_weighted_sum(_weighted_sum(band, columns, 1), rows, 0) for band in pixels])
        new_valid = np.ones(resampled.shape[1:], bool)
    else:
        weight = _weighted_sum(_weighted_sum(valid, columns, 1), rows, 0)
        new_valid = weight >= 0.5
        divisor = np.where(new_valid & (weight < 1 - _ROUNDING), weight, 1)  # exactly 1 without invalid pixels
        resampled = np.stack(
            [_weighted_sum(_weighted_sum(band * valid, columns, 1), rows, 0) / divisor for band in pixels]
        )
        for band, value in zip(resampled, fill, strict=True):
            band[~new_valid] = value
    if pixels.dtype == np.uint8:
        resampled = np.rint(resampled)
    return Resampled(resampled.clip(0, 255).astype(pixels.dtype), new_valid)


def _weighted_sum(array: NDArray[np.generic], axis_taps: Taps, axis: int) -> NDArray[np.float64]:
    """Computes weighted sums along an axis of a plane (h, w); additions are in the order of the taps."""
    shape = [1, 1]
    shape[axis] = -1
    total: NDArray[np.float64] | None = None
    for index, weight in zip(axis_taps.index.T, axis_taps.weight.T, strict=True):
        part = array.take(index, axis=axis) * weight.reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None  # there is at least one tap
    return total


def interpolate(
    rows: NDArray[np.float32], have: Window, size: tuple[int, int], new_size: tuple[int, int], area: Window
) -> NDArray[np.float32]:
    """Interpolates planes bilinearly between the pixel centres of one grid and those of another.

    Args:
        rows: (Q, h, w), a part of the grid.
        have: window of that part.
        size: (H', W') of the grid.
        new_size: (H, W) of the other grid.
        area: window to compute, in pixels of the other grid; `have` must contain all pixels it depends on.
    """
    if size == new_size:
        return rows[:, area.top - have.top : area.bottom - have.top, area.left - have.left : area.right - have.left]
    for axis, (length, target, start, end, first) in enumerate(
        (
            (size[0], new_size[0], area.top, area.bottom, have.top),
            (size[1], new_size[1], area.left, area.right, have.left),
        ),
        start=1,
    ):
        if length == target:  # as in `Frame.model_area`: pixels correspond one to one
            rows = rows.take(range(start - first, end - first), axis=axis)
            continue
        centres = np.array([max(0.0, map_centre(position, target, length)) for position in range(start, end)])
        low = np.minimum(np.floor(centres).astype(np.intp), length - 1)
        high = np.minimum(low + 1, length - 1)
        share = (centres - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        rows = rows.take(low - first, axis=axis) * (1 - share) + rows.take(high - first, axis=axis) * share
    return rows
