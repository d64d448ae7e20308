"""The adaptive convolution, forward and backward, over tiles: no map is ever unfolded.

As in `segearth.models.tile_kernels`, a tile of 8 × 8 output pixels is a (64 × A²) matrix times the A² source pixels
that the bicubic enlargement of its halo is made of, A ≤ 12. The gradients are the two products that belong to it,

    d kernels = d out · sourceᵀ,    d source = kernelsᵀ · d out, added up where tiles overlap,

computed band by band with the source pixels gathered anew. Kept for it are the source map and the kernels alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from segearth.models.tile_kernels import PIXELS, TILE, axis
from segearth.models.tiles import apply_kernels, source_pixels
from segearth.training.simfeatup.upload import upload

# Gathered source pixels at once; any value gives the same. A processor wants them near its cache, a GPU few operations.
BAND_FLOATS = 1 << 22  # 16 MB
GPU_BAND_FLOATS = 1 << 26  # 256 MB

Positions = tuple[tuple[int, ...], ...]
"""(tiles, S), what each tile reads along an axis: numbers, so that parts of an axis need no copy from a GPU."""


@lru_cache(maxsize=64)
def axis_positions(length: int, radius: int) -> tuple[Positions, Positions]:
    """The positions that tiles read along the enlarged axis, and along the source axis of `length`; see `axis`."""
    tables = axis(length, radius, torch.device("cpu"))
    enlarged, source = (tuple(map(tuple, table.tolist())) for table in (tables.enlarged, tables.positions))
    return enlarged, source


class Reads(NamedTuple):
    """Positions that tiles read along an axis, as tensors, and the way back.

    Attributes:
        positions: (tiles, S).
        turns: (position, tile, number among the tile's S) of every read. In the first turn each position that is read
            has its first reader, in the second one its second, if it has, and so on: no position twice in a turn.
    """

    positions: Tensor
    turns: list[tuple[Tensor, Tensor, Tensor]]


@lru_cache(maxsize=1024)
def reads(positions: Positions, device: torch.device) -> Reads:
    """The tensors for an axis or a part of it; they are brought to the device once."""
    turns: list[list[tuple[int, int, int]]] = []
    times: dict[int, int] = {}
    for tile, read in enumerate(positions):
        for number, position in enumerate(read):
            turn = times[position] = times.get(position, -1) + 1
            if turn == len(turns):
                turns.append([])
            turns[turn].append((position, tile, number))
    tables = [torch.tensor(positions, device="cpu"), *(torch.tensor(turn, device="cpu").T for turn in turns)]
    whole, *parts = upload(tables, device, torch.int64)
    return Reads(whole, [(part[0], part[1], part[2]) for part in parts])


def convolve_tiles(source: Tensor, kernels: Tensor, rows: Positions, columns: Positions) -> Tensor:
    """Doubles a map with a matrix for every tile; differentiable in the map and in the matrices.

    Args:
        source: (B, h, w, C), channels last.
        kernels: (B, ty, tx, 64, A' · A), on source pixels in (x, y) order, of `segearth.models.tile_kernels`.
        rows: (ty, A), the source rows that each row of tiles reads.
        columns: (tx, A'), likewise.

    Returns:
        (B, 8 ty, 8 tx, C).
    """
    return _ConvolveTiles.apply(source, kernels, rows, columns)


def gather(maps: Tensor, rows: Positions, columns: Positions) -> Tensor:
    """The tiles' pieces of a map; differentiable.

    Args:
        maps: (B, H, W, C).
        rows: (ty, S), positions of each row of tiles.
        columns: (tx, S'), likewise.

    Returns:
        (B, ty, tx, S, S', C), rows before columns.
    """
    return _Gather.apply(maps, rows, columns)


def scatter(pieces: Tensor, rows: Positions, columns: Positions, out: Tensor) -> None:
    """Adds pieces (B, ty, tx, S, S', C) to a map (B, H, W, C), in place: the transpose of `gather`.

    One axis at a time. A turn adds to no position twice, so that a GPU, too, always sums in the same order: for every
    position the order of the tiles.
    """
    batch, ty, _, side, _, channels = pieces.shape
    strips = out.new_zeros(batch, ty, out.shape[2], side, channels)
    by_columns, by_rows = pieces.transpose(3, 4), strips.transpose(2, 3)
    for positions, tiles, numbers in reads(columns, out.device).turns:
        strips.index_add_(2, positions, by_columns[:, :, tiles, numbers])
    for positions, tiles, numbers in reads(rows, out.device).turns:
        out.index_add_(1, positions, by_rows[:, tiles, numbers])


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, rows: Positions, columns: Positions) -> Tensor:
        ctx.shape, ctx.rows, ctx.columns = maps.shape, rows, columns
        down, across = _positions(rows, columns, maps)
        return maps[:, down[:, None, :, None], across[None, :, None, :]]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        out = grad.new_zeros(ctx.shape)
        scatter(grad, ctx.rows, ctx.columns, out)
        return out, None, None


class _ConvolveTiles(Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, kernels: Tensor, rows: Positions, columns: Positions) -> Tensor:
        ctx.rows, ctx.columns = rows, columns
        ctx.save_for_backward(source, kernels)
        batch, ty, tx = kernels.shape[:3]
        out = source.new_empty(batch, ty, TILE, tx, TILE, source.shape[-1])
        for images, band in _bands(source, kernels):
            tiles = apply_kernels(kernels[images, band], source[images], *_positions(rows[band], columns, source))
            out[images, band] = tiles.unflatten(3, (TILE, TILE)).transpose(2, 3)
        return out.view(batch, ty * TILE, tx * TILE, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        source, kernels = ctx.saved_tensors
        rows, columns = ctx.rows, ctx.columns
        batch, ty, tx = kernels.shape[:3]
        for_source, for_kernels = ctx.needs_input_grad[:2]
        d_source = torch.zeros_like(source) if for_source else None
        d_kernels = torch.empty_like(kernels) if for_kernels else None
        grad = grad.reshape(batch, ty, TILE, tx, TILE, -1)
        for images, band in _bands(source, kernels):
            tiles = grad[images, band].transpose(2, 3).reshape(-1, PIXELS, grad.shape[-1])
            if d_kernels is not None:
                pixels = source_pixels(source[images], *_positions(rows[band], columns, source)).flatten(0, 2)
                into = d_kernels[images, band]
                into.copy_(torch.bmm(tiles, pixels.transpose(1, 2)).view(into.shape))
            if d_source is not None:
                into = d_source[images]
                pieces = torch.bmm(kernels[images, band].flatten(0, 2).transpose(1, 2), tiles)
                pieces = pieces.view(len(into), -1, tx, len(columns[0]), len(rows[0]), pieces.shape[-1])
                scatter(pieces.transpose(3, 4), rows[band], columns, into)
        return d_source, d_kernels, None, None


def _bands(source: Tensor, kernels: Tensor) -> list[tuple[slice, slice]]:
    """Images, and rows of tiles in them, that are worked on at once."""
    batch, ty, tx, _, squared = kernels.shape
    floats = BAND_FLOATS if source.device.type == "cpu" else GPU_BAND_FLOATS
    rows = max(1, floats // (tx * squared * source.shape[-1]))
    images = max(1, rows // ty)
    return [
        (slice(first, first + images), slice(top, min(top + rows, ty)))
        for first in range(0, batch, images)
        for top in range(0, ty, rows)
    ]


def _positions(rows: Positions, columns: Positions, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The same as tensors, on the device of the maps."""
    return reads(rows, maps.device).positions, reads(columns, maps.device).positions
