"""The part of a raster that is wanted: a box, or polygons from a file of any vector format."""

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
from segearth.scenes.georeference import Ground, bounds
from segearth.scenes.grid import common, within
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import CRS
    from shapely.geometry.base import BaseGeometry

    from segearth.scenes.raster import Raster

TILE = 1024  # masks are drawn in fixed tiles, so that no rounding depends on the part that is asked for
_SNAP = 1e-6  # pixels that a border may be off by, because of rounding
_PARTS = 256  # that the longer side of a shape is cut into before it is brought to another coordinate system


@dataclass(frozen=True)
class Area:
    """A part of a raster, in its pixels. It can be pickled.

    Attributes:
        window: its pixels, at least one; whole ones, also those that it only touches.
        polygons: WKB of what lies within, in pixels from the raster's corner; None: all of the window.
    """

    window: Window
    polygons: tuple[bytes, ...] | None = None

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of any window lie within, (h, w): those whose centre does."""
        found = np.zeros((window.bottom - window.top, window.right - window.left), bool)
        part = common(window, self.window)
        if part is None:
            return found
        if self.polygons is None:
            found[within(part, window)] = True
            return found
        for top in range(part.top // TILE * TILE, part.bottom, TILE):
            for left in range(part.left // TILE * TILE, part.right, TILE):
                tile = Window(top, top + TILE, left, left + TILE)
                inside = common(tile, part)
                if inside is not None:
                    found[within(inside, window)] = self._drawn(tile)[within(inside, tile)]
        return found

    def scaled(self, size: tuple[int, int], onto: tuple[int, int]) -> Area:
        """The same ground in pixels of another grid over the whole raster.

        Args:
            size: (H, W) of the raster.
            onto: (H', W') of the other grid.
        """
        if size == onto:
            return self
        y, x = onto[0] / size[0], onto[1] / size[1]
        if self.polygons is None:
            top, bottom, left, right = self.window
            return Area(_snapped(left * x, top * y, right * x, bottom * y))
        import shapely

        shapes = [_transformed(shape, lambda c, r: (c * x, r * y)) for shape in shapely.from_wkb(list(self.polygons))]
        return Area(_snapped(*shapely.total_bounds(shapes)), tuple(shapely.to_wkb(shapes)))

    def as_dict(self) -> dict[str, Any]:
        """What tells it from another one, for JSON."""
        digest = None if self.polygons is None else hashlib.sha256(b"".join(self.polygons)).hexdigest()
        return {"window": list(self.window), "sha256_of_polygons": digest}

    @cached_property
    def _tree(self) -> Any:
        import shapely

        return shapely.STRtree(shapely.from_wkb(list(self.polygons or ())))

    def _drawn(self, tile: Window) -> NDArray[np.bool_]:
        """A whole tile."""
        import shapely
        from rasterio import Affine
        from rasterio.features import rasterize

        box = shapely.box(tile.left, tile.top, tile.right, tile.bottom)
        shapes = [self._tree.geometries[number] for number in sorted(self._tree.query(box))]
        if not shapes:
            return np.zeros((TILE, TILE), bool)
        drawn: NDArray[np.uint8] = rasterize(
            shapes, (TILE, TILE), transform=Affine.translation(tile.left, tile.top), dtype="uint8"
        )
        return drawn > 0


def area_of_box(raster: Raster, box: str | Sequence[float], crs: str | None = None) -> Area:
    """The pixels that a box touches: all within the smallest window that holds it.

    Args:
        raster: open.
        box: west, south, east and north, "W,S,E,N" or four numbers. In degrees, west may be larger than east: the box
            then crosses the antimeridian.
        crs: the box's coordinate system, such as "EPSG:4326"; None: the raster's own.

    Raises:
        UserError: no such numbers or coordinate system, or nothing of the raster lies in the box.
    """
    import shapely

    west, south, east, north = _numbers(box)
    source = _crs(crs, option("bbox_crs")) if crs is not None else _own(raster)
    if west > east and source is not None and source.is_geographic:
        east += 360
    if west >= east or south >= north:
        raise UserError(
            f"the box {west:.15g},{south:.15g},{east:.15g},{north:.15g} has no area: expected west below east and "
            f"south below north; correct {option('bbox')}"
        )
    found = _in_pixels(raster, [shapely.box(west, south, east, north)], source, option("bbox"))
    return Area(_window(raster, found, "the box"))


def area_of_file(raster: Raster, path: str | Path) -> tuple[Area, list[str]]:
    """The pixels whose centre lies in a polygon of a file: GeoJSON, GeoPackage, Shapefile, whatever GDAL reads.

    Args:
        raster: open.
        path: of the file; its first layer counts.

    Returns:
        The area; and remarks, one sentence each.

    Raises:
        UserError: it cannot be read, holds no polygons, has another kind of coordinates, or lies elsewhere.
    """
    import shapely

    name = printable(path)
    shapes, crs, remarks = _read(path)
    known = _crs(crs, name) if crs else None
    if known is None and raster.crs is not None:
        remarks.append(f"{name} has no coordinate system; that of {raster.name} is taken")
    polygons = [shape for shape in shapely.make_valid(shapes) if shape is not None and shapely.area(shape) > 0]
    if not polygons:
        raise UserError(f"{name} holds no polygons: expected at least one; give another file as {option('aoi')}")
    source = known or _own(raster)
    found = _in_pixels(raster, polygons, source, option("aoi"))
    place = f"{name}, whose polygons lie {_between(shapely.total_bounds(polygons), source)}"
    return Area(_window(raster, found, place), tuple(shapely.to_wkb(found))), remarks


def _read(path: str | Path) -> tuple[NDArray[Any], str | None, list[str]]:
    """The shapes of a vector file, its coordinate system, and remarks."""
    import pyogrio
    import shapely

    place = user_path(path, "area file")
    name = printable(path)
    if not place.exists():
        raise UserError(f"no file at {name}: expected polygons, such as GeoJSON; correct {option('aoi')}")
    try:
        layers = pyogrio.list_layers(place)
        meta, _, geometry, _ = pyogrio.raw.read(place, layer=layers[0][0], columns=[], force_2d=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, IndexError) as error:
        raise UserError(
            f"{name} cannot be read ({first_line(error)}): expected a file of polygons that GDAL reads, such as "
            f"GeoJSON; give another one as {option('aoi')}"
        ) from None
    some = len(layers) > 1
    remarks = [f"{name} has {len(layers)} layers; the first one, {printable(layers[0][0])}, is taken"] if some else []
    return shapely.from_wkb([] if geometry is None else geometry), meta["crs"], remarks


def _in_pixels(raster: Raster, shapes: Sequence[BaseGeometry], crs: CRS | None, what: str) -> list[BaseGeometry]:
    """Shapes in pixels of the raster, cut off at its borders; those that share no area with it are left out."""
    import shapely

    own = _own(raster)
    if own is None and crs is not None:
        raise UserError(
            f"{raster.name} has no coordinate system, and {what} is in {crs.name}: expected both in one; give the "
            "raster its own first: gdal_edit.py -a_srs EPSG:... FILE"
        )
    if own is not None and crs is not None and own != crs:
        shapes = _brought(shapes, crs, own, raster)
    a, b, c, d, e, f = (~raster.transform)[:6]
    height, width = raster.size
    turns = (0, -360, 360) if own is not None and own.is_geographic else (0,)  # the same place on Earth
    found = []
    for turn in turns:
        for shape in shapes:
            pixels = _transformed(shape, lambda x, y, t=turn: (a * (x + t) + b * y + c, d * (x + t) + e * y + f))
            cut = shapely.intersection(shapely.make_valid(pixels), shapely.box(0, 0, width, height))
            if shapely.area(cut) > 0:
                found.append(_polygonal(cut))
    return found


def _brought(shapes: Sequence[BaseGeometry], crs: CRS, own: CRS, raster: Raster) -> list[BaseGeometry]:
    """Shapes in the raster's coordinate system: their parts near it, as far away it may have no coordinates."""
    import pyproj
    import shapely

    to_crs = pyproj.Transformer.from_crs(own, crs, always_xy=True)
    west, south, east, north = to_crs.transform_bounds(*bounds(raster.transform, raster.size))
    if not all(map(math.isfinite, (west, south, east, north))):
        raise UserError(
            f"{raster.name} has no place in {crs.name}: expected an area in a coordinate system that reaches it; give "
            f"it in {own.name}"
        )
    if west > east:  # across the antimeridian
        east += 360
    around = max(east - west, north - south)
    turns = (-360, 0, 360) if crs.is_geographic else (0,)
    boxes = [shapely.box(west - around + turn, south - around, east + around + turn, north + around) for turn in turns]
    near = [shapely.intersection(shape, shapely.union_all(boxes)) for shape in shapes]
    to_own = pyproj.Transformer.from_crs(crs, own, always_xy=True)
    found = [_transformed(_dense(shape), to_own.transform) for shape in near if shapely.area(shape) > 0]
    return [shape for shape in shapely.make_valid(found) if np.isfinite(shapely.get_coordinates(shape)).all()]


