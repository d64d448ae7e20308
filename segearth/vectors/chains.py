"""Traces the borders of pieces in a tile: chains of pixel corners, of which rings are made.

Every side of a pixel whose other side is another piece is a step of one pixel's length, with the piece on the right
hand: east along the pixel's upper side, then south, west and north. A chain ends where its next step belongs to a pixel
of another tile. Chains keep the corners where they turn, and those where three or four pieces meet: neighbours have the
same corners, so that they share their borders exactly.

Where a piece touches itself at a corner, the border turns so that no ring visits a corner twice, and polygons are
valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.vectors.groups import order_linked_lists

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]
    Points = NDArray[np.int32]
    Keys = NDArray[np.int64]

OUTSIDE = -1  # the number of what is no piece

# For steps east, south, west and north: the neighbour on the left hand, the pixel ahead, and from the pixel to the
# corners where its step begins and ends; (rows, columns).
_LEFT = ((-1, 0), (0, 1), (1, 0), (0, -1))
_AHEAD = ((0, 1), (1, 0), (0, -1), (-1, 0))
_BEGIN = ((0, 0), (0, 1), (1, 1), (1, 0))
_END = ((0, 1), (1, 1), (1, 0), (0, 0))


class Chains(NamedTuple):
    """Parts of rings.

    Attributes:
        piece: (n,) whose border each is.
        begin: (n,) the key of its first step.
        end: (n,) the key of the step that follows; of a whole ring that of its first one.
        points: (p, 2) the corners of all, one chain after the other, as (column, row) of the whole map.
        length: (n,) how many of them are of each; 0 where it is a part of a straight line.
    """

    piece: Numbers
    begin: Keys
    end: Keys
    points: Points
    length: NDArray[np.int64]

    def select(self, mask: NDArray[np.bool_]) -> Chains:
        """The chains where a mask (n,) is set."""
        points = self.points[np.repeat(mask, self.length)]
        return Chains(self.piece[mask], self.begin[mask], self.end[mask], points, self.length[mask])

    @classmethod
    def joined(cls, parts: list[Chains]) -> Chains:
        """Concatenates lists of chains."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def trace(
    numbers: Numbers, origin: tuple[int, int], width: int, kept: NDArray[np.bool_] | None = None, seam: int = 0
) -> Chains:
    """Traces the chains of a tile.

    Args:
        numbers: (h + 2, w + 2) the pieces of a tile and of one more pixel on each side, `OUTSIDE` where there is none.
        origin: row and column of the tile's first pixel in the map.
        width: of the map.
        kept: (h + 1, w + 1) the corners that stay; None: all. On the seams between tiles all stay, also those where a
            straight border goes across.
        seam: side of tiles, for `kept`.
    """
    tall, wide = numbers.shape[0] - 2, numbers.shape[1] - 2
    inner = numbers[1:-1, 1:-1]
    index = np.full((4, tall, wide), -1, np.int32)
    rows, columns, offset = [], [], [0]
    for way in range(4):
        borders = np.nonzero((inner != OUTSIDE) & (inner != _shifted(numbers, _LEFT[way])))
        index[way, borders[0], borders[1]] = np.arange(offset[-1], offset[-1] + len(borders[0]), dtype=np.int32)
        rows.append(borders[0].astype(np.int32))
        columns.append(borders[1].astype(np.int32))
        offset.append(offset[-1] + len(borders[0]))
    count = offset[-1]
    following = np.empty(count, np.int32)
    begins, ends = np.empty((2, count), np.int64)
    corners, stays = np.empty((count, 2), np.int32), np.empty(count, bool)
    for way in range(4):
        part = slice(offset[way], offset[way + 1])
        row, column = rows[way], columns[way]
        piece = inner[row, column]
        left, ahead = _LEFT[way], _AHEAD[way]
        there = row + ahead[0], column + ahead[1]
        across = there[0] + left[0], there[1] + left[1]
        beside = numbers[row + left[0] + 1, column + left[1] + 1]
        beyond = numbers[across[0] + 1, across[1] + 1]
        turns_left = beyond == piece
        goes_on = ~turns_left & (numbers[there[0] + 1, there[1] + 1] == piece)
        next_way = np.where(turns_left, (way - 1) % 4, np.where(goes_on, way, (way + 1) % 4))
        next_row = np.where(turns_left, across[0], np.where(goes_on, there[0], row))
        next_column = np.where(turns_left, across[1], np.where(goes_on, there[1], column))
        inside = (next_row >= 0) & (next_row < tall) & (next_column >= 0) & (next_column < wide)
        following[part] = -1
        following[part][inside] = index[next_way[inside], next_row[inside], next_column[inside]]
        end_row, end_column = row + _END[way][0], column + _END[way][1]
        begins[part] = _key(origin[0] + row + _BEGIN[way][0], origin[1] + column + _BEGIN[way][1], way, width)
        ends[part] = _key(origin[0] + end_row, origin[1] + end_column, next_way, width)
        corners[part, 0], corners[part, 1] = origin[1] + end_column, origin[0] + end_row
        stays[part] = ~goes_on | (beside != beyond)
        if kept is not None:
            onto = corners[part, 0] if way % 2 == 0 else corners[part, 1]
            stays[part] |= onto % seam == 0
            on_seam = (corners[part] % seam == 0).any(axis=1)
            stays[part] &= on_seam | kept[end_row, end_column]
    order, first = order_linked_lists(following)
    starts = np.flatnonzero(np.r_[True, first[1:] != first[:-1]]) if count else np.empty(0, np.intp)
    last = np.r_[starts[1:], count][: len(starts)] - 1
    stays = stays[order]
    length = np.add.reduceat(stays.astype(np.int64), starts) if count else np.empty(0, np.int64)
    piece = np.concatenate([inner[row, column] for row, column in zip(rows, columns, strict=True)])
    return Chains(piece[order[starts]], begins[order[starts]], ends[order[last]], corners[order][stays], length)


def _shifted(numbers: Numbers, offset: tuple[int, int]) -> Numbers:
    """The neighbours of a tile's pixels at an offset (rows, columns)."""
    return numbers[1 + offset[0] : numbers.shape[0] - 1 + offset[0], 1 + offset[1] : numbers.shape[1] - 1 + offset[1]]


def _key(row: NDArray[np.integer], column: NDArray[np.integer], way: int | NDArray[np.integer], width: int) -> Keys:
    """A number for each step, from the corner where it begins and its direction."""
    return (row.astype(np.int64) * (width + 1) + column) * 4 + way
