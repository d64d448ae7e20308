"""Pixel size of a raster in metres, and its spatial metadata."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segearth.scenes.georeference import Georeference, bounds
from segearth.scenes.pixel_areas import pixel_areas

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS

_RATIO_TOLERANCE = 0.01  # up to this relative difference, the aspect ratio in the plane is used


@dataclass(frozen=True)
class PixelSize:
    """Size of a pixel in the middle of a raster.

    Attributes:
        height_m: metres on the ground, along a column; None if unknown.
        width_m: metres on the ground, along a row; None if unknown.
        method: how the size was computed, or why it is unknown.
    """

    height_m: float | None
    width_m: float | None
    method: str

    @property
    def side_m(self) -> float | None:
        """Side of a square with the same area."""
        return None if self.height_m is None or self.width_m is None else math.sqrt(self.height_m * self.width_m)


def pixel_size(transform: Affine, crs: CRS | None, size: tuple[int, int]) -> PixelSize:
    """Computes the size of a pixel in the middle of a raster.

    Args:
        transform: from (column, row) to coordinates.
        crs: the coordinate system, or None.
        size: (H, W).
    """
    areas = pixel_areas(transform, crs, size)
    if areas.values is None:
        return PixelSize(None, None, "it has no coordinate system")
    area = areas.values if isinstance(areas.values, float) else float(areas.values[size[0] // 2])
    if not (math.isfinite(area) and area > 0):
        return PixelSize(None, None, areas.method)
    ratio = math.hypot(transform.b, transform.e) / math.hypot(transform.a, transform.d)
    ground, middle = Georeference.from_rasterio(transform, crs), (size[1] / 2, size[0] / 2)
    if ground is not None and (wide := ground.distance_m(*middle)) and (tall := ground.distance_m(*middle, down=True)):
        ratio = ratio if abs(tall / wide / ratio - 1) < _RATIO_TOLERANCE else tall / wide
    return PixelSize(math.sqrt(area * ratio), math.sqrt(area / ratio), areas.method)


def spatial_metadata(transform: Affine, crs: CRS | None, size: tuple[int, int]) -> dict[str, Any]:
    """Returns crs, transform, bounds and pixel_m (side of a pixel in metres) of a map, for its summary."""
    return {
        "crs": None if crs is None or Georeference.from_rasterio(transform, crs) is None else crs.to_string(),
        "transform": list(transform[:6]),
        "bounds": list(bounds(transform, size)),
        "pixel_m": pixel_size(transform, crs, size).side_m,
    }
