"""Tiles of an image: read from the file if that is fast, else from a smaller copy that is made once."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from segearth.addresses import gdal_settings
from segearth.errors import UserError, without_warnings
from segearth.outputs import atomic
from segearth.scenes.grid import intersection
from segearth.scenes.inspection import inspect_raster
from segearth.scenes.raster import Raster, ReadFailed, open_raster
from segearth.scenes.raster_spec import RasterSpec
from segearth.web.rasters import open_plain, part_bytes
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

TILE = 256
_REDUCTION = 4  # reduction of the copy of a tiled image; finer tiles are read from the image
_SMALL = 1024  # the longest side at which the whole image is read at once
_READ = 1024  # side of the parts that are read at once
_STRIP = 1 << 22  # pixels read at once of an image that is stored in rows
_QUICK = 16 << 20  # maximum bytes to decode for one tile


@dataclass(frozen=True)
class View:
    """How tiles of an image are read.

    Attributes:
        path: path of the image.
        name: name of the image.
        spec: bands and stretch.
        size: (H, W).
        overviews: (reduction, index) of the overviews of the file that are used.
        preview: the smaller copy; None if the image and its overviews are sufficient.
        reduction: pixels of the image per pixel of the copy, along each axis.
    """

    path: Path
    name: str
    spec: RasterSpec
    size: tuple[int, int]
    overviews: tuple[tuple[int, int], ...]
    preview: Path | None
    reduction: int

    @property
    def max_zoom(self) -> int:
        """The zoom level at which a pixel of a tile is a pixel of the image; at 0, one tile has the whole image."""
        return max_zoom(self.size)


def max_zoom(size: tuple[int, int]) -> int:
    """The zoom level at which tiles have the full resolution of a raster of (H, W)."""
    return max(0, math.ceil(math.log2(max(size) / TILE)))


def tile_area(size: tuple[int, int], zoom: int, column: int, row: int) -> tuple[Window, int] | None:
    """The window of a raster that a tile shows, and the raster pixels per tile pixel along each axis.

    Args:
        size: (H, W) of the raster.
        zoom: 0 to `max_zoom`.
        column: column of the tile, from the left.
        row: row of the tile, from the top.

    Returns:
        None if there is no such tile.
    """
    if not 0 <= zoom <= max_zoom(size):
        return None
    step = 1 << (max_zoom(size) - zoom)
    side = TILE * step
    area = intersection(
        Window(row * side, (row + 1) * side, column * side, (column + 1) * side), Window(0, size[0], 0, size[1])
    )
    return None if area is None else (area, step)


def prepare(path: Path, name: str, folder: Path) -> tuple[View, list[str]]:
    """Prepares an image for display: chooses bands and stretch, and makes a smaller copy if needed.

    Args:
        path: path of the image.
        name: name of the image.
        folder: folder for the copy.

    Returns:
        The view, and remarks, one sentence each.

    Raises:
        UserError: it cannot be read, or the disk is full.
        ReadFailed: see `inspect_raster`.
    """
    with open_plain(path, name) as dataset, open_raster(dataset) as raster:
        raster.name = name
        choice = inspect_raster(raster)
        raster.spec = choice.spec
        remarks = list(choice.remarks)
        overviews = tuple((factor, number) for number, factor in enumerate(dataset.overviews(1)))
        slow = _is_slow(dataset)
        coarsest = max(raster.size) / max([1, *(factor for factor, _ in overviews)])
        preview, reduction = None, 1 if slow else _REDUCTION
        if slow or coarsest > _SMALL:
            preview = folder / "preview.tif"
            if _write_preview(raster, preview, reduction):
                remarks.append(f"parts of {name} cannot be read; they are left out here")
            overviews = ()
        return View(path, name, choice.spec, raster.size, overviews, preview, reduction), remarks


def image_tile(view: View, zoom: int, column: int, row: int) -> bytes | None:
    """A tile as an RGBA PNG, transparent outside the image; None if there is no such tile.

    Raises:
        UserError: the image was deleted or changed.
        ReadFailed: a part of it cannot be read.
    """
    window = tile_area(view.size, zoom, column, row)
    if window is None:
        return None
    area, step = window
    shown = (-(-(area.bottom - area.top) // step), -(-(area.right - area.left) // step))
    if view.preview is not None and step >= view.reduction:
        colours = _read_preview(view.preview, area, view.reduction, shown)
    else:
        colours = _read_image(view, area, step, shown)
    whole = np.zeros((TILE, TILE, 4), np.uint8)
    whole[: shown[0], : shown[1]] = colours
    return png(whole)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (h, w, 3 or 4) as a PNG without colour profile, so that a canvas gets the exact values."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _is_slow(dataset: DatasetReader) -> bool:
    """Whether reading one tile is slow: formats that are decoded from the top, or large blocks."""
    tall, wide = dataset.block_shapes[0]
    across = -(-TILE // tall) * -(-TILE // wide)
    return dataset.driver != "GTiff" or across * part_bytes(dataset) > _QUICK


def _read_preview(path: Path, area: Window, reduction: int, shown: tuple[int, int]) -> NDArray[np.uint8]:
    """Colours (h, w, 4) of an area of the image, from the copy."""
    import rasterio
    from rasterio.enums import Resampling

    with gdal_settings(str(path)), without_warnings(rasterio.errors.NotGeoreferencedWarning):
        file = rasterio.open(path, driver="GTiff")
    with gdal_settings(str(path)), file:
        window = (
            (area.top // reduction, min(file.height, -(-area.bottom // reduction))),
            (area.left // reduction, min(file.width, -(-area.right // reduction))),
        )
        read = file.read(window=window, out_shape=(4, *shown), resampling=Resampling.average)
        colours: NDArray[np.uint8] = read.transpose(1, 2, 0)
        return colours


def _read_image(view: View, area: Window, step: int, shown: tuple[int, int]) -> NDArray[np.uint8]:
    """Colours (h, w, 4) of an area, from the image or one of its overviews."""
    _, level = max((entry for entry in view.overviews if entry[0] <= step), default=(1, None))
    with ExitStack() as files:
        dataset = files.enter_context(open_plain(view.path, view.name, level))
        raster = files.enter_context(open_raster(dataset, view.spec))
        if level is None and raster.size != view.size:
            raise UserError(f"{view.name} has become another image: expected it to stay as it was; open it again")
        down, right = (side / full for side, full in zip(raster.size, view.size, strict=True))
        top, left = int(area.top * down), int(area.left * right)
        bottom = min(raster.size[0], max(top + 1, math.ceil(area.bottom * down)))
        end = min(raster.size[1], max(left + 1, math.ceil(area.right * right)))
        colours, valid = raster.read(Window(top, bottom, left, end))
    pixels = _rgba(colours, valid)
    if level is None and step > 1:
        return np.asarray(Image.fromarray(pixels).reduce(step))
    if pixels.shape[:2] == shown:
        return pixels
    image = Image.fromarray(pixels).resize((shown[1], shown[0]), Image.Resampling.BOX)
    return np.asarray(image)


def _rgba(colours: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """RGBA (h, w, 4) from colours (3, h, w) and a mask of valid pixels (h, w)."""
    whole = np.rint(colours).astype(np.uint8) if colours.dtype != np.uint8 else colours
    return np.dstack([whole.transpose(1, 2, 0), np.where(valid, 255, 0).astype(np.uint8)])


def _write_preview(raster: Raster, target: Path, reduction: int) -> bool:
    """Writes a copy reduced along each axis, with overviews; returns whether parts were unreadable.

    Raises:
        UserError: the disk is full.
    """
    import rasterio
    from rasterio.enums import ColorInterp, Resampling

    height, width = (-(-side // reduction) for side in raster.size)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 4, "height": height, "width": width, "tiled": True}
    profile |= {"blockxsize": TILE, "blockysize": TILE, "compress": "DEFLATE", "zlevel": 1, "interleave": "pixel"}
    profile |= {"photometric": "RGB", "ALPHA": "YES", "bigtiff": "IF_SAFER"}
    damaged = False
    with atomic(target) as part, gdal_settings(str(target)):
        with without_warnings(rasterio.errors.NotGeoreferencedWarning):
            file = rasterio.open(part, "w", **profile)
        with file:
            file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
            for area in _parts(raster, reduction):
                try:
                    pixels = _rgba(*raster.read(area))
                except ReadFailed:
                    damaged = True
                    continue
                if reduction > 1:
                    pixels = np.asarray(Image.fromarray(pixels).reduce(reduction))
                top, left = area.top // reduction, area.left // reduction
                window = ((top, top + pixels.shape[0]), (left, left + pixels.shape[1]))
                file.write(pixels.transpose(2, 0, 1), window=window)
        with without_warnings(rasterio.errors.NotGeoreferencedWarning):
            file = rasterio.open(part, "r+", driver="GTiff")
        with file:
            factors = [2**power for power in range(1, 20) if max(height, width) >> power >= TILE // 2]
            if factors:
                file.build_overviews(factors, Resampling.average)
    return damaged


def _parts(raster: Raster, reduction: int) -> Iterator[Window]:
    """Divides a raster into windows to read, so that each of its blocks is decoded about once."""
    height, width = raster.size
    tall, wide = raster.tile_size
    if wide >= width:
        rows = max(1, _STRIP // width // reduction) * reduction
        rows = max(rows, min(-(-tall // reduction) * reduction, _READ // reduction * reduction))
        columns = width
    else:
        rows = columns = _READ // reduction * reduction
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield Window(top, min(height, top + rows), left, min(width, left + columns))
