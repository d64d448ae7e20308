"""A joint bilateral upsampling step as matrix products over tiles: what `JBUStep` computes, fast on any device.

The plain step multiplies every pixel's T = (2r+1)² taps with a neighbourhood in the bicubically enlarged map. Here
the output is cut into tiles of 8 × 8 pixels, which together need a halo of S × S enlarged pixels, S = 8 + 2r:

- the range kernel's dot products of a tile are one product, (64 × 32) · (32 × S²). Of its row p, the taps of pixel p
  are the (2r+1)² entries around it; with the right strides they are a view, no gathering is needed;
- the taps, put back at these places of a (64 × S²) matrix, are the tile's convolution;
- bicubic enlargement and reflected borders are linear and separable, S enlarged rows being made of A ≤ 12 rows of the
  source. Multiplied into the convolution, they leave a (64 × A²) matrix that acts on the source itself;
- the output tile is that matrix times the (A² × C) source pixels, for any number of channels C.

Kernels depend on the image alone. Windows that overlap share them, except in the tiles along a window's own border.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segearth.models.simfeatup import JBUStep, pointwise

TILE = 8
PIXELS = TILE * TILE
BAND_TILES = 112  # tiles at once: enough for an operation to be worth its start, few enough for a processor's cache


class Axis(NamedTuple):
    """How tiles along one axis draw on the source, bicubic enlargement and reflection included.

    Attributes:
        enlarged: (tiles, S), a tile's positions on the enlarged axis, mirrored at its ends.
        positions: (tiles, A), the source positions that they are made of.
        weights: (tiles, S, A), how.
    """

    enlarged: Tensor
    positions: Tensor
    weights: Tensor


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the tables outlive the call: they must be ordinary tensors
def axis(length: int, radius: int, device: torch.device) -> Axis:
    """The tables for a source axis of `length`, enlarged to twice that.

    Positions beyond the reflected border belong to the last tile's overhang and are cut away later.
    """
    enlarged = 2 * length
    tiles = -(-enlarged // TILE)
    cpu = torch.device("cpu")  # where float64 exists; the caller's default device may be another
    position = torch.arange(tiles, device=cpu)[:, None] * TILE - radius + torch.arange(TILE + 2 * radius, device=cpu)
    position = position.abs()
    position = torch.where(position >= enlarged, 2 * (enlarged - 1) - position, position).clamp(0, enlarged - 1)
    centre = (position.double() + 0.5) / 2 - 0.5
    base = centre.floor()
    weights = _cubic(centre - base)
    index = (base[..., None].long() + torch.arange(-1, 3, device=cpu)).clamp(0, length - 1)  # (tiles, S, 4)
    start = index.amin(dim=(1, 2))
    width = int((index.amax(dim=(1, 2)) - start).max()) + 1
    start = start.clamp(max=length - width)
    matrix = torch.zeros(tiles, position.shape[1], width, dtype=torch.double, device=cpu)
    matrix.scatter_add_(2, index - start[:, None, None], weights)
    positions = start[:, None] + torch.arange(width, device=cpu)
    return Axis(position.to(device), positions.to(device), matrix.float().to(device))


def _cubic(t: Tensor) -> Tensor:
    """The four weights of cubic convolution (Keys, 1981) at the fraction t, with a = -0.75 as in torch; (..., 4)."""
    a = -0.75

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return torch.stack([far(t + 1), near(t), near(1 - t), far(2 - t)], dim=-1)


def project(step: JBUStep, colours: Tensor, drops: Tensor | None = None) -> Tensor:
    """`JBUStep.keys` with channels last: (..., 3) to (..., 32).

    Args:
        step: the learned step.
        colours: the guidance.
        drops: factors on the hidden channels, or None.
    """
    first, first_bias = pointwise(step.range_proj[0])
    hidden = F.gelu(F.linear(colours, first, first_bias))
    if drops is not None:
        hidden = hidden * drops
    return F.linear(hidden, pointwise(step.range_proj[3])[0])


class Taps:
    """The weights of a step, ready for tiles."""

    def __init__(self, step: JBUStep) -> None:
        self.radius, self.key_bias = step.radius, step.key_bias
        self.temperature = step.range_temp.exp().clamp(1e-4, 1e4)
        self.spatial = step.spatial_kernel()
        first, first_bias = pointwise(step.fixup_proj[0])
        last, last_bias = pointwise(step.fixup_proj[3])
        taps = len(self.spatial)
        self.fixup = (first[:, :taps].T, first[:, taps:].T, first_bias, 0.1 * last.T, 0.1 * last_bias)

    def write(self, banded: Tensor, halos: Tensor, colours: Tensor) -> None:
        """Computes the taps of tiles and writes them where they act on the tiles' halos.

        Args:
            banded: (n, 64, S, S), contiguous, zero beside the taps.
            halos: (n, S, S, 32), the keys of the tiles and around them.
            colours: (n, 8, 8, 3), the guidance of the tiles.
        """
        n, side = halos.shape[:2]
        inner, width = slice(self.radius, self.radius + TILE), 2 * self.radius + 1
        centres = ((halos[:, inner, inner] + self.key_bias) * self.temperature).reshape(n, PIXELS, -1)
        products = torch.bmm(centres, halos.reshape(n, side * side, -1).transpose(1, 2))
        shape = (n, TILE, TILE, width, width)
        # of row p = (py, px) the taps (dy, dx) stand in column (py + dy) · S + px + dx
        strides = (PIXELS * side * side, TILE * side * side + side, side * side + 1, side, 1)
        kernel = products.as_strided(shape, strides).reshape(n * PIXELS, -1).softmax(dim=-1)
        kernel = kernel.mul_(self.spatial)
        kernel = kernel.div_(kernel.sum(dim=-1, keepdim=True).clamp_(min=1e-7))
        on_taps, on_colours, bias, last, last_bias = self.fixup
        hidden = torch.addmm(bias, colours.reshape(n * PIXELS, -1), on_colours)
        hidden = F.gelu(hidden.addmm_(kernel, on_taps))
        kernel = kernel.add_(last_bias).addmm_(hidden, last)
        banded.as_strided(shape, strides).copy_(kernel.view(shape))


class Guide:
    """The kernels of one step for one picture, computed for the tiles that are asked for."""

    def __init__(self, step: JBUStep, colours: Tensor, keys: Tensor) -> None:
        """Takes a picture whose keys are known; see `of`.

        Args:
            step: the learned step.
            colours: (H, W, 3), the guidance at the step's output size, H and W even.
            keys: (H, W, 32), of `JBUStep.keys`.
        """
        self.step, self.colours, self.keys = step, colours, keys
        self.rows = axis(len(colours) // 2, step.radius, colours.device)
        self.columns = axis(colours.shape[1] // 2, step.radius, colours.device)
        self.taps = Taps(step)
        self.scratch: dict[int, Tensor] = {}

    @classmethod
    def of(cls, step: JBUStep, guidance: Tensor) -> Guide:
        """Projects the guidance (3, H, W)."""
        colours = guidance.permute(1, 2, 0).contiguous()
        return cls(step, colours, project(step, colours))

    def crop(self, top: int, left: int, height: int, width: int) -> Guide:
        """The guide of a part of the picture, with that part's own reflected border."""
        part = (slice(top, top + height), slice(left, left + width))
        return Guide(self.step, self.colours[part], self.keys[part])

    def kernels(self, rows: slice, columns: slice) -> Tensor:
        """The matrices of a rectangle of tiles, (rows, columns, 64, A · A) on source pixels in (x, y) order."""
        inner = slice(self.step.radius, self.step.radius + TILE)
        y, x = self.rows.enlarged[rows, None, :, None], self.columns.enlarged[None, columns, None, :]
        halos = self.keys[y, x]  # (ty, tx, S, S, 32)
        colours = self.colours[y[:, :, inner], x[..., inner]]  # (ty, tx, 8, 8, 3)
        ty, tx, side = halos.shape[:3]
        n = ty * tx
        # a scratch matrix for each number of tiles: every call writes the same entries, the others stay zero
        banded = self.scratch.get(n)
        if banded is None:
            banded = self.scratch[n] = halos.new_zeros(n, PIXELS, side, side)
        self.taps.write(banded, halos.flatten(0, 1), colours.flatten(0, 1))
        across, down = self.columns.weights[columns], self.rows.weights[rows]
        banded = torch.matmul(banded.view(ty, tx, PIXELS * side, side), across)  # enlarged columns -> source columns
        banded = banded.view(n, PIXELS, side, -1).transpose(2, 3).reshape(ty, -1, side)
        return torch.bmm(banded, down).view(ty, tx, PIXELS, -1)


