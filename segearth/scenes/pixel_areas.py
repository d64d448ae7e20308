"""Areas of pixels in m², in any coordinate system.

The area of a class is the sum of the areas of its pixels, not of its polygons, whose edges are different lines in each
coordinate system. So raster, vectors and tables agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segearth.scenes.georeference import Georeference, wrap_longitudes

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS

    Floats = NDArray[np.float64]

# Planar areas are used if they differ from those on the ellipsoid by at most this share. In UTM and in national grids,
# where users expect planar areas, the difference is below 0.4 %.
PLANAR = 0.01
_SAMPLES = 9  # pixels per row that are measured where the projection is not equal-area


@dataclass(frozen=True)
class PixelAreas:
    """Areas of the pixels of a raster.

    Attributes:
        values: m²; one value for all pixels, or one per row (H,); None without a coordinate system.
        method: how they were computed, in words.
    """

    values: float | Floats | None
    method: str

    def rows(self, top: int, bottom: int) -> Floats | None:
        """Returns the pixel area of each row from `top` to `bottom` (excluded), (bottom - top,) in m²."""
        if isinstance(self.values, np.ndarray):
            return self.values[top:bottom]
        return None if self.values is None else np.full(bottom - top, self.values)


def pixel_areas(transform: Affine, crs: CRS | None, size: tuple[int, int]) -> PixelAreas:
    """Computes the areas of the pixels of a raster.

    Args:
        transform: from (column, row) to coordinates.
        crs: the coordinate system, or None.
        size: (H, W).
    """
    ground = Georeference.from_rasterio(transform, crs)
    if ground is None:
        return PixelAreas(None, "no coordinate system: areas are in pixels only")
    if ground.is_geographic and transform.b == transform.d == 0:
        edges = ground.lonlat(np.zeros(size[0] + 1), np.arange(size[0] + 1))
        assert edges is not None  # geographic coordinates are longitudes and latitudes
        width = abs(transform.a) * ground.unit
        return PixelAreas(
            np.abs(_zone_areas(ground, edges[1][:-1], edges[1][1:])) * width,
            f"on the ellipsoid of {ground.name}, by row",
        )
    planar = abs(transform.determinant) * ground.unit**2
    sample = _measure(ground, np.unique(np.linspace(0, size[0] - 1, _SAMPLES).astype(int)), size[1])
    is_measured = sample is not None and bool(np.isfinite(sample).any())
    if not ground.is_geographic:
        if sample is None or not is_measured:
            return PixelAreas(planar, f"in the plane of {ground.name}")
        error = float(np.nanmax(np.abs(planar / sample - 1)))
        if error <= PLANAR:
            return PixelAreas(planar, f"in the plane of {ground.name}, at most {100 * error:.2g} % off the ellipsoid's")
    measured = _measure(ground, np.arange(size[0]), size[1])
    assert measured is not None  # because the sample is not None
    mean = np.nan_to_num(np.nanmean(np.where(np.isfinite(measured).any(axis=1, keepdims=True), measured, 0), axis=1))
    spread = float(np.nanmax(np.abs(measured / np.where(mean > 0, mean, np.nan)[:, None] - 1), initial=0))
    method = f"on the ellipsoid of {ground.name}, which does not keep areas, by row"
    if spread > 0.001:
        method += f"; pixels of a row differ by up to {100 * spread:.2g} % from its mean, which is used"
    return PixelAreas(mean, method)


def _measure(ground: Georeference, rows: NDArray[np.integer], width: int) -> Floats | None:
    """Measures areas of k pixels per row from their corners, (len(rows), k) m²; NaN where coordinates are undefined.

    Sides are straight lines in the equal-area cylindrical projection, so that areas between parallels and meridians are
    exact. Other pixels very near a pole are not measured, because there their sides are far from straight.

    Returns:
        The areas; None for a local coordinate system.
    """
    columns = np.unique(((np.arange(_SAMPLES) + 0.5) * width / _SAMPLES).astype(int))
    corners = []
    for down, right in ((0, 0), (0, 1), (1, 1), (1, 0)):
        corner = ground.lonlat(*np.meshgrid(columns + right, rows + down))
        if corner is None:
            return None
        corners.append(corner)
    with np.errstate(invalid="ignore"):
        (lon0, lat0), (lon1, lat1), (lon2, lat2), (lon3, lat3) = corners
        areas = 0.5 * np.abs(
            wrap_longitudes(lon2 - lon0) * _zone_areas(ground, lat1, lat3)
            - wrap_longitudes(lon3 - lon1) * _zone_areas(ground, lat0, lat2)
        )
        latitudes = np.abs([lat0, lat1, lat2, lat3])
        near_pole = np.pi / 2 - latitudes.max(axis=0) < 10 * np.ptp(latitudes, axis=0)
        slanting = np.abs(wrap_longitudes(lon3 - lon0)) + np.abs(wrap_longitudes(lon2 - lon1)) > 1e-9
        areas[near_pole & slanting] = np.nan
    return np.where(np.isfinite(areas), areas, np.nan)


def _zone_areas(ground: Georeference, start: Floats, end: Floats) -> Floats:
    """Computes areas between two parallels in m² per radian of longitude; negative if the end is south of the start.

    The area from the equator to a latitude with sine s is b²/2 · (s / (1 - e²s²) + atanh(es) / e). The difference of
    two of them is written here without subtracting large numbers, to stay exact for small pixels.
    """
    ellipsoid = ground.crs.ellipsoid
    assert ellipsoid is not None  # there are latitudes
    flattening = 1 / ellipsoid.inverse_flattening if ellipsoid.inverse_flattening else 0.0
    squared = flattening * (2 - flattening)  # e²
    s, t = np.sin(start), np.sin(end)
    step = 2 * np.cos((start + end) / 2) * np.sin((end - start) / 2)  # t - s
    first = step * (1 + squared * s * t) / ((1 - squared * s**2) * (1 - squared * t**2))
    inner = step / (1 - squared * s * t)
    e = np.sqrt(squared)
    second = np.arctanh(e * inner) / e if e else inner
    return 0.5 * ellipsoid.semi_major_metre**2 * (1 - squared) * (first + second)
