"""Collects polygons by class, some classes at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.vectors.rings import Polygons

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]
    Offsets = NDArray[np.int64]


def dissolve(polygons: Iterable[Polygons], group: Numbers, points: int) -> Iterator[Polygons]:
    """Sorts polygons by class.

    The corners of all are held meanwhile, in 8 bytes each; a class is complete when the last tile has been seen.

    Args:
        polygons: in any order.
        group: (n,) the class of each piece, from 0.
        points: about how many to yield at once; a class is never divided.

    Yields:
        All polygons of some classes, sorted by class and then by piece.
    """
    parts = [_Part.sort(part, group) for part in polygons]
    if not parts:
        return
    total = np.cumsum(sum(part.points_of(int(group.max()) + 1) for part in parts))
    begin = 0
    while begin < len(total):
        before = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, before + points, side="right")))
        batch = Polygons.joined([part.between(begin, end) for part in parts])
        if len(batch.piece):
            batch = batch.in_groups(batch.piece)
            yield batch.in_groups(group[batch.piece])
        begin = end


class _Part(NamedTuple):
    """Polygons that are sorted by class.

    Attributes:
        polygons: n with r rings.
        group: (n,) the class of each.
        ring: (n + 1,) where the rings of each begin.
        point: (r + 1,) where the points of each ring begin.
    """

    polygons: Polygons
    group: Numbers
    ring: Offsets
    point: Offsets

    @classmethod
    def sort(cls, polygons: Polygons, group: Numbers) -> _Part:
        polygons = polygons.in_groups(group[polygons.piece])
        ring, point = (np.r_[0, np.cumsum(counts)] for counts in (polygons.rings, polygons.length))
        return cls(polygons, group[polygons.piece], ring, point)

    def points_of(self, count: int) -> NDArray[np.int64]:
        """(count,) how many points each class has."""
        return np.bincount(self.group, np.diff(self.point[self.ring]), count).astype(np.int64)

    def between(self, begin: int, end: int) -> Polygons:
        """The polygons of the classes from `begin` to `end` - 1."""
        first, last = np.searchsorted(self.group, [begin, end])
        rings = slice(self.ring[first], self.ring[last])
        points = slice(self.point[rings.start], self.point[rings.stop])
        piece, counts, length, corners = self.polygons
        return Polygons(piece[first:last], counts[first:last], length[rings], corners[points])