def _dense(shape: BaseGeometry) -> BaseGeometry:
    """With points on long edges, as these are no straight lines in another coordinate system."""
    import shapely

    west, south, east, north = shapely.bounds(shape)
    return shapely.segmentize(shape, max(east - west, north - south) / _PARTS)


def _transformed(shape: BaseGeometry, function: Any) -> BaseGeometry:
    import shapely

    return shapely.transform(shape, lambda points: np.column_stack(function(points[:, 0], points[:, 1])))


def _polygonal(shape: BaseGeometry) -> BaseGeometry:
    """Without the points and lines that cutting may leave."""
    import shapely

    parts = shapely.get_parts(shape)
    return shapely.multipolygons([part for part in shapely.get_parts(parts) if shapely.get_type_id(part) == 3])


def _window(raster: Raster, shapes: list[BaseGeometry], what: str) -> Window:
    """Whole pixels that hold all shapes."""
    import shapely

    if not shapes:
        raise UserError(
            f"nothing of {raster.name} lies in {what}: expected an area that shares pixels with it "
            f"({_extent(raster)}); correct it"
        )
    return _snapped(*shapely.total_bounds(shapes))


def _snapped(left: float, top: float, right: float, bottom: float) -> Window:
    """Whole pixels, also those that are only touched."""
    return Window(
        math.floor(top + _SNAP), math.ceil(bottom - _SNAP), math.floor(left + _SNAP), math.ceil(right - _SNAP)
    )


def _extent(raster: Raster) -> str:
    """Where a raster lies, for people."""
    return f"it lies {_between(bounds(raster.transform, raster.size), _own(raster))}"


def _between(box: Sequence[float], crs: CRS | None) -> str:
    """Where west, south, east and north are, for people."""
    west, south, east, north = box
    system = "" if crs is None else f" in {crs.name}"
    return f"between {west:.10g} and {east:.10g}, {south:.10g} and {north:.10g}{system}"


def _own(raster: Raster) -> CRS | None:
    """The raster's coordinate system, horizontal."""
    ground = Ground.of(raster.transform, raster.crs)
    return None if ground is None else ground.crs


def _crs(text: str, what: str) -> CRS:
    import pyproj

    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError:
        raise UserError(
            f"{what} has the coordinate system {printable(text)[:80]}, which is not known: expected one such as "
            "EPSG:4326; correct it"
        ) from None


def _numbers(box: str | Sequence[float]) -> tuple[float, float, float, float]:
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
