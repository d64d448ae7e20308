"""Where a raster lies, and how large its pixels are on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segearth.scenes.georeference import Ground, bounds
from segearth.scenes.pixel_areas import pixel_areas

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS

_SQUARE = 0.01  # relative difference of two sides up to which the plane's own ratio is taken


@dataclass(frozen=True)
class PixelSize:
    """Of a pixel in the middle of a raster.

    Attributes:
        height_m: metres on the ground, down a column; None where nobody knows.
        width_m: along a row; likewise.
        how: how that was found, or why not.
    """

    height_m: float | None
    width_m: float | None
    how: str

    @property
    def side_m(self) -> float | None:
        """The side of a square of the same area."""
        return None if self.height_m is None or self.width_m is None else math.sqrt(self.height_m * self.width_m)


def pixel_size(transform: Affine, crs: CRS | None, size: tuple[int, int]) -> PixelSize:
    """How large a pixel is in the middle of a raster.

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
        return PixelSize(None, None, areas.how)
    ratio = math.hypot(transform.b, transform.e) / math.hypot(transform.a, transform.d)
    ground, middle = Ground.of(transform, crs), (size[1] / 2, size[0] / 2)
    if ground is not None and (wide := ground.metres(*middle)) and (tall := ground.metres(*middle, down=True)):
        ratio = ratio if abs(tall / wide / ratio - 1) < _SQUARE else tall / wide
    return PixelSize(math.sqrt(area * ratio), math.sqrt(area / ratio), areas.how)


def place(transform: Affine, crs: CRS | None, size: tuple[int, int]) -> dict[str, Any]:
    """Where a map lies, for its summary: crs, transform, bounds, and pixel_m, the side of a pixel in metres."""
    return {
        "crs": None if crs is None or Ground.of(transform, crs) is None else crs.to_string(),
        "transform": list(transform[:6]),
        "bounds": list(bounds(transform, size)),
        "pixel_m": pixel_size(transform, crs, size).side_m,
    }
