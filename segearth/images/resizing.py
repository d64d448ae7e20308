"""Bilinear resizing of images with the same pixel values as OpenCV, without OpenCV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONE = 2048  # a weight of 1 in OpenCV's fixed point (INTER_RESIZE_COEF_SCALE)
_VALUES = 1 << 18  # values of the result computed at once: arrays of 1 MB fit into the cache


def resized_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """The size (height, width) whose long side is `long_side`, rounded as mmcv does: ⌊side · scale + 0.5⌋.

    A very slim image keeps at least one pixel (mmcv would give zero and fail).
    """
    scale = long_side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resizes bilinearly, not antialiased: every value as `cv2.resize` with INTER_LINEAR gives it on uint8.

    OpenCV first sums two columns with integer weights, then two rows, whose products are truncated. Columns and rows
    differ at the edges: beyond the centre of the outermost column the other column has weight zero, while the outermost
    row is used twice, truncated each time.

    Args:
        pixels: (H, W, 3) uint8.
        size: (height, width).

    Returns:
        (height, width, 3) uint8; `pixels` itself where it has this size.
    """
    if pixels.shape[:2] == size:
        return pixels
    (left, right), (from_left, from_right) = columns(pixels.shape[1], size[1])
    above, (from_above, from_below) = taps(pixels.shape[0], size[0])
    neighbours = np.stack([above, above + 1]).clip(0, pixels.shape[0] - 1)
    from_left, from_right = from_left.repeat(3), from_right.repeat(3)  # the three bands of a pixel
    resized = np.empty((*size, 3), np.uint8)
    step = max(1, _VALUES // (3 * size[1]))
    for band in (slice(top, top + step) for top in range(0, size[0], step)):
        rows, places = np.unique(neighbours[:, band], return_inverse=True)
        source = pixels[rows]
        sums = source.take(left, axis=1).reshape(len(rows), -1) * from_left
        sums += source.take(right, axis=1).reshape(len(rows), -1) * from_right
        sums >>= 4  # at most 255 · 2048 / 16, which fits 16 bits
        upper, lower = (sums.take(place, axis=0) for place in places.reshape(2, -1))
        upper *= from_above[band, None]
        lower *= from_below[band, None]
        upper >>= 16
        lower >>= 16
        upper += lower
        upper += 2
        upper >>= 2
        resized[band] = upper.reshape(-1, size[1], 3)
    return resized


def taps(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The index of the first of two neighbours of each result pixel (-1 before the first pixel), and weights (2, size).

    Args:
        length: pixels of the source.
        size: pixels of the result.
    """
    step = 1 / (size / length)  # rounded twice, as in OpenCV
    centres = ((np.arange(size) + 0.5) * step - 0.5).astype(np.float32)
    first = np.floor(centres)
    share = centres - first
    weights = np.rint(np.stack([1 - share, share]) * _ONE)
    return first.astype(np.intp), weights.astype(np.int32)


def columns(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Neighbours (2, size) and weights (2, size) along columns; at the edges one neighbour has the whole weight."""
    first, weights = taps(length, size)
    weights[:, (first < 0) | (first >= length - 1)] = [[_ONE], [0]]
    return np.stack([first, first + 1]).clip(0, length - 1), weights
