"""Assembles the polygons of a whole map, tile by tile, each as soon as its last pixel has been seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from segearth.vectors.chains import OUTSIDE, Chains, trace
from segearth.vectors.rings import Polygons, close_rings
from segearth.vectors.simplify import kept_corners

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.vectors.partition import Partition


def assemble_polygons(
    partition: Partition,
    width: int,
    side: int,
    wanted: NDArray[np.bool_],
    tolerance: float = 0.0,
    step: Callable[[], object] = lambda: None,
) -> Iterator[Polygons]:
    """Yields the polygons of a map, part by part.

    Args:
        partition: its pieces.
        width: of the map.
        side: of the tiles.
        wanted: (n,) whether a piece becomes a polygon.
        tolerance: as of `kept_corners`; 0 keeps all corners.
        step: called after every tile.
    """
    left = partition.pieces.pixels.copy()  # pixels that have not been seen
    open_chains: list[Chains] = []
    for row, column in partition.tiles:
        numbers = partition.numbers((row, column))
        inner = numbers[1:-1, 1:-1]
        kept = kept_corners(inner, tolerance) if tolerance else None
        window = partition.window((row, column))
        chains = trace(numbers, (window.top, window.left), width, kept, side)
        chains = chains.select(wanted[chains.piece])
        here, pixels = np.unique(inner[inner != OUTSIDE], return_counts=True)
        left[here] -= pixels
        within = pixels == partition.pieces.pixels[here]
        is_whole = within[np.searchsorted(here, chains.piece)]
        if is_whole.any():
            yield close_rings(chains.select(is_whole))
        open_chains.append(chains.select(~is_whole))
        if column == partition.shape[1] - 1:
            several = Chains.joined(open_chains)
            is_whole = left[several.piece] == 0
            if is_whole.any():
                yield close_rings(several.select(is_whole))
            open_chains = [several.select(~is_whole)]
        step()
