"""Finds the pieces of a whole map tile by tile, and joins them across the seams; the same for every tile size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.vectors.chains import OUTSIDE
from segearth.vectors.groups import connected_components
from segearth.vectors.label_map import NODATA, LabelMap
from segearth.vectors.pieces import Borders, Pieces, number_pieces
from segearth.vectors.sieve import sieve
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.vectors.pieces import Numbers
    from segearth.vectors.sieve import IsSmall

    Place = tuple[int, int]


class _Tile(NamedTuple):
    """A tile: (h, w) the numbers of its pieces; these; and the borders of those that the sieve has still to move."""

    numbers: Numbers
    pieces: Pieces
    borders: Borders


class _Rim(NamedTuple):
    """The pieces along the sides of a tile, numbered over all tiles."""

    top: Numbers
    bottom: Numbers
    left: Numbers
    right: Numbers


class Partition:
    """The pieces of a map.

    Memory grows with the number of pieces and with the length of all seams, not with the map's pixels.

    Args:
        source: the map.
        side: of tiles, in pixels.
        is_small: which pieces the sieve is to move; None: none.
        check: called after every tile with the values of the pieces that are known to be complete; it may raise.

    Attributes:
        pieces: all that are not nodata, in the order of their first pixels.
        tiles: the place of each, (row, column), row by row.
    """

    def __init__(
        self,
        source: LabelMap,
        side: int,
        is_small: IsSmall | None = None,
        check: Callable[[NDArray[np.int32]], object] = lambda _: None,
    ) -> None:
        self._source, self._side, self._is_small = source, side, is_small
        self.shape = tuple(-(-length // side) for length in source.size)
        self.tiles = [(row, column) for row in range(self.shape[0]) for column in range(self.shape[1])]
        self._offsets: dict[Place, int] = {}
        self._rims: dict[Place, _Rim] = {}
        parts, borders, count = [], [], 0
        for place in self.tiles:
            tile = self._tile(place, scored=True)
            numbers = tile.numbers + np.int32(count)
            self._offsets[place] = count
            self._rims[place] = _Rim(*(_kept(side) for side in _sides(numbers)))
            parts.append(tile.pieces)
            borders.append(Borders(tile.borders.one + count, tile.borders.other + count, tile.borders.length))
            count += len(tile.pieces)
            check(tile.pieces.values[~self._may_change(tile, place)])
        self._final, self.pieces = self._joined(Pieces.joined(parts), Borders.joined(borders))

    def window(self, place: Place) -> Window:
        """The pixels of a tile."""
        top, left = place[0] * self._side, place[1] * self._side
        return Window(
            top, min(top + self._side, self._source.size[0]), left, min(left + self._side, self._source.size[1])
        )

    def numbers(self, place: Place) -> Numbers:
        """The pieces of a tile and of one pixel on each side, (h + 2, w + 2); `OUTSIDE` for nodata and beyond."""
        inner = self._tile(place, scored=False).numbers + np.int32(self._offsets[place])
        found = np.full((inner.shape[0] + 2, inner.shape[1] + 2), OUTSIDE, np.int32)
        found[1:-1, 1:-1] = self._final[inner]
        row, column = place
        middle = slice(1, -1)
        for down, right, here, side, pixel in (
            (-1, 0, (0, middle), "bottom", slice(None)),
            (1, 0, (-1, middle), "top", slice(None)),
            (0, -1, (middle, 0), "right", slice(None)),
            (0, 1, (middle, -1), "left", slice(None)),
            (-1, -1, (0, 0), "bottom", -1),
            (-1, 1, (0, -1), "bottom", 0),
            (1, -1, (-1, 0), "top", -1),
            (1, 1, (-1, -1), "top", 0),
        ):
            rim = self._rims.get((row + down, column + right))
            if rim is not None:
                found[here] = self._final[getattr(rim, side)[pixel]]
        return found

    def _tile(self, place: Place, *, scored: bool) -> _Tile:
        """A tile by itself, after the sieve has merged what does not depend on other tiles."""
        window = self.window(place)
        values = self._source.values(window)
        numbers, count = number_pieces(values)
        flat = numbers.ravel()
        own, first = np.empty(count, np.int32), np.empty(count, np.int64)
        own[flat] = values.ravel()
        first[flat[::-1]] = np.arange(flat.size)[::-1]  # of equal indices the last one counts
        row, column = np.divmod(first, values.shape[1])
        first = (row + window.top) * self._source.size[1] + column + window.left
        pieces = Pieces(own, self._source.sums(numbers, count, window, scored), first)
        if self._is_small is None:
            return _Tile(numbers, pieces, Borders.between(numbers[0, :0], numbers[0, :0]))
        tile = _Tile(numbers, pieces, _without_nodata(Borders.inside(numbers), own))
        groups, pieces, borders = sieve(pieces, tile.borders, self._is_small, self._on_seams(tile, place))
        return _Tile(groups[numbers], pieces, borders)

    def _may_change(self, tile: _Tile, place: Place) -> NDArray[np.bool_]:
        """Which pieces of a tile may become parts of others."""
        found = self._on_seams(tile, place)
        return found if self._is_small is None else found | self._is_small(tile.pieces)

    def _on_seams(self, tile: _Tile, place: Place) -> NDArray[np.bool_]:
        """Which pieces of a tile may go on in another one."""
        found = np.zeros(len(tile.pieces), bool)
        top, bottom, left, right = _sides(tile.numbers)
        for side, goes_on in (
            (top, place[0] > 0),
            (bottom, place[0] + 1 < self.shape[0]),
            (left, place[1] > 0),
            (right, place[1] + 1 < self.shape[1]),
        ):
            if goes_on:
                found[side] = True
        return found

    def _joined(self, pieces: Pieces, borders: Borders) -> tuple[Numbers, Pieces]:
        """Joins the pieces of all tiles: the final number of each, and the final pieces."""
        one, other = self._seams()
        same = pieces.values[one] == pieces.values[other]
        groups, count = connected_components(len(pieces), one[same], other[same])
        values = pieces.values
        pieces = pieces.merged(groups, count)
        if self._is_small is not None:
            across = _without_nodata(Borders.between(one[~same], other[~same]), values)
            all_borders = Borders.joined([borders, across]).merged(groups)
            more, pieces, _ = sieve(pieces, all_borders, self._is_small)
            groups = more[groups]
        order = np.argsort(pieces.first)
        order = order[pieces.values[order] != NODATA]
        final = np.full(len(pieces), OUTSIDE, np.int32)
        final[order] = np.arange(len(order), dtype=np.int32)
        return final[groups], Pieces(pieces.values[order], pieces.sums[order], pieces.first[order])

    def _seams(self) -> tuple[Numbers, Numbers]:
        """The pieces on both sides of all seams, pixel by pixel."""
        pairs = [(rim.top[:0], rim.top[:0]) for rim in self._rims.values()]
        for (row, column), rim in self._rims.items():
            if (row + 1, column) in self._rims:
                pairs.append((rim.bottom, self._rims[row + 1, column].top))
            if (row, column + 1) in self._rims:
                pairs.append((rim.right, self._rims[row, column + 1].left))
        return np.concatenate([one for one, _ in pairs]), np.concatenate([other for _, other in pairs])


def _sides(numbers: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """The upper, lower, left and right pixels of a tile."""
    return numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]


def _kept(side: Numbers) -> Numbers:
    """A copy, which does not keep the tile in memory."""
    return side.copy()


def _without_nodata(borders: Borders, values: NDArray[np.int32]) -> Borders:
    """The borders that have labels on both sides."""
    chosen = (values[borders.one] != NODATA) & (values[borders.other] != NODATA)
    return Borders(borders.one[chosen], borders.other[chosen], borders.length[chosen])
