"""Polygons from chains: rings are closed, and sorted into shells and holes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from segearth.vectors.chains import Chains
from segearth.vectors.groups import order_linked_lists

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]


class Polygons(NamedTuple):
    """Polygons, each with its shell first and its holes behind it, in pixels.

    Attributes:
        piece: (n,) of each.
        rings: (n,) how many it has.
        length: (r,) points of each ring, the first of which is not repeated.
        points: (p, 2) int32, (column, row).
    """

    piece: Numbers
    rings: NDArray[np.int64]
    length: NDArray[np.int64]
    points: NDArray[np.int32]

    @classmethod
    def joined(cls, parts: list[Polygons]) -> Polygons:
        """Concatenates lists of polygons."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def in_groups(self, group: Numbers) -> Polygons:
        """The same polygons, sorted by the group of each, (n,); those of a group stay in their order."""
        order = np.argsort(group, kind="stable")
        rings = _ranges(np.cumsum(self.rings) - self.rings, self.rings, order)
        points = _ranges(np.cumsum(self.length) - self.length, self.length, rings)
        return Polygons(self.piece[order], self.rings[order], self.length[rings], self.points[points])

    def geometries(self, transform: Any, parts: NDArray[np.int64] | None = None) -> NDArray[np.object_]:
        """Converts to polygons or multipolygons of shapely, (n,).

        Args:
            transform: from (column, row) to coordinates.
            parts: how many each multipolygon has; None: polygons.
        """
        import shapely

        closed = _closed(self.length)
        column, row = self.points[closed, 0].astype(np.float64), self.points[closed, 1].astype(np.float64)
        a, b, c, d, e, f = transform[:6]
        coordinates = np.column_stack([a * column + b * row + c, d * column + e * row + f])
        offsets = [np.r_[0, np.cumsum(self.length + 1)], np.r_[0, np.cumsum(self.rings)]]
        kind = shapely.GeometryType.POLYGON
        if parts is not None:
            offsets.append(np.r_[0, np.cumsum(parts)])
            kind = shapely.GeometryType.MULTIPOLYGON
        return shapely.from_ragged_array(kind, coordinates, tuple(offsets))


def close_rings(chains: Chains) -> Polygons:
    """Makes the polygons of pieces from all of their chains, sorted by piece.

    Every ring begins with its uppermost and then leftmost point, and holes are in the order of theirs: polygons do not
    depend on how the map was cut.
    """
    place = np.argsort(chains.begin)
    order, first = order_linked_lists(place[np.searchsorted(chains.begin, chains.end, sorter=place)])
    begins = np.cumsum(chains.length) - chains.length
    points = chains.points[_ranges(begins, chains.length, order)]
    starts = np.flatnonzero(np.r_[True, first[1:] != first[:-1]])
    length = np.add.reduceat(chains.length[order], starts)
    piece = chains.piece[order[starts]]
    points, corner = _from_the_first(points, length)
    is_hole = _doubled_areas(points, length) < 0
    rings = np.lexsort((corner, is_hole, piece))
    points = points[_ranges(np.cumsum(length) - length, length, rings)]
    piece, each = np.unique(piece, return_counts=True)
    return Polygons(piece, each, length[rings], points)


def _ranges(begins: NDArray[np.integer], lengths: NDArray[np.integer], order: NDArray[np.integer]) -> NDArray[np.int64]:
    """The indices of some ranges, one after the other."""
    length = lengths[order]
    shift = begins[order] - (np.cumsum(length) - length)
    return np.arange(int(length.sum()), dtype=np.int64) + np.repeat(shift, length)


def _from_the_first(
    points: NDArray[np.int32], length: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Turns rings so that each begins with its uppermost, then leftmost point; and a number for the place of that."""
    begins = np.cumsum(length) - length
    place = points[:, 1].astype(np.int64) << 32 | points[:, 0]
    corner = np.minimum.reduceat(place, begins)
    first = np.flatnonzero(place == np.repeat(corner, length)) - begins  # no ring has a point twice
    within = np.arange(len(points)) - np.repeat(begins, length)
    turned = (within + np.repeat(first, length)) % np.repeat(length, length)
    return points[turned + np.repeat(begins, length)], corner


def _closed(length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of rings' points with each first one again at the end."""
    begins = np.cumsum(length) - length
    index = np.arange(int(length.sum()) + len(length), dtype=np.int64) - np.repeat(np.arange(len(length)), length + 1)
    index[np.cumsum(length + 1) - 1] = begins
    return index


def _doubled_areas(points: NDArray[np.int32], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Twice the area of each ring in pixels: above 0 where its piece is inside, so that it is a shell."""
    closed = points[_closed(length)].astype(np.int64)
    cross = closed[:-1, 0] * closed[1:, 1] - closed[1:, 0] * closed[:-1, 1]
    ends = np.cumsum(length + 1)
    cross[ends[:-1] - 1] = 0  # between two rings
    return np.add.reduceat(cross, ends - (length + 1))
