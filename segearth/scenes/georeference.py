"""Georeferencing of pixels: longitude and latitude, distances in metres, direction of north."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyproj
    from affine import Affine
    from numpy.typing import ArrayLike, NDArray
    from rasterio.crs import CRS

    from segearth.windows import Window

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Georeference:
    """Transform and horizontal coordinate system of a raster.

    Attributes:
        transform: from (column, row) to coordinates; pixel corners have integer (column, row).
        crs: horizontal coordinate system.
    """

    transform: Affine
    crs: pyproj.CRS

    @classmethod
    def from_rasterio(cls, transform: Affine, crs: CRS | None) -> Georeference | None:
        """Creates the georeference of a raster; None without a coordinate system."""
        if crs is None or not crs.to_wkt():
            return None
        import pyproj

        horizontal = pyproj.CRS.from_wkt(crs.to_wkt())
        while horizontal.is_bound or horizontal.is_compound:  # with a datum shift; with heights
            inner = horizontal.source_crs if horizontal.is_bound else horizontal.sub_crs_list[0]
            assert inner is not None  # both kinds have one
            horizontal = inner
        return cls(transform, horizontal)

    @property
    def name(self) -> str:
        """Name of the coordinate system, such as "WGS 84 (EPSG:4326)"."""
        code = self.crs.to_authority()
        return f"{self.crs.name} ({':'.join(code)})" if code else str(self.crs.name)

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are longitude and latitude; false for a rotated pole."""
        return bool(self.crs.is_geographic and not self.crs.is_derived)

    @property
    def unit(self) -> float:
        """One unit of the coordinates in metres, or in radians for angles."""
        axes = self.crs.axis_info
        return float(axes[0].unit_conversion_factor) if axes else 1.0

    @cached_property
    def _to_geodetic(self) -> tuple[pyproj.Transformer, float] | None:
        """Transformer to longitude and latitude, and their unit in radians; None for a local coordinate system."""
        import pyproj

        geodetic = self.crs.geodetic_crs
        if geodetic is None:
            return None
        unit = float(geodetic.axis_info[0].unit_conversion_factor)
        return pyproj.Transformer.from_crs(self.crs, geodetic, always_xy=True), unit

    def lonlat(self, columns: ArrayLike, rows: ArrayLike) -> tuple[Floats, Floats] | None:
        """Converts pixel positions to longitude and latitude in radians; infinite where they are undefined.

        Args:
            columns: of any shape.
            rows: of the same shape.

        Returns:
            Longitudes and latitudes (from -π/2 to π/2) of the same shape; None for a local coordinate system.
        """
        columns, rows = np.asarray(columns, float), np.asarray(rows, float)
        a, b, c, d, e, f = self.transform[:6]
        x, y = a * columns + b * rows + c, d * columns + e * rows + f
        if self.is_geographic:
            lon, lat = x * self.unit, y * self.unit
        elif self._to_geodetic is None:
            return None
        else:
            transformer, unit = self._to_geodetic
            lon, lat = (np.asarray(values) * unit for values in transformer.transform(x, y))
        return lon, np.clip(lat, -math.pi / 2, math.pi / 2)

    def distance_m(self, column: float, row: float, down: bool = False) -> float | None:
        """Computes the distance in metres between two neighbouring pixels, at a point in pixel coordinates.

        Args:
            column: of the point.
            row: of the point.
            down: whether the neighbours are in one column instead of one row.

        Returns:
            The distance; None if coordinates are undefined there or have no unit of length.
        """
        x, y = (0.0, 0.5) if down else (0.5, 0.0)
        points = self.lonlat([column - x, column + x], [row - y, row + y])
        if points is None:
            a, b, _, d, e, _ = self.transform[:6]
            linear = self.crs.axis_info and math.hypot(*((b, e) if down else (a, d))) * self.unit
            return linear or None
        if not np.isfinite(points).all():
            return None
        geod = self.crs.get_geod()
        assert geod is not None  # a system with longitudes has an ellipsoid
        (lon0, lon1), (lat0, lat1) = points
        distance = float(geod.inv(lon0, lat0, lon1, lat1, radians=True)[2])
        return distance or None

    def north_angle(self, column: float, row: float) -> float | None:
        """Computes the direction of true north at a point in pixel coordinates.

        Returns:
            Radians, clockwise from the top of the raster; None if unknown.
        """
        points = self.lonlat([column, column + 1, column], [row, row, row + 1])
        if points is None or not np.isfinite(points).all():
            return None
        (lon, lon_right, lon_below), (lat, lat_right, lat_below) = points
        along, down = wrap_longitudes(lon_right - lon), wrap_longitudes(lon_below - lon)
        determinant = along * (lat_below - lat) - down * (lat_right - lat)
        # The step (-down, along) keeps the longitude. Latitude increases along it, or decreases if it is mirrored.
        step = np.array([-down, along]) * np.sign(determinant)
        return math.atan2(step[0], -step[1]) if step.any() else None


def bounds(transform: Affine, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Returns west, south, east and north of a raster, in its own coordinates.

    Args:
        transform: from (column, row) to coordinates.
        size: (H, W).
    """
    a, b, c, d, e, f = transform[:6]
    corners = [(column, row) for column in (0, size[1]) for row in (0, size[0])]
    x, y = zip(*((a * column + b * row + c, d * column + e * row + f) for column, row in corners), strict=True)
    return min(x), min(y), max(x), max(y)


def window_transform(transform: Affine, window: Window) -> Affine:
    """Returns the transform of a window of a grid."""
    a, b, c, d, e, f = transform[:6]
    return type(transform)(a, b, c + a * window.left + b * window.top, d, e, f + d * window.left + e * window.top)


def wrap_longitudes(longitudes: ArrayLike) -> Floats:
    """Wraps differences of longitudes in radians to [-π, π)."""
    return (np.asarray(longitudes) + math.pi) % (2 * math.pi) - math.pi
