"""A drawn scene of any size as a GeoTIFF, with its label map: something to map without a download.

It is a patchwork of the drawn images of `segearth.synthetic`: what a map does at the rims of its tiles tells nothing.
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

DRAWN = 1024  # side of a drawn tile in pixels, a multiple of `TILE`
PIXEL_M = 0.25  # as the things in it are drawn
MAX_SIDE = 1_000_000  # pixels; the numbers of tiles have 20 bits for each axis
NOTICE = "Drawn by segearth sample-data: no photograph, and no place."
_PLACE = {
    "crs": "EPSG:32628",
    "transform": rasterio.Affine(PIXEL_M, 0, 500_000, 0, -PIXEL_M, 5_500_000),  # in the Atlantic: it looks unreal
}
_PICTURE = {"count": 3, "compress": "JPEG", "photometric": "YCBCR", "jpeg_quality": 90, "interleave": "pixel"}
_LABELS = {"count": 1, "compress": "DEFLATE"}
_PIXEL_BYTES = 0.6  # in both files; 0.44 was measured


def write_sample_scene(folder: Path, size: int, seed: int = 0, progress: Progress = None) -> tuple[Path, Path]:
    """Draws a scene, tile by tile, with bounded memory.

    A scene of the same seed and another size has the same pixels, as far as both reach from the upper left corner.

    Args:
        folder: for `scene.tif` and `scene.labels.tif`, and what GDAL and QGIS read beside that. Those of an earlier
            drawing are replaced.
        size: pixels of each side, from 1 to 1,000,000.
        seed: other numbers draw other scenes; at least 0.
        progress: as of `Predictor.predict`, of tiles.

    Returns:
        The places of the picture, uint8 RGB, and of its label map, uint8 indices into `segearth.synthetic.CLASSES`.

    Raises:
        UserError: no such size or seed, a full disk, or files of these names that are no drawing.
    """
    if not 1 <= size <= MAX_SIDE:
        raise UserError(f"{option('size', size)}: expected pixels of a side, from 1 to {MAX_SIDE}, such as 6000")
    if seed < 0:
        raise UserError(f"{option('seed', seed)}: expected a whole number of at least 0")
    folder = writable_folder(folder)
    picture, labels = folder / "scene.tif", folder / "scene.labels.tif"
    for path in (picture, labels):
        _refuse_foreign(path)
    _check_disk(folder, size)
    layer = labels_layer(Vocabulary.of([list(names) for names in CLASSES]), unclassified=False)
    with rasterio.Env(**ENVIRONMENT), atomic(labels) as classes, atomic(picture) as colours, gdal_errors():
        with _created(colours, size, _PICTURE) as image, _created(classes, size, _LABELS, layer) as truth:
            _draw(image, truth, size, seed, progress)
        _add_overviews(colours, Resampling.average)
        _add_overviews(classes, Resampling.mode)
    beside = {".qml": styles.qml(layer), ".tif.aux.xml": styles.pam(layer)}
    write_all({labels.with_suffix(ending): bytes_writer(text.encode()) for ending, text in beside.items()})
    return picture, labels


def tile_seed(seed: int, row: int, column: int) -> int:
    """The seed of a tile's drawing, far from those of the images that the model `tiny` has learned from."""
    return (seed + 1) << 40 | row << 20 | column


def _draw(image: Any, truth: Any, size: int, seed: int, progress: Progress) -> None:
    """Draws all tiles into two open files; those at the right and lower border are cut off."""
    count = -(-size // DRAWN)
    with window_progress(progress, "tiles") as told:
        for number, (row, column) in enumerate(product(range(count), repeat=2), start=1):
            height, width = (min(DRAWN, size - DRAWN * start) for start in (row, column))
            tile = draw_scene(tile_seed(seed, row, column), DRAWN, DRAWN)
            window = Window(DRAWN * column, DRAWN * row, width, height)
            image.write(_cut(tile.image.transpose(2, 0, 1), height, width), window=window)
            truth.write(_cut(tile.labels[None], height, width), window=window)
            if told is not None:
                told(number, count**2)


def _cut(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[:, :height, :width])


@contextmanager
def _created(path: Path, size: int, profile: dict[str, Any], layer: Layer | None = None) -> Iterator[Any]:
    """A new GeoTIFF that can be written, tile by tile; with the values of a layer."""
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
    """Smaller copies in the file, with which a program shows the whole of it at once; it is read to its end, too."""
    with rasterio.open(path, "r+") as file:
        factors = [2**power for power in range(1, 20) if file.width >> power >= TILE // 2]
        if factors:
            file.build_overviews(factors, resampling)
    with rasterio.open(path) as file:
        file.read(window=Window(file.width - 1, file.height - 1, 1, 1))  # a full disk is not always told


def _refuse_foreign(path: Path) -> None:
    """Refuses to replace a file that is no drawing.

    Raises:
        UserError: such a file is there.
    """
    if not path.exists():
        return
    try:
        with rasterio.open(path) as file:
            drawn = file.tags().get("TIFFTAG_IMAGEDESCRIPTION") == NOTICE
    except rasterio.errors.RasterioError:
        drawn = False
    if not drawn:
        raise UserError(
            f"{path} is there and is no drawn scene: expected one, or no such file; give another folder with "
            f"{option('folder', typed='out')}"
        )


def _check_disk(folder: Path, size: int) -> None:
    """Looks at the free disk before hours of drawing.

    Raises:
        UserError: the scene will probably not fit.
    """
    needed, free = _PIXEL_BYTES * size**2, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"a scene of {size:,} × {size:,} pixels needs about {needed / 1e9:.3g} GB in {folder}, which has "
            f"{free / 1e9:.3g} GB left: free some space, or give a smaller {option('size')}"
        )
