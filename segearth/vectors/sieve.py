"""Sieves a map: small pieces become parts of their neighbours, so that no holes appear.

The smallest piece goes first, to the class that it has the longest common border with; of two equally long ones to the
class of the lower value. There it joins all neighbours of that class, and what they have become may still be small.
Of equally small pieces that of the lower value goes first, then that whose first pixel comes first. Pieces without a
neighbour, such as islands in nodata, stay.

All pieces that are smaller than their small neighbours go at once. That is the same as one after the other: where a
piece goes depends on its neighbours' classes alone, and none of those changes before it has gone, because pieces only
grow. For the same reason a tile can be sieved before the others, as long as what touches its rim waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from segearth.vectors.groups import connected_components
from segearth.vectors.pieces import Borders, Pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]
    IsSmall = Callable[[Pieces], NDArray[np.bool_]]


def sieve(
    pieces: Pieces, borders: Borders, is_small: IsSmall, waits: NDArray[np.bool_] | None = None
) -> tuple[Numbers, Pieces, Borders]:
    """Merges small pieces into their neighbours.

    Args:
        pieces: all of them.
        borders: between them, without those to nodata.
        is_small: which pieces of a table are to go.
        waits: (n,) pieces that may have more neighbours, or pixels, than is known; they stay where they are.

    Returns:
        (n,) for each piece the number of that which it has become a part of; the new pieces; and the borders of those
        that are still small.
    """
    final = np.arange(len(pieces), dtype=np.int32)
    if waits is None:
        waits = np.zeros(len(pieces), bool)
    while True:
        small = is_small(pieces)
        borders = borders.touching(small)
        going, chosen = _going(pieces, borders, small, waits)
        if not going.any():
            return final, pieces, borders
        values = np.where(going, chosen, pieces.values)
        joins = (values[borders.one] == values[borders.other]) & (going[borders.one] | going[borders.other])
        groups, count = connected_components(len(pieces), borders.one[joins], borders.other[joins])
        pieces = Pieces(values, pieces.sums, pieces.first).merged(groups, count)
        still = np.zeros(count, bool)
        still[groups[waits]] = True
        waits, borders, final = still, borders.merged(groups), groups[final]


def _going(
    pieces: Pieces, borders: Borders, small: NDArray[np.bool_], waits: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], Numbers]:
    """The pieces that are merged now, as a mask, and the new value of each."""
    rank = np.empty(len(pieces), np.int32)
    rank[np.lexsort((pieces.first, pieces.values, pieces.pixels))] = np.arange(len(pieces), dtype=np.int32)
    one, other = np.concatenate([borders.one, borders.other]), np.concatenate([borders.other, borders.one])
    going = np.zeros(len(pieces), bool)
    going[one] = True
    going &= small & ~waits
    going[one[small[other] & (rank[other] < rank[one])]] = False
    chosen = pieces.values.copy()
    here = going[one]
    one, other, length = one[here], other[here], np.concatenate([borders.length, borders.length])[here]
    if not len(one):
        return going, chosen
    value = pieces.values[other]
    order = np.lexsort((value, one))
    one, value, length = one[order], value[order], length[order]
    starts = np.flatnonzero(np.r_[True, (one[1:] != one[:-1]) | (value[1:] != value[:-1])])
    one, value, length = one[starts], value[starts], np.add.reduceat(length, starts)
    order = np.lexsort((value, -length, one))
    best = order[np.flatnonzero(np.r_[True, one[order][1:] != one[order][:-1]])]
    chosen[one[best]] = value[best]
    return going, chosen
