"""The pieces of a map: pixels of one value that touch along their sides, what they sum up to, and where they meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.vectors.groups import connected_components

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]
    Values = NDArray[np.integer]


def number_pieces(values: Values) -> tuple[Numbers, int]:
    """Numbers the pieces of an array of values.

    Args:
        values: (h, w).

    Returns:
        (h, w) the number of each pixel's piece, from 0 in the order of their first pixels, row by row; and how many
        there are.
    """
    begins = np.ones(values.shape, bool)  # of a run: neighbours of one value in a row
    begins[:, 1:] = values[:, 1:] != values[:, :-1]
    runs = (np.cumsum(begins, dtype=np.int32) - 1).reshape(values.shape)
    touching = (values[1:] == values[:-1]) & (begins[1:] | begins[:-1])
    numbers, count = connected_components(int(runs[-1, -1]) + 1, runs[:-1][touching], runs[1:][touching])
    return numbers[runs], count


@dataclass(frozen=True)
class Pieces:
    """A table of pieces.

    Attributes:
        values: (n,) of each in the map.
        sums: (n, k) int64, over its pixels; the first column counts them.
        first: (n,) int64, where in the whole map its first pixel is, row by row.
    """

    values: NDArray[np.int32]
    sums: NDArray[np.int64]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def pixels(self) -> NDArray[np.int64]:
        """(n,) how many each has."""
        return self.sums[:, 0]

    def merged(self, groups: Numbers, count: int) -> Pieces:
        """A table of groups of pieces.

        Args:
            groups: (n,) the number of each piece's group; pieces of a group have the same value.
            count: of groups.
        """
        values = np.zeros(count, np.int32)
        values[groups] = self.values
        sums = np.zeros((count, self.sums.shape[1]), np.int64)
        for column in range(sums.shape[1]):
            np.add.at(sums[:, column], groups, self.sums[:, column])
        first = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(first, groups, self.first)
        return Pieces(values, sums, first)

    @classmethod
    def joined(cls, parts: list[Pieces]) -> Pieces:
        """Concatenates tables."""
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.sums for part in parts]),
            np.concatenate([part.first for part in parts]),
        )


class Borders(NamedTuple):
    """Where pieces meet.

    Attributes:
        one: (m,) a piece.
        other: (m,) its neighbour.
        length: (m,) int64, sides of pixels; a pair may occur several times.
    """

    one: Numbers
    other: Numbers
    length: NDArray[np.int64]

    @classmethod
    def between(cls, one: Numbers, other: Numbers) -> Borders:
        """The borders of pixels that lie side by side.

        Args:
            one: (n,) the pieces of some pixels.
            other: (n,) those of a neighbour of each.
        """
        apart = one != other
        low, high = np.minimum(one[apart], other[apart]), np.maximum(one[apart], other[apart])
        pairs, length = np.unique(low.astype(np.int64) << 32 | high, return_counts=True)
        return cls((pairs >> 32).astype(np.int32), (pairs & 0xFFFFFFFF).astype(np.int32), length.astype(np.int64))

    @classmethod
    def inside(cls, numbers: Numbers) -> Borders:
        """The borders within an array (h, w) of pieces."""
        one = np.concatenate([numbers[:, 1:].ravel(), numbers[1:].ravel()])
        return cls.between(one, np.concatenate([numbers[:, :-1].ravel(), numbers[:-1].ravel()]))

    def merged(self, groups: Numbers) -> Borders:
        """The borders of groups of pieces."""
        one, other = groups[self.one], groups[self.other]
        apart = one != other
        return Borders(one[apart], other[apart], self.length[apart])

    def touching(self, mask: NDArray[np.bool_]) -> Borders:
        """The borders with a piece where a mask (n,) is set."""
        chosen = mask[self.one] | mask[self.other]
        return Borders(self.one[chosen], self.other[chosen], self.length[chosen])

    @classmethod
    def joined(cls, parts: list[Borders]) -> Borders:
        """Concatenates lists of borders."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