class Borders:
    """The kernels of the tiles along a window's border, where it lies inside of a larger picture.

    There the reflected border makes them its own; everywhere else they are the picture's.
    """

    def __init__(self, shared: Guide, top: int, left: int, height: int, width: int) -> None:
        """Computes the columns; rows are computed when they are asked for.

        Args:
            shared: the picture's guide.
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
        self.own: Guide | None = None
        if (self.rows or columns) and any(side % TILE for side in (top, left, height, width)):
            raise ValueError(f"a window of {height} × {width} at ({top}, {left}) is not made of tiles of {TILE} pixels")
        if self.rows or columns:
            self.own = shared.crop(top, left, height, width)
            self.columns = {c: self.own.kernels(slice(None), slice(c, c + 1))[:, 0] for c in columns}

    def cuts(self) -> set[int]:
        """Tile rows of the picture at which a band may not reach across: the window's ends and its own rows."""
        ends = {0, self.height} | {row + side for row in self.rows for side in (0, 1)}
        return {self.top + end for end in ends}

    def band(self, rows: slice, common: Tensor) -> Tensor:
        """Kernels (rows, columns, 64, A · A) of the window's tile rows, from the picture's kernels of that band."""
        if self.own is None:
            return common
        if rows.start in self.rows:
            return self.own.kernels(rows, slice(None))
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
    shared = Guide.of(step, guidance)
    rows, columns = axis(h, step.radius, guidance.device), axis(w, step.radius, guidance.device)
    borders = [Borders(shared, top, left, 2 * h, 2 * w) for top, left in offsets]
    for band in _bands(set().union(*(window.cuts() for window in borders)), len(shared.columns.positions)):
        common = shared.kernels(band, slice(None))
        for number, window in enumerate(borders):
            own = slice(band.start - window.top, band.stop - window.top)
            if 0 <= own.start < window.height:
                tiles = _convolve(window.band(own, common), sources[number], rows.positions[own], columns.positions)
                yield number, slice(own.start * TILE, own.stop * TILE), tiles


