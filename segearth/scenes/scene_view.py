"""Web map view of a scene for notebooks: its classes and a small picture in Web Mercator."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from segearth.errors import UserError, without_warnings
from segearth.notebook.view import LONGEST, Bounds, View, class_colours, html_picture
from segearth.scenes.assemble import open_map
from segearth.scenes.block_files import gdal_errors
from segearth.scenes.raster import ReadFailed, open_raster
from segearth.scenes.scene_overlay import thumbnail
from segearth.windows import Window

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from segearth.result import Result
    from segearth.scenes.options import SceneResult
    from segearth.scenes.raster_spec import RasterSpec

_MAX_PIXELS = 64_000_000  # pixels that may be read for the picture; larger scenes need overviews
_BORDER_POINTS = 65  # points per side that are projected to find the extent of a scene
_MAX_LATITUDE = 85.0  # degrees, the limit of Web Mercator


class _MercatorGrid(NamedTuple):
    """A pixel grid in Web Mercator.

    Attributes:
        transform: from (column, row) to metres.
        size: (h, w).
        bounds: south-west and north-east corner, (latitude, longitude).
    """

    transform: Affine
    size: tuple[int, int]
    bounds: Bounds

    @classmethod
    def enclosing(cls, transform: Affine, crs: CRS, size: tuple[int, int]) -> _MercatorGrid | None:
        """Returns the grid that encloses a raster; None if it is not in one piece on a Web Mercator map."""
        from rasterio import Affine as RasterioAffine
        from rasterio.warp import transform as convert

        height, width = size
        along = np.linspace(0, 1, _BORDER_POINTS)
        columns = width * np.concatenate([along, along, 0 * along, 0 * along + 1])
        rows = height * np.concatenate([0 * along, 0 * along + 1, along, along])
        x, y = _apply_transform(transform, columns, rows)
        east, north = (np.array(values) for values in convert(crs, "EPSG:4326", x.tolist(), y.tolist()))
        if not (np.isfinite([east, north]).all() and np.abs(north).max() < _MAX_LATITUDE and np.ptp(east) < 180):
            return None
        corners = convert(
            "EPSG:4326", "EPSG:3857", [float(east.min()), float(east.max())], [float(north.min()), float(north.max())]
        )
        (left, right), (bottom, top) = corners[:2]
        pixel = max(right - left, top - bottom) / LONGEST
        if not pixel > 0:
            return None
        tall, wide = max(1, round((top - bottom) / pixel)), max(1, round((right - left) / pixel))
        grid = RasterioAffine((right - left) / wide, 0, left, 0, -(top - bottom) / tall, top)
        bounds = (float(north.min()), float(east.min())), (float(north.max()), float(east.max()))
        return cls(grid, (tall, wide), bounds)

    def warp(
        self, bands: NDArray[np.integer], transform: Affine, crs: CRS, fill: int, *, averaged: bool = False
    ) -> NDArray[np.integer]:
        """Warps bands (k, H, W) of a raster to this grid, (k, h, w).

        Args:
            bands: of the raster.
            transform: of the raster.
            crs: of the raster.
            fill: value outside the raster.
            averaged: whether to average instead of taking the nearest pixel.
        """
        from rasterio.warp import Resampling, reproject

        warped = np.full((len(bands), *self.size), fill, bands.dtype)
        reproject(
            bands,
            warped,
            src_transform=transform,
            src_crs=crs,
            dst_transform=self.transform,
            dst_crs="EPSG:3857",
            init_dest_nodata=False,
            resampling=Resampling.average if averaged else Resampling.nearest,
        )
        return warped


class _Picture(NamedTuple):
    """A small picture: (h, w, 3) uint8 RGB, validity (h, w) bool, and transform."""

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    transform: Affine


def result_view(result: Result, rows: Sequence[Mapping[str, Any]]) -> View | None:
    """Returns the view of a scene in memory; None if it cannot be shown on a web map."""
    assert result.transform is not None  # a scene, not a picture
    assert result.crs is not None
    picture = _Picture(result.pixels, result.valid, result.transform)
    return _view(result.labels, result.transform, result.crs, result.palette, picture, rows, result.name)


def scene_view(result: SceneResult) -> View | None:
    """Returns the view of a scene's files; None if it cannot be shown on a web map, or files are missing."""
    if not result.labels.is_file():
        return None
    with open_map(result.labels) as file:
        transform, crs, (height, width) = file.transform, file.crs, file.shape
        if crs is None:
            return None
        factor = max(1.0, max(height, width) / (2 * LONGEST))
        size = max(1, round(height / factor)), max(1, round(width / factor))
        labels = file.read(1, out_shape=size)  # from an overview if there is one
    picture = None if result.raster is None else _picture(result.raster, transform, (height, width))
    rows = result.summary["classes"]
    palette = np.array([entry["colour"] for entry in result.summary["settings"]["classes"]], np.uint8)
    small = _coarsened(transform, width / size[1], height / size[0])
    return _view(labels, small, crs, palette, picture, rows, result.summary["image"])


