"""Writes a map in memory as GeoTIFF, with the same files as `predict_scene`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segearth.errors import UserError
from segearth.extras import install_command
from segearth.jobs.settings import settings_hash
from segearth.scenes.assemble import raster_writers
from segearth.scenes.block_files import block_writer
from segearth.scenes.grid import TILE, Block
from segearth.scenes.layers import CONFIDENCE, Layer, labels_layer, quantised, scores_layer
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.result import Result


@contextmanager
def geotiff_writers(result: Result, path: Path) -> Iterator[dict[Path, Callable[[Path], object]]]:
    """Context manager with the functions that write a GeoTIFF and its companion files, for `write_all`.

    Args:
        result: the map; that of a picture is not georeferenced.
        path: of the raster. The end of its name selects the layer: "confidence", "scores", else labels.

    Raises:
        UserError: rasterio is missing, scores are not in the result, or the disk is full.
    """
    try:
        from rasterio import Affine
    except ImportError:
        raise UserError(
            f"{path.name} is a GeoTIFF, which rasterio writes, and that is not installed: {install_command('geo')}; or "
            "save the map as .png"
        ) from None
    layer = _layer(result, path)
    height, width = result.labels.shape
    area = Window(0, height, 0, width)
    block = Block(0, 0, area)
    with tempfile.TemporaryDirectory(prefix="segearth-") as name:
        folder = Path(name)
        with block_writer(folder, block, [layer]) as writer:
            for top in range(0, height, TILE):
                writer.write({layer.name: _rows(result, layer, slice(top, top + TILE))})
        transform = Affine.identity() if result.transform is None else result.transform
        tags = {"segearth_settings": settings_hash(dict(result.settings))}
        yield raster_writers(folder, [block], area, transform, result.crs, [layer], {layer.name: path}, tags)


def _layer(result: Result, path: Path) -> Layer:
    """Returns the layer that a file name selects."""
    stem = path.stem.lower()
    if stem.endswith("confidence"):
        return CONFIDENCE
    if not stem.endswith("scores"):
        return labels_layer(result.vocabulary, result.has_unclassified)
    if result.scores is None:
        raise UserError(
            f"{path.name} needs the scores of all classes, which this map does not have: expected a map that was made "
            "with scores=True; make it again"
        )
    return scores_layer(result.vocabulary)


def _rows(result: Result, layer: Layer, rows: slice) -> NDArray[np.uint8 | np.uint16]:
    """Returns rows of the map in the values of a layer."""
    if not layer.is_scored:
        return result.labels[rows]
    scores = result.confidence if layer is CONFIDENCE else result.scores
    assert scores is not None  # `_layer` has checked it
    return quantised(scores[..., rows, :], result.valid[rows])
