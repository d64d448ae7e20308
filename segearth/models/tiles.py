"""A doubling of many windows of one picture, in bands of tiles; the kernels are those of `tile_kernels`.

An output tile is its matrix times the (A² × C) source pixels that it reads, for any number of channels C. Kernels
depend on the image alone: windows that overlap share them, except in the tiles along a window's own border.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from segearth.models.simfeatup import JBUStep
from segearth.models.tile_kernels import PIXELS, TILE, axis, project_guidance, step_weights, tile_kernels

BAND_TILES = 112  # tiles at once: enough for an operation to be worth its start, few enough for a processor's cache


class TileKernels:
    """The kernels of one step for one picture, computed for the tiles that are asked for."""

    def __init__(self, step: JBUStep, colours: Tensor, keys: Tensor) -> None:
        """Takes a picture whose keys are known; see `from_guidance`.

        Args:
            step: the learned step.
            colours: (H, W, 3), the guidance at the step's output size, H and W even.
            keys: (H, W, 32), of `JBUStep.keys`.
        """
        self.step, self.colours, self.keys = step, colours, keys
        self.rows = axis(len(colours) // 2, step.radius, colours.device)
        self.columns = axis(colours.shape[1] // 2, step.radius, colours.device)
        self.weights = step_weights(step)
        self.scratch: dict[int, Tensor] = {}

    @classmethod
    def from_guidance(cls, step: JBUStep, guidance: Tensor) -> TileKernels:
        """Projects the guidance (3, H, W)."""
        colours = guidance.permute(1, 2, 0).contiguous()
        return cls(step, colours, project_guidance(step, colours))

    def crop(self, top: int, left: int, height: int, width: int) -> TileKernels:
        """The kernels of a part of the picture, with that part's own reflected border."""
        part = (slice(top, top + height), slice(left, left + width))
        return TileKernels(self.step, self.colours[part], self.keys[part])

    def kernels(self, rows: slice, columns: slice) -> Tensor:
        """The matrices of a rectangle of tiles, (rows, columns, 64, A · A) on source pixels in (x, y) order."""
        inner = slice(self.step.radius, self.step.radius + TILE)
        y, x = self.rows.enlarged[rows, None, :, None], self.columns.enlarged[None, columns, None, :]
        halos = self.keys[y, x]  # (ty, tx, S, S, 32)
        colours = self.colours[y[:, :, inner], x[..., inner]]  # (ty, tx, 8, 8, 3)
        ty, tx, side = halos.shape[:3]
        n = ty * tx
        # a scratch matrix for each number of tiles: every call writes the same entries, the others stay zero
        if n not in self.scratch:
            self.scratch[n] = halos.new_zeros(n, PIXELS, side * side)
        across = self.columns.weights[columns].expand(ty, -1, -1, -1).flatten(0, 1)
        down = self.rows.weights[rows, None].expand(-1, tx, -1, -1).flatten(0, 1)
        tiles = (halos.flatten(0, 1), colours.flatten(0, 1), across, down)
        return tile_kernels(self.weights, *tiles, scratch=self.scratch[n]).unflatten(0, (ty, tx))