def _view(
    labels: NDArray[np.integer],
    transform: Affine,
    crs: CRS,
    palette: NDArray[np.uint8],
    picture: _Picture | None,
    rows: Sequence[Mapping[str, Any]],
    title: str,
) -> View | None:
    try:
        with without_warnings(), gdal_errors():
            grid = _MercatorGrid.enclosing(transform, crs, labels.shape)
            if grid is None:
                return None
            nodata = int(np.iinfo(labels.dtype).max)
            warped_labels = grid.warp(labels[None], transform, crs, nodata)[0]
            image = None
            if picture is not None:
                bands = np.concatenate([picture.pixels.transpose(2, 0, 1), 255 * picture.valid[None].astype(np.uint8)])
                averaged = max(picture.valid.shape) > LONGEST
                image = (
                    grid.warp(bands, picture.transform, crs, 0, averaged=averaged).astype(np.uint8).transpose(1, 2, 0)
                )
    except OSError:  # a local coordinate system, such as that of a building site
        return None
    return View(class_colours(warped_labels, palette), image, grid.bounds, True, rows, title)


def _picture(spec: RasterSpec, transform: Affine, size: tuple[int, int]) -> _Picture | None:
    """Reads a small picture of the mapped raster; None if reading would take long or is no longer possible.

    Args:
        spec: spec of the raster.
        transform: of the map.
        size: (H, W) of the map.
    """
    with ExitStack() as files, suppress(UserError, ReadFailed):
        raster = files.enter_context(open_raster(spec))
        (left, top), (right, bottom) = _corners(raster.transform, transform, size)
        factor = max(abs(right - left), abs(bottom - top)) / LONGEST
        if factor > 2:
            with suppress(UserError):  # it has no overviews
                raster = files.enter_context(raster.open_overview(factor))
                (left, top), (right, bottom) = _corners(raster.transform, transform, size)
        height, width = raster.size
        window = Window(max(0, round(top)), min(height, round(bottom)), max(0, round(left)), min(width, round(right)))
        tall, wide = window.bottom - window.top, window.right - window.left
        if min(tall, wide) < 1 or tall * wide > _MAX_PIXELS:
            return None
        picture = thumbnail(raster.read, window, LONGEST)
        step = -(-max(tall, wide) // LONGEST)
        small = _coarsened(raster.transform, step, step, (window.left, window.top))
        return _Picture(picture.pixels, picture.valid, small)
    return None


def _corners(raster: Affine, transform: Affine, size: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """Returns the upper left and lower right corner of a map as (column, row) of its raster, a parallel grid."""
    return tuple(_apply_transform(~raster, *_apply_transform(transform, *corner)) for corner in ((0, 0), size[::-1]))


def _apply_transform(transform: Affine, column: Any, row: Any) -> tuple[Any, Any]:
    """Applies a transform to (column, row), which may be arrays."""
    a, b, c, d, e, f = transform[:6]
    return a * column + b * row + c, d * column + e * row + f


def _coarsened(transform: Affine, wide: float, tall: float, corner: tuple[int, int] = (0, 0)) -> Affine:
    """Returns the transform of a grid with wider and taller pixels, starting at a corner (column, row)."""
    x, y = _apply_transform(transform, *corner)
    a, b, _, d, e, _ = transform[:6]
    return type(transform)(a * wide, b * tall, x, d * wide, e * tall, y)


def overlay_html(result: SceneResult) -> str:
    """Returns the overlay of a scene's files as HTML, reduced in size; empty if there is none."""
    path = next((path for path in result.files if path.name.endswith(".overlay.png") and path.is_file()), None)
    if path is None:
        return ""
    with Image.open(path) as picture:
        picture.thumbnail((LONGEST, LONGEST + LONGEST // 2))
        file = io.BytesIO()
        picture.save(file, "PNG")
    return html_picture(file.getvalue(), f"the map of {result.summary['image']}")
