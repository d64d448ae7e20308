"""Simplifies borders so that neighbours still share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segearth.vectors.chains import OUTSIDE, trace
from segearth.vectors.pieces import number_pieces
from segearth.vectors.rings import close_rings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.vectors.pieces import Numbers

_PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def kept_corners(numbers: Numbers, tolerance: float) -> NDArray[np.bool_]:
    """The corners of pixels that simplified borders go through.

    GEOS simplifies all pieces of the tile together, so that no border crosses another one. It leaves out corners and
    moves none, and those on the tile's frame all stay: the borders of tiles fit together.

    Args:
        numbers: (h, w) the pieces of a tile, `OUTSIDE` where there is none; its borders are simplified, too.
        tolerance: the root of the area of triangles that are left out, about, in pixels.

    Returns:
        (h + 1, w + 1).
    """
    import shapely

    local, _ = number_pieces(numbers)
    framed = np.pad(local, 1, constant_values=OUTSIDE)
    polygons = close_rings(trace(framed, (0, 0), local.shape[1])).geometries(_PIXELS)
    simple = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    stay = np.zeros((local.shape[0] + 1, local.shape[1] + 1), bool)
    column, row = shapely.get_coordinates(simple).astype(np.intp).T
    stay[row, column] = True
    return stay
