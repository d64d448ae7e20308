"""What a notebook shows of a scene: its classes and its picture, small, on a map of the Earth."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from segearth.errors import UserError, without_warnings
from segearth.notebook.view import LONGEST, Bounds, View, class_colours, html_picture
from segearth.scenes.assemble import opened
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

_MOST_READ = 64_000_000  # pixels of a scene that are read for its picture; a larger one needs overviews
_BORDER = 65  # points of each side that are looked at, to find where a scene lies
_POLES = 85.0  # degrees: Web Mercator ends there


class _Mercator(NamedTuple):
    """A grid of pixels in Web Mercator.

    Attributes:
        transform: from (column, row) to metres.
        size: (h, w).
        bounds: south-west and north-east, in latitude and longitude.
    """

    transform: Affine
    size: tuple[int, int]
    bounds: Bounds

    @classmethod
    def around(cls, transform: Affine, crs: CRS, size: tuple[int, int]) -> _Mercator | None:
        """The grid around a raster; None where it does not lie on such a map in one piece."""
        from rasterio import Affine as Own
        from rasterio.warp import transform as converted

        height, width = size
        along = np.linspace(0, 1, _BORDER)
        columns = width * np.concatenate([along, along, 0 * along, 0 * along + 1])
        rows = height * np.concatenate([0 * along, 0 * along + 1, along, along])
        x, y = _at(transform, columns, rows)
        east, north = (np.array(values) for values in converted(crs, "EPSG:4326", x.tolist(), y.tolist()))
        if not (np.isfinite([east, north]).all() and np.abs(north).max() < _POLES and np.ptp(east) < 180):
            return None
        corners = converted(
            "EPSG:4326", "EPSG:3857", [float(east.min()), float(east.max())], [float(north.min()), float(north.max())]
        )
        (left, right), (bottom, top) = corners[:2]
        pixel = max(right - left, top - bottom) / LONGEST
        if not pixel > 0:
            return None
        tall, wide = max(1, round((top - bottom) / pixel)), max(1, round((right - left) / pixel))
        grid = Own((right - left) / wide, 0, left, 0, -(top - bottom) / tall, top)
        bounds = (float(north.min()), float(east.min())), (float(north.max()), float(east.max()))
        return cls(grid, (tall, wide), bounds)

    def drawn(
        self, bands: NDArray[np.integer], transform: Affine, crs: CRS, fill: int, *, averaged: bool = False
    ) -> NDArray[np.integer]:
        """Bands (k, H, W) of a raster in the pixels of this grid, (k, h, w).

        Args:
            bands: of it.
            transform: of it.
            crs: of it.
            fill: what is outside.
            averaged: whether pixels are means, not copies.
        """
        from rasterio.warp import Resampling, reproject

        found = np.full((len(bands), *self.size), fill, bands.dtype)
        reproject(
            bands,
            found,
            src_transform=transform,
            src_crs=crs,
            dst_transform=self.transform,
            dst_crs="EPSG:3857",
            init_dest_nodata=False,
            resampling=Resampling.average if averaged else Resampling.nearest,
        )
        return found


class _Picture(NamedTuple):
    """A small picture: (h, w, 3) uint8 RGB, its valid pixels (h, w), and its place."""

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    transform: Affine


def result_view(result: Result, rows: Sequence[Mapping[str, Any]]) -> View | None:
    """The view of a scene in memory; None where it has no place on a map of the Earth."""
    assert result.transform is not None  # else it is a picture
    assert result.crs is not None
    picture = _Picture(result.pixels, result.valid, result.transform)
    return _view(result.labels, result.transform, result.crs, result.palette, picture, rows, result.name)


def scene_view(result: SceneResult) -> View | None:
    """The view of a scene's files; None where it has no place on a map of the Earth, or they are gone."""
    if not result.labels.is_file():
        return None
    with opened(result.labels) as file:
        transform, crs, (height, width) = file.transform, file.crs, file.shape
        if crs is None:
            return None
        factor = max(1.0, max(height, width) / (2 * LONGEST))
        size = max(1, round(height / factor)), max(1, round(width / factor))
        labels = file.read(1, out_shape=size)  # of an overview, where there is one
    picture = None if result.raster is None else _picture(result.raster, transform, (height, width))
    rows = result.summary["classes"]
    palette = np.array([one["colour"] for one in result.summary["settings"]["classes"]], np.uint8)
    small = _coarser(transform, width / size[1], height / size[0])
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
            grid = _Mercator.around(transform, crs, labels.shape)
            if grid is None:
                return None
            nodata = int(np.iinfo(labels.dtype).max)
            shown = grid.drawn(labels[None], transform, crs, nodata)[0]
            image = None
            if picture is not None:
                bands = np.concatenate([picture.pixels.transpose(2, 0, 1), 255 * picture.valid[None].astype(np.uint8)])
                averaged = max(picture.valid.shape) > LONGEST
                image = (
                    grid.drawn(bands, picture.transform, crs, 0, averaged=averaged).astype(np.uint8).transpose(1, 2, 0)
                )
    except OSError:  # a coordinate system that has no place on the Earth, such as that of a building site
        return None
    return View(class_colours(shown, palette), image, grid.bounds, True, rows, title)


