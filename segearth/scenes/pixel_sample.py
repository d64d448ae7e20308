"""Some pixels of a whole raster, evenly spread: what its stretch and its mean colour are taken from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from segearth.scenes.bands import Numbers
from segearth.scenes.raster import Raster, ReadFailed
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 2048  # pixels of each axis at most: percentiles of 4 million samples are those of the whole to a digit value
_STRIP = 1 << 22  # pixels that are read at once


class Sample(NamedTuple):
    """Some pixels of a whole raster.

    Attributes:
        pixels: (3, h, w) of the raster's type, colours of a palette.
        valid: (h, w) bool.
        unread: how many of them could not be read; they count as invalid.
    """

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    unread: int


def sample_of(raster: Raster, bands: Numbers, palette: bool = False) -> Sample:
    """Takes the pixels in the middle of at most 2048 equal parts of each axis.

    Whole rows are read, so that no overview takes part, whose values are means.

    Args:
        raster: which.
        bands: red, green and blue, from 1.
        palette: whether the band is expanded by its table of colours.

    Raises:
        ReadFailed: on a network, which may be better later; on a disk, damaged parts are left out.
    """
    height, width = raster.size
    rows, columns = _spread(height), _spread(width)
    step = max(1, _STRIP * len(rows) // (height * width))
    parts = [_strip(raster, rows[i : i + step], columns, bands, palette) for i in range(0, len(rows), step)]
    pixels, valid, unread = zip(*parts, strict=True)
    return Sample(np.concatenate(pixels, axis=1), np.concatenate(valid), sum(unread))


def _spread(side: int) -> NDArray[np.intp]:
    number = min(side, SIDE)
    return ((np.arange(number) + 0.5) * side / number).astype(np.intp)


def _strip(
    raster: Raster, rows: NDArray[np.intp], columns: NDArray[np.intp], bands: Numbers, palette: bool
) -> tuple[NDArray[Any], NDArray[np.bool_], int]:
    """Some rows of the sample: pixels, which are valid, and how many could not be read."""
    strip = Window(int(rows[0]), int(rows[-1]) + 1, 0, raster.size[1])
    at = np.ix_(rows - strip.top, columns)
    try:
        pixels, valid = raster.samples(strip, bands, palette)
    except ReadFailed:
        if raster.is_remote:
            raise
        pixels, valid, unread = _tile_by_tile(raster, strip, bands, palette)
        return pixels[:, at[0], at[1]], valid[at], int(unread[at].sum())
    return pixels[:, at[0], at[1]], valid[at], 0


def _tile_by_tile(
    raster: Raster, strip: Window, bands: Numbers, palette: bool
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    """A strip with damaged tiles: its pixels, which are valid, and which could not be read."""
    tall, wide = raster.tile_size
    shape = strip.bottom - strip.top, strip.right
    pixels: NDArray[Any] = np.zeros((3, *shape), np.uint8 if palette else raster.dtype(bands))
    valid, unread = np.zeros(shape, bool), np.zeros(shape, bool)
    for tile_top in range(strip.top // tall * tall, strip.bottom, tall):
        top, bottom = max(tile_top, strip.top), min(tile_top + tall, strip.bottom)
        for left in range(0, strip.right, wide):
            tile = Window(top, bottom, left, min(left + wide, strip.right))
            at = slice(top - strip.top, bottom - strip.top), slice(left, tile.right)
            try:
                pixels[(slice(None), *at)], valid[at] = raster.samples(tile, bands, palette)
            except ReadFailed:
                unread[at] = True
    return pixels, valid, unread