def _bands(cuts: set[int], columns: int) -> Iterator[slice]:
    """Bands of tile rows between cuts, of about `BAND_TILES` tiles each."""
    for start, stop in pairwise(sorted(cuts)):
        parts = -(-(stop - start) * columns // BAND_TILES)
        edges = [start + (stop - start) * i // parts for i in range(parts + 1)]
        yield from (slice(a, b) for a, b in pairwise(edges) if a < b)


def _convolve(kernels: Tensor, source: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Applies kernels (y, x, 64, A · A) of tiles to the map (h, w, C) at their positions: (y, x, 64, C)."""
    pixels = source[rows[:, None, None, :], columns[None, :, :, None]]  # (y, x, A, A, C), the last A down
    return torch.bmm(kernels.flatten(0, 1), pixels.flatten(2, 3).flatten(0, 1)).unflatten(0, kernels.shape[:2])


def untile(tiles: Tensor) -> Tensor:
    """Tiles (y, x, 64, C) to pixels (8y, 8x, C)."""
    return tiles.unflatten(2, (TILE, TILE)).transpose(1, 2).flatten(2, 3).flatten(0, 1)


def double(step: JBUStep, sources: list[Tensor], guidance: Tensor, offsets: list[tuple[int, int]]) -> list[Tensor]:
    """Doubles the maps (h, w, C) of several windows of one picture to (2h, 2w, C); see `upsample_tiles`."""
    h, w, channels = sources[0].shape
    height, width = (-(-2 * side // TILE) * TILE for side in (h, w))
    doubled = [source.new_empty(height, width, channels) for source in sources]
    for number, rows, tiles in upsample_tiles(step, sources, guidance, offsets):
        doubled[number][rows] = untile(tiles)
    return [one[: 2 * h, : 2 * w] for one in doubled]
