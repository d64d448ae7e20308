"""Where pixels lie on the Earth: longitudes and latitudes, metres on the ground, the direction of north."""

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

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ground:
    """The place of a raster.

    Attributes:
        transform: from (column, row) of the raster to coordinates; a pixel's corner has whole numbers.
        crs: the horizontal coordinate system.
    """

    transform: Affine
    crs: pyproj.CRS

    @classmethod
    def of(cls, transform: Affine, crs: CRS | None) -> Ground | None:
        """The place of a raster; None where it has no coordinate system."""
        if crs is None or not crs.to_wkt():
            return None
        import pyproj

        own = pyproj.CRS.from_wkt(crs.to_wkt())
        while own.is_bound or own.is_compound:  # with a datum shift; with heights
            inner = own.source_crs if own.is_bound else own.sub_crs_list[0]
            assert inner is not None  # both kinds have one
            own = inner
        return cls(transform, own)

    @property
    def name(self) -> str:
        """Of the coordinate system, such as "WGS 84 (EPSG:4326)"."""
        code = self.crs.to_authority()
        return f"{self.crs.name} ({':'.join(code)})" if code else str(self.crs.name)

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are longitude and latitude (a rotated pole has others)."""
        return bool(self.crs.is_geographic and not self.crs.is_derived)

    @property
    def unit(self) -> float:
        """One unit of the coordinates in metres; in radians where they are angles."""
        axes = self.crs.axis_info
        return float(axes[0].unit_conversion_factor) if axes else 1.0

    @cached_property
    def _to_geodetic(self) -> tuple[pyproj.Transformer, float] | None:
        """What makes longitudes and latitudes of coordinates, and their unit in radians; None for a local system."""
        import pyproj

        geodetic = self.crs.geodetic_crs
        if geodetic is None:
            return None
        unit = float(geodetic.axis_info[0].unit_conversion_factor)
        return pyproj.Transformer.from_crs(self.crs, geodetic, always_xy=True), unit

    def lonlat(self, columns: ArrayLike, rows: ArrayLike) -> tuple[Floats, Floats] | None:
        """Longitudes and latitudes in radians, of points in pixels; infinite where there are none.

        Args:
            columns: of any shape.
            rows: of the same shape.

        Returns:
            Of the same shape, latitudes from -π/2 to π/2; None for a local coordinate system.
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

    def metres(self, column: float, row: float, down: bool = False) -> float | None:
        """How many metres on the ground are between two neighbours of a row, around a point in pixels.

        Args:
            column: of the point.
            row: likewise.
            down: whether neighbours of a column are meant.

        Returns:
            None where there is no such place, or coordinates have no unit of length.
        """
        x, y = (0.0, 0.5) if down else (0.5, 0.0)
        found = self.lonlat([column - x, column + x], [row - y, row + y])
        if found is None:
            a, b, _, d, e, _ = self.transform[:6]
            linear = self.crs.axis_info and math.hypot(*((b, e) if down else (a, d))) * self.unit
            return linear or None
        if not np.isfinite(found).all():
            return None
        geod = self.crs.get_geod()
        assert geod is not None  # there are longitudes
        (west, east), (first, second) = found
        distance = float(geod.inv(west, first, east, second, radians=True)[2])
        return distance or None

    def north(self, column: float, row: float) -> float | None:
        """Where true north is on the raster at a point in pixels: radians, clockwise from the top.

        Returns:
            None where nobody knows.
        """
        found = self.lonlat([column, column + 1, column], [row, row, row + 1])
        if found is None or not np.isfinite(found).all():
            return None
        (lon, right, below), (lat, lat_right, lat_below) = found
        along, down = wrapped(right - lon), wrapped(below - lon)
        turned = along * (lat_below - lat) - down * (lat_right - lat)
        # The step (-down, along) keeps the longitude; latitude grows along it, or against it in a mirrored raster.
        step = np.array([-down, along]) * np.sign(turned)
        return math.atan2(step[0], -step[1]) if step.any() else None


def bounds(transform: Affine, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """West, south, east and north of a raster, in its own coordinates.

    Args:
        transform: from (column, row) to coordinates.
        size: (H, W).
    """
    a, b, c, d, e, f = transform[:6]
    corners = [(column, row) for column in (0, size[1]) for row in (0, size[0])]
    x, y = zip(*((a * column + b * row + c, d * column + e * row + f) for column, row in corners), strict=True)
    return min(x), min(y), max(x), max(y)


def wrapped(longitudes: ArrayLike) -> Floats:
    """Differences of longitudes in radians, the short way round."""
    return (np.asarray(longitudes) + math.pi) % (2 * math.pi) - math.pi
