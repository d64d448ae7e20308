"""One block's rasters on disk: written row by row, and there as a whole or not at all."""

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

_TALL = 64  # rows of a part's tiles: low, because rows are written a few at a time; as wide as those of the map


def part_path(folder: Path, block: Block, layer: Layer) -> Path:
    """Where a layer of a block is kept."""
    return folder / f"{block.name}.{layer.name}.tif"


def tile_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the tiles of a part: multiples of 16, as TIFF has them."""
    height, width = (-(-side // 16) * 16 for side in size)
    return min(_TALL, height), min(TILE, width)


class PartWriter:
    """Writes the rows of a block; made by `part_writer`.

    Attributes:
        sizes: bytes of each layer's file, by the layer's name; known when the part is complete.
    """

    def __init__(self, folder: Path, block: Block, layers: Sequence[Layer], paths: Mapping[str, Path]) -> None:
        area = block.area
        self.sizes: dict[str, int] = {}
        self._size = area.bottom - area.top, area.right - area.left
        self._layers = layers
        self._paths = paths
        self._places = {layer.name: part_path(folder, block, layer) for layer in layers}
        self._written: list[tuple[int, int]] = []  # first and last row (excluded) of each call
        self._checks = dict.fromkeys(paths, 0)
        self._files: dict[str, Any] = {}

    def _open(self) -> None:
        import rasterio

        for layer in self._layers:
            with _gdal(self._places[layer.name]):
                self._files[layer.name] = rasterio.open(
                    self._paths[layer.name],
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
            with _gdal(self._places[name]):
                file.close()

    def write(self, rows: Mapping[str, NDArray[np.generic]]) -> None:
        """Writes the next rows of every layer.

        Args:
            rows: (h, w) labels, (h, w) confidence, (C, h, w) scores, by the layer's name, in the layer's own values.

        Raises:
            ValueError: rows of another size or type than the block's.
            UserError: they cannot be written.
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
            self._checks[layer.name] = zlib.crc32(values.data, self._checks[layer.name])
            with _gdal(self._places[layer.name]):
                self._files[layer.name].write(values, window=((start, end), (0, self._size[1])))
        self._written.append((start, end))

    def _check(self) -> None:
        """Reads all back: GDAL says nothing when the disk is full while it closes a file."""
        import rasterio

        if not self._written or self._written[-1][1] != self._size[0]:
            raise ValueError(f"the block has {self._size[0]} rows, written are {self._written[-1:]}")
        for name, path in self._paths.items():
            check = 0
            with _gdal(self._places[name]):
                with rasterio.open(path) as file:
                    for start, end in self._written:
                        check = zlib.crc32(file.read(window=((start, end), (0, self._size[1]))), check)
                if check != self._checks[name]:
                    raise OSError(errno.EIO, "it does not hold what was written")
            with path.open("rb+") as written:
                os.fsync(written.fileno())
            self.sizes[name] = path.stat().st_size


@contextmanager
def part_writer(folder: Path, block: Block, layers: Sequence[Layer]) -> Iterator[PartWriter]:
    """What writes a block's layers, from its first row to its last one.

    When the block ends well, all files are complete, on the disk itself, and in their places; else none is.

    Args:
        folder: of the parts; it is there.
        block: which one.
        layers: all that are written.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    try:
        with ExitStack() as places:
            paths = {layer.name: places.enter_context(atomic(part_path(folder, block, layer))) for layer in layers}
            writer = PartWriter(folder, block, layers, paths)
            try:
                writer._open()
                yield writer
            except OSError as error:  # of a raster that is read meanwhile, perhaps: no fault of these files
                raise _Abandoned(error) from None
            finally:
                writer._close()
            writer._check()
    except _Abandoned as error:
        raise error.reason from None


class _Abandoned(Exception):  # noqa: N818 (carries another one)
    """What was to be written cannot be computed."""

    def __init__(self, reason: OSError) -> None:
        self.reason = reason


@contextmanager
def _gdal(path: Path) -> Iterator[None]:
    """For what GDAL does with a part; it has no place on the Earth, which the VRT over all parts knows."""
    from rasterio import Env
    from rasterio.errors import NotGeoreferencedWarning

    # without an Env, GDAL also prints what it reports
    with write_errors(path), Env(), gdal_errors(), without_warnings(NotGeoreferencedWarning):
        yield


@contextmanager
def gdal_errors() -> Iterator[None]:
    """Makes an `OSError` of what GDAL reports in several ways, among them a `SystemError`."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, CPLE_BaseError, SystemError) as error:
        cause = error.__cause__ or error
        raise OSError(errno.EIO, f"GDAL: {cause}") from None
