"""Areas of pixels in m², in any coordinate system.

A class's area is the sum of its pixels' areas, never that of its polygons, whose edges are other lines in each
coordinate system: so raster, vectors and tables agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segearth.scenes.georeference import Ground, wrapped

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS

    Floats = NDArray[np.float64]

# Up to this difference from the true areas those of the plane are taken: in UTM and in national grids, where people
# expect them, it is below 0.4 %.
PLANAR = 0.01
_COLUMNS = 9  # pixels of a row that are measured where coordinates do not keep areas


@dataclass(frozen=True)
class PixelAreas:
    """How large the pixels of a raster are.

    Attributes:
        values: m²; one for all, or one a row (H,); None where the raster has no coordinate system.
        how: how they were found, for people.
    """

    values: float | Floats | None
    how: str

    def rows(self, top: int, bottom: int) -> Floats | None:
        """The areas of a pixel in each row from `top` to `bottom` (not included), (bottom - top,) in m²."""
        if isinstance(self.values, np.ndarray):
            return self.values[top:bottom]
        return None if self.values is None else np.full(bottom - top, self.values)


def pixel_areas(transform: Affine, crs: CRS | None, size: tuple[int, int]) -> PixelAreas:
    """The areas of a raster's pixels.

    Args:
        transform: from (column, row) to coordinates.
        crs: the coordinate system, or None.
        size: (H, W).
    """
    ground = Ground.of(transform, crs)
    if ground is None:
        return PixelAreas(None, "no coordinate system: areas are known in pixels only")
    if ground.is_geographic and transform.b == transform.d == 0:
        edges = ground.lonlat(np.zeros(size[0] + 1), np.arange(size[0] + 1))
        assert edges is not None  # geographic coordinates are longitudes and latitudes
        width = abs(transform.a) * ground.unit
        return PixelAreas(
            np.abs(_strips(ground, edges[1][:-1], edges[1][1:])) * width, f"on the ellipsoid of {ground.name}, by row"
        )
    planar = abs(transform.determinant) * ground.unit**2
    sample = _measured(ground, np.unique(np.linspace(0, size[0] - 1, _COLUMNS).astype(int)), size[1])
    known = sample is not None and bool(np.isfinite(sample).any())
    if not ground.is_geographic:
        if sample is None or not known:
            return PixelAreas(planar, f"in the plane of {ground.name}")
        off = float(np.nanmax(np.abs(planar / sample - 1)))
        if off <= PLANAR:
            return PixelAreas(planar, f"in the plane of {ground.name}, at most {100 * off:.2g} % off the ellipsoid's")
    measured = _measured(ground, np.arange(size[0]), size[1])
    assert measured is not None  # as the sample
    mean = np.nan_to_num(np.nanmean(np.where(np.isfinite(measured).any(axis=1, keepdims=True), measured, 0), axis=1))
    spread = float(np.nanmax(np.abs(measured / np.where(mean > 0, mean, np.nan)[:, None] - 1), initial=0))
    how = f"on the ellipsoid of {ground.name}, which does not keep areas, by row"
    if spread > 0.001:
        how += f"; pixels of a row differ by up to {100 * spread:.2g} % from its mean, which is taken"
    return PixelAreas(mean, how)


def _measured(ground: Ground, rows: NDArray[np.integer], width: int) -> Floats | None:
    """Areas of some pixels from their corners, (len(rows), k) m²; NaN beyond what coordinates reach.

    Sides are straight between the corners in the equal-area cylindrical projection, so that pixels between parallels
    and meridians are exact. Others very near a pole are not measured: there, these lines are far from straight.

    Returns:
        None for a local coordinate system.
    """
    columns = np.unique(((np.arange(_COLUMNS) + 0.5) * width / _COLUMNS).astype(int))
    corners = []
    for down, right in ((0, 0), (0, 1), (1, 1), (1, 0)):
        found = ground.lonlat(*np.meshgrid(columns + right, rows + down))
        if found is None:
            return None
        corners.append(found)
    with np.errstate(invalid="ignore"):
        (lon0, lat0), (lon1, lat1), (lon2, lat2), (lon3, lat3) = corners
        areas = 0.5 * np.abs(
            wrapped(lon2 - lon0) * _strips(ground, lat1, lat3) - wrapped(lon3 - lon1) * _strips(ground, lat0, lat2)
        )
        latitudes = np.abs([lat0, lat1, lat2, lat3])
        near_pole = np.pi / 2 - latitudes.max(axis=0) < 10 * np.ptp(latitudes, axis=0)
        slanting = np.abs(wrapped(lon3 - lon0)) + np.abs(wrapped(lon2 - lon1)) > 1e-9
        areas[near_pole & slanting] = np.nan
    return np.where(np.isfinite(areas), areas, np.nan)


def _strips(ground: Ground, start: Floats, end: Floats) -> Floats:
    """Areas between two parallels in m² for one radian of longitude, negative where the end is more to the south.

    The difference of Archimedes' closed form for the ellipsoid, b²/2 · (s / (1 - e²s²) + atanh(es) / e) with the sine s
    of the latitude, written without the difference of large numbers, which small pixels would make wrong.
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
