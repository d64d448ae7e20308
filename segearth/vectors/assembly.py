"""The polygons of a whole map, tile by tile, each as soon as its last pixel has been seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from segearth.vectors.chains import OUTSIDE, Chains, trace
from segearth.vectors.rings import Polygons, polygons
from segearth.vectors.simplify import corners_that_stay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.vectors.partition import Partition


def assembled(
    partition: Partition,
    width: int,
    side: int,
    wanted: NDArray[np.bool_],
    tolerance: float = 0.0,
    step: Callable[[], object] = lambda: None,
) -> Iterator[Polygons]:
    """The polygons of a map, some at a time.

    Args:
        partition: its pieces.
        width: of the map.
        side: of the tiles.
        wanted: (n,) which pieces become polygons.
        tolerance: as of `corners_that_stay`; 0 keeps all corners.
        step: called after every tile.
    """
    left = partition.pieces.pixels.copy()  # pixels that have not been seen
    open_chains: list[Chains] = []
    for row, column in partition.tiles:
        numbers = partition.numbers((row, column))
        inner = numbers[1:-1, 1:-1]
        kept = corners_that_stay(inner, tolerance) if tolerance else None
        window = partition.window((row, column))
        chains = trace(numbers, (window.top, window.left), width, kept, side)
        chains = chains.of(wanted[chains.piece])
        here, pixels = np.unique(inner[inner != OUTSIDE], return_counts=True)
        left[here] -= pixels
        within = pixels == partition.pieces.pixels[here]
        is_whole = within[np.searchsorted(here, chains.piece)]
        if is_whole.any():
            yield polygons(chains.of(is_whole))
        open_chains.append(chains.of(~is_whole))
        if column == partition.shape[1] - 1:
            several = Chains.joined(open_chains)
            is_whole = left[several.piece] == 0
            if is_whole.any():
                yield polygons(several.of(is_whole))
            open_chains = [several.of(~is_whole)]
        step()
