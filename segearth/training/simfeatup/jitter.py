"""The jitter: an image or its pixel features, enlarged, cut and mirrored.

Reflect padding, bilinear enlargement, cutting, mirroring, and the blur that follows are all linear and separable:
J(z) = R z Cᵀ with one sparse matrix for rows and one for columns. They are multiplied with each other first and then
applied once, in blocks, to what of the map the cut shows. A map enlarged to twice its size is never made.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

PAD = 20  # pixels, and the zoom's range: SimFeatUp's training
LARGEST_ZOOM = 2.0
BLUR_RADIUS = 2
BLUR_SIGMA = 1.0


class Jitter(NamedTuple):
    """One jitter of a whole batch.

    Attributes:
        zoom: factor of the enlargement, from 1 to 2.
        top: first row of the cut in the padded, enlarged image.
        left: first column, likewise.
        flip: whether the cut is mirrored left to right.
    """

    zoom: float
    top: int
    left: int
    flip: bool

    def matrices(self, size: int) -> tuple[Tensor, Tensor]:
        """R and C for images of that side: (size, size) each, float64."""
        return jitter_matrix(size, self.zoom, self.top), jitter_matrix(size, self.zoom, self.left, self.flip)


def draw_jitter(generator: torch.Generator, size: int) -> Jitter:
    """Draws a jitter for square images.

    Args:
        generator: on the CPU.
        size: their side in pixels.

    Returns:
        Zoom 1 with probability ½, else uniform in [1, 2); the cut uniform over all places; mirrored with probability ½.
    """
    chance, extra, top, left, flip = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    zoom = 1.0 if chance < 0.5 else 1 + extra * (LARGEST_ZOOM - 1)
    places = math.floor((size + 2 * PAD) * zoom) - size + 1
    return Jitter(zoom, int(top * places), int(left * places), flip < 0.5)


def jitter_matrix(size: int, zoom: float, start: int, flip: bool = False) -> Tensor:
    """The jitter along one axis: (size, size) float64, rows are outputs.

    The enlargement is torch's bilinear one with the zoom as its scale factor: output o reads at (o + ½) / zoom - ½.
    """
    padded = size + 2 * PAD
    position = ((start + torch.arange(size, dtype=torch.float64) + 0.5) / zoom - 0.5).clamp(min=0)
    lower = position.floor().long().clamp(max=padded - 1)
    upper = (lower + 1).clamp(max=padded - 1)
    share = position - lower
    matrix = torch.zeros(size, size, dtype=torch.float64)
    rows = torch.arange(size)
    for index, weight in ((lower, 1 - share), (upper, share)):
        matrix.index_put_((rows, _reflected(index - PAD, size)), weight, accumulate=True)
    return matrix.flip(0) if flip else matrix


def blur_matrix(size: int) -> Tensor:
    """A Gaussian of 5 taps, sigma 1, with reflected borders: (size, size) float64."""
    taps = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1)
    weights = torch.exp(-(taps.double() ** 2) / (2 * BLUR_SIGMA**2))
    weights = weights / weights.sum()
    rows = torch.arange(size)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for tap, weight in zip(taps, weights, strict=True):
        matrix.index_put_((rows, _reflected(rows + tap, size)), weight.expand(size), accumulate=True)
    return matrix


def fit_matrix(length: int, size: int) -> Tensor:
    """Bilinear resizing as torch does it (align_corners False): (size, length) float64.

    It brings the map of an upsampler whose doublings overshoot (256 pixels for 224, patches of 14) to the image's size.
    """
    position = ((torch.arange(size, dtype=torch.float64) + 0.5) * (length / size) - 0.5).clamp(min=0)
    lower = position.floor().long()
    share = position - lower
    rows = torch.arange(size)
    matrix = torch.zeros(size, length, dtype=torch.float64)
    matrix.index_put_((rows, lower), 1 - share, accumulate=True)
    matrix.index_put_((rows, (lower + 1).clamp(max=length - 1)), share, accumulate=True)
    return matrix


def _reflected(index: Tensor, size: int) -> Tensor:
    """Positions beyond the ends, mirrored at the first and last pixel's centre."""
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


class Blocks(NamedTuple):
    """A sparse matrix (outputs × inputs) as dense blocks along its diagonal.

    Attributes:
        outputs: number of rows.
        parts: (first output, first input, block) for each block of rows.
    """

    outputs: int
    parts: list[tuple[int, int, Tensor]]

    def after(self, offset: int) -> Blocks:
        """The same for a map without its first `offset` inputs, which none of them reads."""
        return Blocks(self.outputs, [(first, start - offset, block) for first, start, block in self.parts])


def support(matrix: Tensor) -> tuple[int, int]:
    """First input that a matrix reads, and the one after the last."""
    used = matrix.ne(0).any(dim=0).nonzero()
    return int(used[0]), int(used[-1]) + 1


def blocks(matrix: Tensor, side: int) -> Blocks:
    """Cuts a matrix into blocks of `side` rows, each as wide as what it reads.

    Args:
        matrix: (outputs, inputs).
        side: rows of a block.
    """
    parts = []
    for first in range(0, len(matrix), side):
        rows = matrix[first : first + side]
        start, stop = support(rows)
        parts.append((first, start, rows[:, start:stop]))
    return Blocks(len(matrix), parts)


def resample(maps: Tensor, rows: Blocks, columns: Blocks) -> Tensor:
    """Applies a matrix to the rows and one to the columns of maps (B, H, W, C), channels last: (B, h, w, C)."""
    return _Resample.apply(maps, rows, columns)


class _Resample(Function):
    """A linear map and its transpose; nothing is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, rows: Blocks, columns: Blocks) -> Tensor:
        ctx.rows, ctx.columns, ctx.shape = rows, columns, maps.shape
        batch, _, width, channels = maps.shape
        lines = maps.new_empty(batch, rows.outputs, width * channels)
        for first, start, block in rows.parts:
            out, used = lines[:, first : first + len(block)], maps[:, start : start + block.shape[1]].flatten(2)
            out.copy_(torch.matmul(block, used))
        lines = lines.view(-1, width, channels)
        result = maps.new_empty(len(lines), columns.outputs, channels)
        for first, start, block in columns.parts:
            result[:, first : first + len(block)] = torch.matmul(block, lines[:, start : start + block.shape[1]])
        return result.view(batch, rows.outputs, columns.outputs, channels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        batch, height, width, channels = ctx.shape
        grad = grad.reshape(-1, ctx.columns.outputs, channels)
        lines = grad.new_zeros(len(grad), width, channels)
        for first, start, block in ctx.columns.parts:
            lines[:, start : start + block.shape[1]] += torch.matmul(block.T, grad[:, first : first + len(block)])
        lines = lines.view(batch, -1, width * channels)
        result = grad.new_zeros(batch, height, width * channels)
        for first, start, block in ctx.rows.parts:
            result[:, start : start + block.shape[1]] += torch.matmul(block.T, lines[:, first : first + len(block)])
        return result.view(ctx.shape), None, None
