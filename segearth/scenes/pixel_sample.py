"""Evenly spread sample of the pixels of a raster, from which its stretch and mean colour are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from segearth.scenes.bands import BandNumbers
from segearth.scenes.raster import Raster, ReadFailed
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SIDE = 2048  # maximum per axis: percentiles of 4 million samples are accurate to one level
_STRIP_PIXELS = 1 << 22  # pixels per read


class PixelSample(NamedTuple):
    """A sample of the pixels of a raster.

    Attributes:
        pixels: (3, h, w) of the raster's data type; colours for a palette.
        valid: (h, w) bool.
        unread: number of pixels that could not be read; they are invalid.
    """

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    unread: int


def sample_pixels(raster: Raster, bands: BandNumbers, palette: bool = False) -> PixelSample:
    """Samples the pixels in the middle of at most 2048 equal parts of each axis.

    Whole rows are read, because GDAL would use overviews, whose values are averages.

    Args:
        raster: an open raster.
        bands: red, green and blue, from 1.
        palette: whether to expand the band by its colour table.

    Raises:
        ReadFailed: a remote raster cannot be read; damaged parts of local files are skipped instead.
    """
    height, width = raster.size
    rows, columns = _sample_positions(height), _sample_positions(width)
    step = max(1, _STRIP_PIXELS * len(rows) // (height * width))
    parts = [_sample_strip(raster, rows[i : i + step], columns, bands, palette) for i in range(0, len(rows), step)]
    pixels, valid, unread = zip(*parts, strict=True)
    return PixelSample(np.concatenate(pixels, axis=1), np.concatenate(valid), sum(unread))


def _sample_positions(side: int) -> NDArray[np.intp]:
    number = min(side, MAX_SIDE)
    return ((np.arange(number) + 0.5) * side / number).astype(np.intp)


def _sample_strip(
    raster: Raster, rows: NDArray[np.intp], columns: NDArray[np.intp], bands: BandNumbers, palette: bool
) -> tuple[NDArray[Any], NDArray[np.bool_], int]:
    """Samples some rows: returns pixels, validity, and the number of unreadable pixels."""
    strip = Window(int(rows[0]), int(rows[-1]) + 1, 0, raster.size[1])
    index = np.ix_(rows - strip.top, columns)
    try:
        pixels, valid = raster.read_samples(strip, bands, palette)
    except ReadFailed:
        if raster.is_remote:
            raise
        pixels, valid, unread = _read_readable_tiles(raster, strip, bands, palette)
        return pixels[:, index[0], index[1]], valid[index], int(unread[index].sum())
    return pixels[:, index[0], index[1]], valid[index], 0


def _read_readable_tiles(
    raster: Raster, strip: Window, bands: BandNumbers, palette: bool
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    """Reads a strip with damaged tiles: returns pixels, validity, and which pixels could not be read."""
    tall, wide = raster.tile_size
    shape = strip.bottom - strip.top, strip.right
    pixels: NDArray[Any] = np.zeros((3, *shape), np.uint8 if palette else raster.dtype(bands))
    valid, unread = np.zeros(shape, bool), np.zeros(shape, bool)
    for tile_top in range(strip.top // tall * tall, strip.bottom, tall):
        top, bottom = max(tile_top, strip.top), min(tile_top + tall, strip.bottom)
        for left in range(0, strip.right, wide):
            tile = Window(top, bottom, left, min(left + wide, strip.right))
            position = slice(top - strip.top, bottom - strip.top), slice(left, tile.right)
            try:
                pixels[(slice(None), *position)], valid[position] = raster.read_samples(tile, bands, palette)
            except ReadFailed:
                unread[position] = True
    return pixels, valid, unread