def _picture(spec: RasterSpec, transform: Affine, size: tuple[int, int]) -> _Picture | None:
    """The mapped raster below a map, small; None where reading it would take long, or is not possible any more.

    Args:
        spec: of the raster.
        transform: of the map.
        size: (H, W) of the map.
    """
    with ExitStack() as files, suppress(UserError, ReadFailed):
        raster = files.enter_context(open_raster(spec))
        (left, top), (right, bottom) = _corners(raster.transform, transform, size)
        factor = max(abs(right - left), abs(bottom - top)) / LONGEST
        if factor > 2:
            with suppress(UserError):  # it has no overviews
                raster = files.enter_context(raster.smaller(factor))
                (left, top), (right, bottom) = _corners(raster.transform, transform, size)
        height, width = raster.size
        window = Window(max(0, round(top)), min(height, round(bottom)), max(0, round(left)), min(width, round(right)))
        tall, wide = window.bottom - window.top, window.right - window.left
        if min(tall, wide) < 1 or tall * wide > _MOST_READ:
            return None
        found = thumbnail(raster.read, window, LONGEST)
        step = -(-max(tall, wide) // LONGEST)
        own = _coarser(raster.transform, step, step, (window.left, window.top))
        return _Picture(found.pixels, found.valid, own)
    return None


def _corners(raster: Affine, transform: Affine, size: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """The first and the last corner of a map in (column, row) of its raster, whose grid is parallel."""
    return tuple(_at(~raster, *_at(transform, *corner)) for corner in ((0, 0), size[::-1]))


def _at(transform: Affine, column: Any, row: Any) -> tuple[Any, Any]:
    """The coordinates of (column, row), also of arrays."""
    a, b, c, d, e, f = transform[:6]
    return a * column + b * row + c, d * column + e * row + f


def _coarser(transform: Affine, wide: float, tall: float, corner: tuple[int, int] = (0, 0)) -> Affine:
    """The transform of pixels that are so many times wider and taller, from a corner (column, row) on."""
    x, y = _at(transform, *corner)
    a, b, _, d, e, _ = transform[:6]
    return type(transform)(a * wide, b * tall, x, d * wide, e * tall, y)


def overlay_html(result: SceneResult) -> str:
    """The overlay of a scene's files as HTML, made smaller; empty where there is none."""
    path = next((path for path in result.files if path.name.endswith(".overlay.png") and path.is_file()), None)
    if path is None:
        return ""
    with Image.open(path) as picture:
        picture.thumbnail((LONGEST, LONGEST + LONGEST // 2))
        file = io.BytesIO()
        picture.save(file, "PNG")
    return html_picture(file.getvalue(), f"the map of {result.summary['image']}")
