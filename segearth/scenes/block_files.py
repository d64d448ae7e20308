"""Files of one block, a GeoTIFF per layer: written row by row, and moved into place only when complete."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.errors import without_warnings
from segearth.outputs import atomic, write_errors
from segearth.scenes.grid import TILE, Block
from segearth.scenes.layers import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TILE_ROWS = 64  # height of tiles: small, because few rows are written at a time


def block_path(folder: Path, block: Block, layer: Layer) -> Path:
    """Returns the path of the file of a block's layer."""
    return folder / f"{block.name}.{layer.name}.tif"


def tile_size(size: tuple[int, int]) -> tuple[int, int]:
    """Returns (height, width) of the tiles for an image size: multiples of 16, as TIFF requires."""
    height, width = (-(-side // 16) * 16 for side in size)
    return min(_TILE_ROWS, height), min(TILE, width)


class BlockWriter:
    """Writes the rows of a block; created by `block_writer`.

    Attributes:
        sizes: size of each layer's file in bytes, by the layer's name; set when the files are complete.
    """

    def __init__(self, folder: Path, block: Block, layers: Sequence[Layer], paths: Mapping[str, Path]) -> None:
        area = block.area
        self.sizes: dict[str, int] = {}
        self._size = area.bottom - area.top, area.right - area.left
        self._layers = layers
        self._temporary_paths = paths
        self._paths = {layer.name: block_path(folder, block, layer) for layer in layers}
        self._written: list[tuple[int, int]] = []  # first and last row (excluded) of each call
        self._checksums = dict.fromkeys(paths, 0)
        self._files: dict[str, Any] = {}

    def _open(self) -> None:
        import rasterio

        for layer in self._layers:
            with _gdal_calls(self._paths[layer.name]):
                self._files[layer.name] = rasterio.open(
                    self._temporary_paths[layer.name],
                    "w",
                    driver="GTiff",
                    height=self._size[0],
                    width=self._size[1],
                    count=len(layer.bands),
                    dtype=np.dtype(layer.type).name,
                    nodata=layer.nodata,
                    compress="DEFLATE",
                    zlevel=1,  # it is read once
                    interleave="band",
                    tiled=True,
                    blockxsize=tile_size(self._size)[1],
                    blockysize=tile_size(self._size)[0],
                    photometric="MINISBLACK",
                    bigtiff="IF_SAFER",
                )

    def _close(self) -> None:
        for name, file in self._files.items():
            with _gdal_calls(self._paths[name]):
                file.close()

    def write(self, rows: Mapping[str, NDArray[np.generic]]) -> None:
        """Writes the next rows of every layer.

        Args:
            rows: (h, w) labels, (h, w) confidence, (C, h, w) scores, by the layer's name, in the layer's own values.

        Raises:
            ValueError: rows of a wrong size or type.
            UserError: the files cannot be written.
        """
        start = self._written[-1][1] if self._written else 0
        end = start + next(iter(rows.values())).shape[-2]
        for layer in self._layers:
            values = np.ascontiguousarray(rows[layer.name].reshape(-1, *rows[layer.name].shape[-2:]))
            expected = (len(layer.bands), end - start, self._size[1])
            if values.shape != expected or values.dtype != layer.type or end > self._size[0]:
                raise ValueError(
                    f"{layer.name}: {values.dtype} {values.shape} for rows {start} to {end} of {self._size}, "
                    f"expected {np.dtype(layer.type)} {expected}"
                )
            self._checksums[layer.name] = zlib.crc32(values.data, self._checksums[layer.name])
            with _gdal_calls(self._paths[layer.name]):
                self._files[layer.name].write(values, window=((start, end), (0, self._size[1])))
        self._written.append((start, end))

    def _check(self) -> None:
        """Reads all files and compares checksums: GDAL does not report a full disk when it closes a file."""
        import rasterio

        if not self._written or self._written[-1][1] != self._size[0]:
            raise ValueError(f"the block has {self._size[0]} rows, written are {self._written[-1:]}")
        for name, path in self._temporary_paths.items():
            checksum = 0
            with _gdal_calls(self._paths[name]):
                with rasterio.open(path) as file:
                    for start, end in self._written:
                        checksum = zlib.crc32(file.read(window=((start, end), (0, self._size[1]))), checksum)
                if checksum != self._checksums[name]:
                    raise OSError(errno.EIO, "it does not hold what was written")
            with path.open("rb+") as written:
                os.fsync(written.fileno())
            self.sizes[name] = path.stat().st_size


@contextmanager
def block_writer(folder: Path, block: Block, layers: Sequence[Layer]) -> Iterator[BlockWriter]:
    """Context manager that writes the files of a block, from its first row to its last.

    If the `with` block succeeds, all files are complete, synchronised to disk and in place; otherwise none is.

    Args:
        folder: existing folder for the files.
        block: the block to write.
        layers: the layers to write.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    try:
        with ExitStack() as stack:
            paths = {layer.name: stack.enter_context(atomic(block_path(folder, block, layer))) for layer in layers}
            writer = BlockWriter(folder, block, layers, paths)
            try:
                writer._open()
                yield writer
            except OSError as error:  # raised by the caller, such as by reading the input: not a fault of these files
                raise _CallerError(error) from None
            finally:
                writer._close()
            writer._check()
    except _CallerError as error:
        raise error.reason from None


class _CallerError(Exception):
    """An error raised by the caller inside the `with` block."""

    def __init__(self, reason: OSError) -> None:
        self.reason = reason


@contextmanager
def _gdal_calls(path: Path) -> Iterator[None]:
    """Context for GDAL calls on a block file, without rasterio's warning: only the mosaic is georeferenced."""
    from rasterio import Env
    from rasterio.errors import NotGeoreferencedWarning

    # without an Env, GDAL also prints what it reports
    with write_errors(path), Env(), gdal_errors(), without_warnings(NotGeoreferencedWarning):
        yield


@contextmanager
def gdal_errors() -> Iterator[None]:
    """Converts GDAL errors, which rasterio raises as several types including `SystemError`, to `OSError`."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, CPLE_BaseError, SystemError) as error:
        cause = error.__cause__ or error
        raise OSError(errno.EIO, f"GDAL: {cause}") from None
