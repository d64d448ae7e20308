"""Synthetic sample scene of any size as GeoTIFF, with its label map, to try mapping without a download.

It is a mosaic of images from `segearth.synthetic`, which do not continue across the borders of the tiles.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

from segearth.errors import UserError, option
from segearth.outputs import atomic, bytes_writer, writable_folder, write_all
from segearth.progress import Progress, window_progress
from segearth.scenes import styles
from segearth.scenes.assemble import ENVIRONMENT
from segearth.scenes.block_files import gdal_errors
from segearth.scenes.grid import TILE
from segearth.scenes.layers import Layer, labels_layer
from segearth.synthetic import CLASSES, draw_scene
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWN_TILE = 1024  # side of a drawn tile in pixels, a multiple of `TILE`
PIXEL_M = 0.25  # the scale at which objects are drawn
MAX_SIDE = 1_000_000  # pixels; tile numbers have 20 bits per axis
NOTICE = "Drawn by segearth sample-data: no photograph, and no place."
_PLACE = {
    "crs": "EPSG:32628",
    "transform": rasterio.Affine(PIXEL_M, 0, 500_000, 0, -PIXEL_M, 5_500_000),  # in the Atlantic, to look unreal
}
_PICTURE = {"count": 3, "compress": "JPEG", "photometric": "YCBCR", "jpeg_quality": 90, "interleave": "pixel"}
_LABELS = {"count": 1, "compress": "DEFLATE"}
_PIXEL_BYTES = 0.6  # of both files; 0.44 was measured


def write_sample_scene(folder: Path, size: int, seed: int = 0, progress: Progress = None) -> tuple[Path, Path]:
    """Draws a scene, tile by tile, with bounded memory.

    Scenes of the same seed and different sizes have the same pixels where they overlap, from the upper left corner.

    Args:
        folder: for `scene.tif` and `scene.labels.tif`, and their companion files for GDAL and QGIS. Files of an earlier
            sample scene are replaced.
        size: side in pixels, from 1 to 1,000,000.
        seed: seed of the random generator, at least 0.
        progress: as of `Predictor.predict`, but counts tiles.

    Returns:
        The paths of the image, uint8 RGB, and of its label map, uint8 indices into `segearth.synthetic.CLASSES`.

    Raises:
        UserError: an invalid size or seed, a full disk, or existing files of these names that are no sample scene.
    """
    if not 1 <= size <= MAX_SIDE:
        raise UserError(f"{option('size', size)}: expected the side in pixels, from 1 to {MAX_SIDE}, such as 6000")
    if seed < 0:
        raise UserError(f"{option('seed', seed)}: expected a whole number of at least 0")
    folder = writable_folder(folder)
    picture, labels = folder / "scene.tif", folder / "scene.labels.tif"
    for path in (picture, labels):
        _refuse_foreign(path)
    _check_disk(folder, size)
    layer = labels_layer(Vocabulary.of([list(names) for names in CLASSES]), unclassified=False)
    with rasterio.Env(**ENVIRONMENT), atomic(labels) as classes, atomic(picture) as colours, gdal_errors():
        with _create_geotiff(colours, size, _PICTURE) as image, _create_geotiff(classes, size, _LABELS, layer) as truth:
            _draw_tiles(image, truth, size, seed, progress)
        _add_overviews(colours, Resampling.average)
        _add_overviews(classes, Resampling.mode)
    companions = {".qml": styles.qgis_style(layer), ".tif.aux.xml": styles.pam_xml(layer)}
    write_all({labels.with_suffix(ending): bytes_writer(text.encode()) for ending, text in companions.items()})
    return picture, labels


def tile_seed(seed: int, row: int, column: int) -> int:
    """Returns the seed of a tile, different from all seeds of the training images of the model `tiny`."""
    return (seed + 1) << 40 | row << 20 | column


def _draw_tiles(image: Any, truth: Any, size: int, seed: int, progress: Progress) -> None:
    """Draws all tiles into two open files; tiles at the right and lower border are cropped."""
    count = -(-size // DRAWN_TILE)
    with window_progress(progress, "tiles") as report:
        for number, (row, column) in enumerate(product(range(count), repeat=2), start=1):
            height, width = (min(DRAWN_TILE, size - DRAWN_TILE * start) for start in (row, column))
            tile = draw_scene(tile_seed(seed, row, column), DRAWN_TILE, DRAWN_TILE)
            window = Window(DRAWN_TILE * column, DRAWN_TILE * row, width, height)
            image.write(_crop(tile.image.transpose(2, 0, 1), height, width), window=window)
            truth.write(_crop(tile.labels[None], height, width), window=window)
            if report is not None:
                report(number, count**2)


def _crop(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[:, :height, :width])


@contextmanager
def _create_geotiff(path: Path, size: int, profile: dict[str, Any], layer: Layer | None = None) -> Iterator[Any]:
    """Creates a tiled GeoTIFF and opens it for writing; with the legend of a layer."""
    side = min(TILE, -(-size // 16) * 16)
    tiles = {"tiled": True, "blockxsize": side, "blockysize": side, "bigtiff": "IF_SAFER"}
    shape = {"driver": "GTiff", "dtype": "uint8", "height": size, "width": size}
    with rasterio.open(path, "w", **shape, **tiles, **_PLACE, **profile) as file:
        file.update_tags(TIFFTAG_IMAGEDESCRIPTION=NOTICE)
        if layer is not None:
            file.nodata = layer.nodata
            file.write_colormap(1, styles.palette(layer))
            file.update_tags(1, **styles.tags(layer))
            file.set_band_description(1, layer.bands[0])
        yield file


def _add_overviews(path: Path, resampling: Resampling) -> None:
    """Adds overviews to a file, then reads its last pixel to detect a full disk."""
    with rasterio.open(path, "r+") as file:
        factors = [2**power for power in range(1, 20) if file.width >> power >= TILE // 2]
        if factors:
            file.build_overviews(factors, resampling)
    with rasterio.open(path) as file:
        file.read(window=Window(file.width - 1, file.height - 1, 1, 1))  # a full disk is not always reported


def _refuse_foreign(path: Path) -> None:
    """Refuses to replace an existing file that is no sample scene.

    Raises:
        UserError: there is such a file.
    """
    if not path.exists():
        return
    try:
        with rasterio.open(path) as file:
            is_sample = file.tags().get("TIFFTAG_IMAGEDESCRIPTION") == NOTICE
    except rasterio.errors.RasterioError:
        is_sample = False
    if not is_sample:
        raise UserError(
            f"{path} exists and is no sample scene: expected one, or no such file; give another folder with "
            f"{option('folder', typed='out')}"
        )


def _check_disk(folder: Path, size: int) -> None:
    """Checks the free disk space before drawing.

    Raises:
        UserError: the scene will probably not fit.
    """
    needed, free = _PIXEL_BYTES * size**2, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"a scene of {size:,} × {size:,} pixels needs about {needed / 1e9:.3g} GB in {folder}, which has "
            f"{free / 1e9:.3g} GB left: free some space, or give a smaller {option('size')}"
        )
