"""Area of interest: the part of a raster to map, given as a bounding box or as polygons from a vector file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.errors import UserError, first_line, option, printable
from segearth.paths import user_path
from segearth.scenes.georeference import Georeference, bounds
from segearth.scenes.grid import intersection, slices_within
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import CRS
    from shapely.geometry.base import BaseGeometry

    from segearth.scenes.raster import Raster

TILE = 1024  # masks are rasterised in fixed tiles, so that rounding does not depend on the requested window
_SNAP = 1e-6  # tolerance in pixels for rounding of borders
_SEGMENTS = 256  # segments per longer side of a shape before it is reprojected


@dataclass(frozen=True)
class Area:
    """A part of a raster in pixel coordinates; can be pickled.

    Attributes:
        window: smallest window of whole pixels that contains the area, at least one pixel.
        polygons: WKB polygons, in pixels from the raster's upper left corner; None: the whole window.
    """

    window: Window
    polygons: tuple[bytes, ...] | None = None

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Returns (h, w) bool: which pixels of a window have their centre inside the area."""
        mask = np.zeros((window.bottom - window.top, window.right - window.left), bool)
        part = intersection(window, self.window)
        if part is None:
            return mask
        if self.polygons is None:
            mask[slices_within(part, window)] = True
            return mask
        for top in range(part.top // TILE * TILE, part.bottom, TILE):
            for left in range(part.left // TILE * TILE, part.right, TILE):
                tile = Window(top, top + TILE, left, left + TILE)
                inside = intersection(tile, part)
                if inside is not None:
                    mask[slices_within(inside, window)] = self._tile_mask(tile)[slices_within(inside, tile)]
        return mask

    def scaled(self, size: tuple[int, int], new_size: tuple[int, int]) -> Area:
        """Returns the same area in the pixels of another grid over the same raster.

        Args:
            size: (H, W) of the raster.
            new_size: (H', W') of the other grid.
        """
        if size == new_size:
            return self
        y, x = new_size[0] / size[0], new_size[1] / size[1]
        if self.polygons is None:
            top, bottom, left, right = self.window
            return Area(_pixel_window(left * x, top * y, right * x, bottom * y))
        import shapely

        shapes = [_transformed(shape, lambda c, r: (c * x, r * y)) for shape in shapely.from_wkb(list(self.polygons))]
        return Area(_pixel_window(*shapely.total_bounds(shapes)), tuple(shapely.to_wkb(shapes)))

    def as_dict(self) -> dict[str, Any]:
        """Returns window and SHA-256 of the polygons, for JSON."""
        digest = None if self.polygons is None else hashlib.sha256(b"".join(self.polygons)).hexdigest()
        return {"window": list(self.window), "sha256_of_polygons": digest}

    @cached_property
    def _tree(self) -> Any:
        import shapely

        return shapely.STRtree(shapely.from_wkb(list(self.polygons or ())))

    def _tile_mask(self, tile: Window) -> NDArray[np.bool_]:
        """Returns the mask of a whole tile (TILE, TILE)."""
        import shapely
        from rasterio import Affine
        from rasterio.features import rasterize

        box = shapely.box(tile.left, tile.top, tile.right, tile.bottom)
        shapes = [self._tree.geometries[number] for number in sorted(self._tree.query(box))]
        if not shapes:
            return np.zeros((TILE, TILE), bool)
        mask: NDArray[np.uint8] = rasterize(
            shapes, (TILE, TILE), transform=Affine.translation(tile.left, tile.top), dtype="uint8"
        )
        return mask > 0


def area_from_bbox(raster: Raster, box: str | Sequence[float], crs: str | None = None) -> Area:
    """Returns the smallest window of pixels that contains a bounding box.

    Args:
        raster: an open raster.
        box: west, south, east and north, as text "W,S,E,N" or four numbers. In degrees, west may be larger than east:
            the box then crosses the antimeridian.
        crs: coordinate system of the box, such as "EPSG:4326"; None: that of the raster.

    Raises:
        UserError: invalid numbers or coordinate system, or a box that does not overlap the raster.
    """
    import shapely

    west, south, east, north = _parse_bbox(box)
    source = _parse_crs(crs, option("bbox_crs")) if crs is not None else _horizontal_crs(raster)
    if west > east and source is not None and source.is_geographic:
        east += 360
    if west >= east or south >= north:
        raise UserError(
            f"the box {west:.15g},{south:.15g},{east:.15g},{north:.15g} has no area: expected west below east and "
            f"south below north; correct {option('bbox')}"
        )
    shapes = _to_pixels(raster, [shapely.box(west, south, east, north)], source, option("bbox"))
    return Area(_enclosing_window(raster, shapes, "the box"))


def area_from_file(raster: Raster, path: str | Path) -> tuple[Area, list[str]]:
    """Returns the area inside the polygons of a vector file: GeoJSON, GeoPackage, Shapefile or another GDAL format.

    Args:
        raster: an open raster.
        path: the vector file; only its first layer is used.

    Returns:
        The area, and remarks (one sentence each).

    Raises:
        UserError: the file cannot be read, has no polygons, cannot be reprojected, or does not overlap the raster.
    """
    import shapely

    name = printable(path)
    shapes, crs, remarks = _read_polygons(path)
    file_crs = _parse_crs(crs, name) if crs else None
    if file_crs is None and raster.crs is not None:
        remarks.append(f"{name} has no coordinate system; that of {raster.name} is used")
    polygons = [shape for shape in shapely.make_valid(shapes) if shape is not None and shapely.area(shape) > 0]
    if not polygons:
        raise UserError(f"{name} holds no polygons: expected at least one; give another file as {option('aoi')}")
    source = file_crs or _horizontal_crs(raster)
    pixels = _to_pixels(raster, polygons, source, option("aoi"))
    what = f"{name}, whose polygons lie {_describe_bounds(shapely.total_bounds(polygons), source)}"
    return Area(_enclosing_window(raster, pixels, what), tuple(shapely.to_wkb(pixels))), remarks


def _read_polygons(path: str | Path) -> tuple[NDArray[Any], str | None, list[str]]:
    """Returns the shapes of a vector file, its coordinate system and remarks."""
    import pyogrio
    import shapely

    file = user_path(path, "area file")
    name = printable(path)
    if not file.exists():
        raise UserError(f"no file at {name}: expected polygons, such as GeoJSON; correct {option('aoi')}")
    try:
        layers = pyogrio.list_layers(file)
        meta, _, geometry, _ = pyogrio.raw.read(file, layer=layers[0][0], columns=[], force_2d=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, IndexError) as error:
        raise UserError(
            f"{name} cannot be read ({first_line(error)}): expected a file of polygons that GDAL reads, such as "
            f"GeoJSON; give another one as {option('aoi')}"
        ) from None
    remarks = []
    if len(layers) > 1:
        remarks = [f"{name} has {len(layers)} layers; the first one, {printable(layers[0][0])}, is used"]
    return shapely.from_wkb([] if geometry is None else geometry), meta["crs"], remarks


def _to_pixels(raster: Raster, shapes: Sequence[BaseGeometry], crs: CRS | None, what: str) -> list[BaseGeometry]:
    """Converts shapes to pixels of the raster and clips them to it; shapes outside are left out."""
    import shapely

    raster_crs = _horizontal_crs(raster)
    if raster_crs is None and crs is not None:
        raise UserError(
            f"{raster.name} has no coordinate system, and {what} is in {crs.name}: expected the same for both; give "
            "the raster one first: gdal_edit.py -a_srs EPSG:... FILE"
        )
    if raster_crs is not None and crs is not None and raster_crs != crs:
        shapes = _reprojected(shapes, crs, raster_crs, raster)
    a, b, c, d, e, f = (~raster.transform)[:6]
    height, width = raster.size
    is_geographic = raster_crs is not None and raster_crs.is_geographic
    clipped_shapes = []
    for shift in (0, -360, 360) if is_geographic else (0,):  # longitudes that differ by 360° are the same
        for shape in shapes:
            pixels = _transformed(shape, lambda x, y, t=shift: (a * (x + t) + b * y + c, d * (x + t) + e * y + f))
            clipped = shapely.intersection(shapely.make_valid(pixels), shapely.box(0, 0, width, height))
            if shapely.area(clipped) > 0:
                clipped_shapes.append(_polygonal(clipped))
    return clipped_shapes


def _reprojected(shapes: Sequence[BaseGeometry], crs: CRS, raster_crs: CRS, raster: Raster) -> list[BaseGeometry]:
    """Reprojects shapes to the raster's coordinate system, only near the raster: far away it may not be defined."""
    import pyproj
    import shapely

    to_crs = pyproj.Transformer.from_crs(raster_crs, crs, always_xy=True)
    west, south, east, north = to_crs.transform_bounds(*bounds(raster.transform, raster.size))
    if not all(map(math.isfinite, (west, south, east, north))):
        raise UserError(
            f"{raster.name} lies outside {crs.name}: expected an area in a coordinate system that covers it; give it "
            f"in {raster_crs.name}"
        )
    if west > east:  # across the antimeridian
        east += 360
    margin = max(east - west, north - south)
    shifts = (-360, 0, 360) if crs.is_geographic else (0,)
    boxes = [shapely.box(west - margin + x, south - margin, east + margin + x, north + margin) for x in shifts]
    near = [shapely.intersection(shape, shapely.union_all(boxes)) for shape in shapes]
    to_raster = pyproj.Transformer.from_crs(crs, raster_crs, always_xy=True)
    projected = [_transformed(_densified(shape), to_raster.transform) for shape in near if shapely.area(shape) > 0]
    return [shape for shape in shapely.make_valid(projected) if np.isfinite(shapely.get_coordinates(shape)).all()]


def _densified(shape: BaseGeometry) -> BaseGeometry:
    """Adds points on long edges, because straight edges become curves in another coordinate system."""
    import shapely

    west, south, east, north = shapely.bounds(shape)
    return shapely.segmentize(shape, max(east - west, north - south) / _SEGMENTS)


def _transformed(shape: BaseGeometry, function: Any) -> BaseGeometry:
    import shapely

    return shapely.transform(shape, lambda points: np.column_stack(function(points[:, 0], points[:, 1])))


def _polygonal(shape: BaseGeometry) -> BaseGeometry:
    """Removes points and lines that clipping may leave."""
    import shapely

    parts = shapely.get_parts(shape)
    return shapely.multipolygons([part for part in shapely.get_parts(parts) if shapely.get_type_id(part) == 3])


def _enclosing_window(raster: Raster, shapes: list[BaseGeometry], what: str) -> Window:
    """Returns the smallest window of whole pixels that contains all shapes."""
    import shapely

    if not shapes:
        raise UserError(
            f"no part of {raster.name} lies in {what}: expected an area that overlaps it "
            f"({_describe_extent(raster)}); correct it"
        )
    return _pixel_window(*shapely.total_bounds(shapes))


def _pixel_window(left: float, top: float, right: float, bottom: float) -> Window:
    """Returns the window of whole pixels that contains a box, up to a tolerance."""
    return Window(
        math.floor(top + _SNAP), math.ceil(bottom - _SNAP), math.floor(left + _SNAP), math.ceil(right - _SNAP)
    )


def _describe_extent(raster: Raster) -> str:
    """Describes the extent of a raster, for messages."""
    return f"it lies {_describe_bounds(bounds(raster.transform, raster.size), _horizontal_crs(raster))}"


def _describe_bounds(box: Sequence[float], crs: CRS | None) -> str:
    """Describes a bounding box, for messages."""
    west, south, east, north = box
    system = "" if crs is None else f" in {crs.name}"
    return f"between {west:.10g} and {east:.10g}, {south:.10g} and {north:.10g}{system}"


def _horizontal_crs(raster: Raster) -> CRS | None:
    """Returns the horizontal coordinate system of a raster, or None."""
    georeference = Georeference.from_rasterio(raster.transform, raster.crs)
    return None if georeference is None else georeference.crs


def _parse_crs(text: str, what: str) -> CRS:
    import pyproj

    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError:
        raise UserError(
            f"unknown coordinate system {printable(text)[:80]} of {what}: expected one such as EPSG:4326; correct it"
        ) from None


def _parse_bbox(box: str | Sequence[float]) -> tuple[float, float, float, float]:
    try:
        values = [float(value) for value in (box.split(",") if isinstance(box, str) else box)]
        west, south, east, north = values
        if not all(map(math.isfinite, values)):
            raise ValueError
    except ValueError:
        raise UserError(
            f"the box is {printable(box)}: expected four numbers, west, south, east and north, such as "
            f"{option('bbox', '500000,5499000,501000,5500000')}"
        ) from None
    return west, south, east, north