class BorderKernels:
    """The kernels of the tiles along a window's border, where the window lies inside a larger picture.

    These kernels depend on the window's reflected border; those of all other tiles are the picture's.
    """

    def __init__(self, shared: TileKernels, top: int, left: int, height: int, width: int) -> None:
        """Computes the columns; rows are computed when they are asked for.

        Args:
            shared: the picture's kernels.
            top: first row of the window in the picture, in pixels, a multiple of 8.
            left: first column, likewise.
            height: pixels of the window; like `width` a multiple of 8, unless it is the whole picture.
            width: pixels of the window.

        Raises:
            ValueError: a part of the picture that is not made of whole tiles.
        """
        whole_height, whole_width = shared.colours.shape[:2]
        self.top, self.left = top // TILE, left // TILE
        self.height, self.width = -(-height // TILE), -(-width // TILE)
        self.rows = [0] * (top > 0) + [self.height - 1] * (top + height < whole_height)
        columns = [0] * (left > 0) + [self.width - 1] * (left + width < whole_width)
        self.window_kernels: TileKernels | None = None
        if (self.rows or columns) and any(side % TILE for side in (top, left, height, width)):
            raise ValueError(f"a window of {height} × {width} at ({top}, {left}) is not made of tiles of {TILE} pixels")
        if self.rows or columns:
            self.window_kernels = shared.crop(top, left, height, width)
            self.columns = {c: self.window_kernels.kernels(slice(None), slice(c, c + 1))[:, 0] for c in columns}

    def cuts(self) -> set[int]:
        """Tile rows of the picture that no band may cross: the window's ends, and the ends of its border rows."""
        ends = {0, self.height} | {row + side for row in self.rows for side in (0, 1)}
        return {self.top + end for end in ends}

    def band(self, rows: slice, common: Tensor) -> Tensor:
        """Kernels (rows, columns, 64, A · A) of the window's tile rows, from the picture's kernels of that band."""
        if self.window_kernels is None:
            return common
        if rows.start in self.rows:
            return self.window_kernels.kernels(rows, slice(None))
        band = common[:, self.left : self.left + self.width]
        if self.columns:
            band = band.clone()
            for column, kernels in self.columns.items():
                band[:, column] = kernels[rows]
        return band


def upsample_tiles(
    step: JBUStep, sources: list[Tensor], guidance: Tensor, offsets: list[tuple[int, int]]
) -> Iterator[tuple[int, slice, Tensor]]:
    """Doubles the maps of several windows of one picture, band by band.

    Args:
        step: the learned step.
        sources: a map (h, w, C) for each window.
        guidance: (3, H, W), the picture that holds the windows, pooled to the step's output resolution.
        offsets: (top, left) of each window in that picture, in pixels of that resolution, multiples of 8. Unless the
            window is the whole picture, its sides are multiples of 8, too: only the outermost tiles then reach
            beyond its border.

    Yields:
        Number of the window, the rows of pixels that a band covers in it, and the band's tiles (y, x, 64, C); see
        `untile`. Rows and columns include the overhang of the last tile.
    """
    h, w, _ = sources[0].shape
    shared = TileKernels.from_guidance(step, guidance)
    rows, columns = axis(h, step.radius, guidance.device), axis(w, step.radius, guidance.device)
    borders = [BorderKernels(shared, top, left, 2 * h, 2 * w) for top, left in offsets]
    for band in _bands(set().union(*(window.cuts() for window in borders)), len(shared.columns.positions)):
        common = shared.kernels(band, slice(None))
        for number, window in enumerate(borders):
            inside = slice(band.start - window.top, band.stop - window.top)
            if 0 <= inside.start < window.height:
                kernels = window.band(inside, common)
                tiles = apply_kernels(kernels, sources[number], rows.positions[inside], columns.positions)
                yield number, slice(inside.start * TILE, inside.stop * TILE), tiles


def _bands(cuts: set[int], columns: int) -> Iterator[slice]:
    """Bands of tile rows between cuts, of about `BAND_TILES` tiles each."""
    for start, stop in pairwise(sorted(cuts)):
        parts = -(-(stop - start) * columns // BAND_TILES)
        edges = [start + (stop - start) * i // parts for i in range(parts + 1)]
        yield from (slice(a, b) for a, b in pairwise(edges) if a < b)


def apply_kernels(kernels: Tensor, source: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiplies tiles with the source pixels that they read.

    Args:
        kernels: (..., y, x, 64, A' · A), of `tile_kernels`.
        source: (..., h, w, C).
        rows: (y, A), the source rows that each row of tiles reads.
        columns: (x, A'), likewise.

    Returns:
        (..., y, x, 64, C).
    """
    pixels = source_pixels(source, rows, columns)
    return torch.bmm(kernels.flatten(0, -3), pixels.flatten(0, -3)).unflatten(0, kernels.shape[:-2])


def source_pixels(source: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """What tiles read: (..., y, x, A' · A, C), in (x, y) order; arguments as of `apply_kernels`."""
    return source[..., rows[:, None, None, :], columns[None, :, :, None], :].flatten(-3, -2)


def untile(tiles: Tensor) -> Tensor:
    """Tiles (y, x, 64, C) to pixels (8y, 8x, C)."""
    return tiles.unflatten(2, (TILE, TILE)).transpose(1, 2).flatten(2, 3).flatten(0, 1)


def upsample2x(step: JBUStep, sources: list[Tensor], guidance: Tensor, offsets: list[tuple[int, int]]) -> list[Tensor]:
    """Doubles the maps (h, w, C) of several windows of one picture to (2h, 2w, C); see `upsample_tiles`."""
    h, w, channels = sources[0].shape
    height, width = (-(-2 * side // TILE) * TILE for side in (h, w))
    doubled = [source.new_empty(height, width, channels) for source in sources]
    for number, rows, tiles in upsample_tiles(step, sources, guidance, offsets):
        doubled[number][rows] = untile(tiles)
    return [pixels[: 2 * h, : 2 * w] for pixels in doubled]
