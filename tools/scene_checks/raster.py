"""A raster of any size: drawn tiles again and again, a few with a corner in which nothing was seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from segearth.outputs import atomic
from segearth.synthetic import draw_scene

TILE = 1024
EMPTY = 0.4  # of 20,000 pixels: some blocks of 3584 are empty, too


def write_raster(path: Path, size: tuple[int, int], scenes: int = 4, tile: int = TILE, empty: float = EMPTY) -> Path:
    """Writes a GeoTIFF in UTM with a mask, tile by tile.

    Args:
        path: of the file.
        size: (H, W).
        scenes: how many tiles are drawn; they are turned and repeated.
        tile: their side in pixels.
        empty: legs of the corner without pixels, as shares of the sides.
    """
    height, width = size
    tile = min(tile, height, width)
    drawn = [draw_scene(seed, tile, tile).image for seed in range(scenes)]
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32632",
        "transform": Affine(0.5, 0, 356_000, 0, -0.5, 5_645_000),
        "tiled": True,
        "compress": "deflate",
        "zlevel": 1,
        "interleave": "pixel",
        "bigtiff": "if_safer",
    }
    with (
        atomic(path) as part,
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(part, "w", **profile) as file,
    ):
        for number, (top, left) in enumerate(
            (top, left) for top in range(0, height, tile) for left in range(0, width, tile)
        ):
            tall, wide = min(tile, height - top), min(tile, width - left)
            picture = drawn[number % scenes][:: 1 - number // scenes % 2 * 2, :: 1 - number // scenes // 2 % 2 * 2]
            place = Window(left, top, wide, tall)
            file.write(np.ascontiguousarray(picture[:tall, :wide].transpose(2, 0, 1)), window=place)
            file.write_mask(_mask(size, empty, top, left, tall, wide), window=place)
    return path


def _mask(size: tuple[int, int], empty: float, top: int, left: int, tall: int, wide: int) -> NDArray[np.uint8]:
    """255 where something was seen: not in the upper left corner."""
    rows = (np.arange(top, top + tall) / size[0])[:, None]
    columns = np.arange(left, left + wide) / size[1]
    return np.where(rows + columns < empty, 0, 255).astype(np.uint8)
