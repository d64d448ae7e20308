"""The adaptive convolution, forward and backward, over tiles: no map is ever unfolded.

As in `segearth.models.tiles`, a tile of 8 × 8 output pixels is a (64 × A²) matrix times the A² source pixels that the
bicubic enlargement of its halo is made of, A ≤ 12. The gradients are the two products that belong to it,

    d kernels = d out · sourceᵀ,    d source = kernelsᵀ · d out, added up where tiles overlap,

computed band by band with the source pixels gathered anew. Kept for it are the source map and the kernels alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from segearth.models.tiles import PIXELS, TILE

BAND_FLOATS = 1 << 22  # gathered source pixels at once: 16 MB, near a processor's cache; any value gives the same


def adaptive_convolution(source: Tensor, kernels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Doubles a map with a matrix for every tile; differentiable in the map and in the matrices.

    Args:
        source: (B, h, w, C), channels last.
        kernels: (B, ty, tx, 64, A' · A), on source pixels in (x, y) order, as `segearth.models.tiles` makes them.
        rows: (ty, A), the source rows that each row of tiles reads.
        columns: (tx, A'), likewise.

    Returns:
        (B, 8 ty, 8 tx, C).
    """
    return _AdaptiveConvolution.apply(source, kernels, rows, columns)


def gather(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The tiles' pieces of a map; differentiable.

    Args:
        maps: (B, H, W, C).
        rows: (ty, S), positions of each row of tiles.
        columns: (tx, S'), likewise.

    Returns:
        (B, ty, tx, S, S', C), rows before columns.
    """
    return _Gather.apply(maps, rows, columns)


def scatter(pieces: Tensor, rows: Tensor, columns: Tensor, out: Tensor) -> None:
    """Adds pieces (B, ty, tx, S, S', C) to a map (B, H, W, C), in place: the transpose of `gather`.

    One axis at a time, and tile by tile, so that a CPU always sums in the same order.
    """
    batch, ty, _, side, _, channels = pieces.shape
    strips = out.new_zeros(batch, ty, side, out.shape[2], channels)
    for number, positions in enumerate(columns):
        strips.index_add_(3, positions, pieces[:, :, number])
    for number, positions in enumerate(rows):
        out.index_add_(1, positions, strips[:, number])


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.shape = maps.shape
        ctx.save_for_backward(rows, columns)
        return maps[:, rows[:, None, :, None], columns[None, :, None, :]]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        rows, columns = ctx.saved_tensors
        out = grad.new_zeros(ctx.shape)
        scatter(grad, rows, columns, out)
        return out, None, None


class _AdaptiveConvolution(Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, kernels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(source, kernels, rows, columns)
        batch, ty, tx = kernels.shape[:3]
        out = source.new_empty(batch, ty, TILE, tx, TILE, source.shape[-1])
        for number, band in _bands(source, kernels):
            pixels = _pixels(source[number], rows[band], columns)
            tiles = torch.bmm(kernels[number, band].flatten(0, 1), pixels)
            out[number, band] = tiles.view(-1, tx, TILE, TILE, out.shape[-1]).transpose(1, 2)
        return out.view(batch, ty * TILE, tx * TILE, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        source, kernels, rows, columns = ctx.saved_tensors
        batch, ty, tx = kernels.shape[:3]
        for_source, for_kernels = ctx.needs_input_grad[:2]
        d_source = torch.zeros_like(source) if for_source else None
        d_kernels = torch.empty_like(kernels) if for_kernels else None
        grad = grad.reshape(batch, ty, TILE, tx, TILE, -1)
        for number, band in _bands(source, kernels):
            tiles = grad[number, band].transpose(1, 2).reshape(-1, PIXELS, grad.shape[-1])
            if d_kernels is not None:
                pixels = _pixels(source[number], rows[band], columns)
                d_kernels[number, band] = torch.bmm(tiles, pixels.transpose(1, 2)).view(-1, *kernels.shape[2:])
            if d_source is not None:
                pieces = torch.bmm(kernels[number, band].flatten(0, 1).transpose(1, 2), tiles)
                pieces = pieces.view(1, -1, tx, columns.shape[1], rows.shape[1], pieces.shape[-1]).transpose(3, 4)
                scatter(pieces, rows[band], columns, d_source[number : number + 1])
        return d_source, d_kernels, None, None


def _bands(source: Tensor, kernels: Tensor) -> list[tuple[int, slice]]:
    """Image by image, rows of tiles that are worked on at once."""
    batch, ty, tx, _, squared = kernels.shape
    rows = max(1, BAND_FLOATS // (tx * squared * source.shape[-1]))
    return [(number, slice(top, min(top + rows, ty))) for number in range(batch) for top in range(0, ty, rows)]


def _pixels(source: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Source pixels (tiles, A · A, C), in (x, y) order, from a map (h, w, C)."""
    return source[rows[:, None, None, :], columns[None, :, :, None]].flatten(2, 3).flatten(0, 1)
