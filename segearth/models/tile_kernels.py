"""The kernels of a doubling as matrices over tiles: what `JBUStep.kernel` computes, fast and differentiable.

`JBUStep` multiplies the T = (2r + 1)² taps of each pixel with the pixel's neighbours in the bicubically enlarged map.
Here the output is cut into tiles of 8 × 8 pixels. A tile needs a halo of S × S enlarged pixels, S = 8 + 2r:

- the range kernel's dot products of a tile are one product, (64 × 32) · (32 × S²). Row p of it holds the taps of pixel
  p, the (2r + 1)² entries around the pixel; with the right strides they are a view, and no gathering is needed;
- the taps, put back at these places of a (64 × S²) matrix, are the tile's convolution;
- bicubic enlargement and reflected borders are linear and separable: S enlarged rows are made of A ≤ 12 source rows.
  Multiplied into the convolution, they leave a (64 × A²) matrix that acts on the source itself.

Prediction and training call the same function, `tile_kernels`; `triton_kernels` computes the same on a GPU.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from segearth.models.simfeatup import JBUStep, pointwise

TILE = 8
PIXELS = TILE * TILE


class Axis(NamedTuple):
    """How the tiles along one axis read the source, bicubic enlargement and reflection included.

    Attributes:
        enlarged: (tiles, S), a tile's positions on the enlarged axis, mirrored at its ends.
        positions: (tiles, A), the source positions that these are made of.
        weights: (tiles, S, A), the weight of each source position in each enlarged one.
    """

    enlarged: Tensor
    positions: Tensor
    weights: Tensor


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the tables outlive the call: they must be ordinary tensors
def axis(length: int, radius: int, device: torch.device) -> Axis:
    """Makes the tables for a source axis of `length`, which is enlarged to twice that.

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


def project_guidance(step: JBUStep, colours: Tensor, dropout: Tensor | None = None) -> Tensor:
    """Computes `JBUStep.keys` with channels last: (..., 3) to (..., 32).

    Args:
        step: the learned step.
        colours: the guidance.
        dropout: factors of the hidden channels, or None.
    """
    first, first_bias = pointwise(step.range_proj[0])
    hidden = F.gelu(F.linear(colours, first, first_bias))
    if dropout is not None:
        hidden = hidden * dropout
    return F.linear(hidden, pointwise(step.range_proj[3])[0])


class StepWeights(NamedTuple):
    """The weights of a step in the form in which `tile_kernels` multiplies with them.

    Attributes:
        radius: r, of the kernel.
        key_bias: (32,), see `JBUStep.keys`.
        temperature: (), of the range kernel.
        spatial: (T,), the spatial kernel.
        on_taps: (T, T), of the correction's first layer, on the kernel.
        on_colours: (3, T), of the same layer, on the guidance.
        bias: (T,), of the same layer.
        last: (T, T), of the correction's last layer, times 0.1.
        last_bias: (T,), likewise.
    """

    radius: int
    key_bias: Tensor
    temperature: Tensor
    spatial: Tensor
    on_taps: Tensor
    on_colours: Tensor
    bias: Tensor
    last: Tensor
    last_bias: Tensor


def step_weights(step: JBUStep) -> StepWeights:
    """Prepares the weights of a step; differentiable."""
    first, first_bias = pointwise(step.fixup_proj[0])
    last, last_bias = pointwise(step.fixup_proj[3])
    spatial = step.spatial_kernel()
    taps = len(spatial)
    correction = (first[:, :taps].T, first[:, taps:].T, first_bias, 0.1 * last.T, 0.1 * last_bias)
    temperature = step.range_temp.exp().clamp(1e-4, 1e4)
    return StepWeights(step.radius, step.key_bias, temperature, spatial, *correction)


def tile_kernels(
    weights: StepWeights,
    halos: Tensor,
    colours: Tensor,
    across: Tensor,
    down: Tensor,
    dropout: Tensor | None = None,
    scratch: Tensor | None = None,
) -> Tensor:
    """Computes the matrices of n tiles; differentiable in all but `across` and `down`.

    Args:
        weights: of the step.
        halos: (n, S, S, 32), the keys of the tiles and around them.
        colours: (n, 8, 8, 3), the guidance of the tiles.
        across: (n, S, A'), the bicubic weights of the tiles' columns; see `Axis`.
        down: (n, S, A), of their rows.
        dropout: (n, T), factors of the correction's hidden channels, or None.
        scratch: (n, 64, S²), zeros or what an earlier call left in it; None for a new one.

    Returns:
        (n, 64, A' · A), on source pixels in (x, y) order.
    """
    taps = _tile_taps(weights, halos, colours, dropout)  # all else that it makes is freed here
    return _ActOnSource.apply(taps, across, down, weights.radius, scratch)


def _tile_taps(weights: StepWeights, halos: Tensor, colours: Tensor, dropout: Tensor | None) -> Tensor:
    """The kernels (n · 64, T) on enlarged pixels: `JBUStep.kernel`."""
    n, side = halos.shape[:2]
    inner = slice(weights.radius, weights.radius + TILE)
    centres = ((halos[:, inner, inner] + weights.key_bias) * weights.temperature).reshape(n, PIXELS, -1)
    products = torch.bmm(centres, halos.reshape(n, side * side, -1).transpose(1, 2))
    kernel = _TakeTaps.apply(products, weights.radius).softmax(dim=-1)  # (n · 64, T)
    reused = None if kernel.requires_grad else kernel  # without gradients each result replaces the one before
    kernel = torch.mul(kernel, weights.spatial, out=reused)
    kernel = torch.div(kernel, kernel.sum(dim=-1, keepdim=True).clamp(min=1e-7), out=reused)
    hidden = torch.addmm(weights.bias, colours.reshape(n * PIXELS, -1), weights.on_colours)
    hidden = F.gelu(hidden.addmm_(kernel, weights.on_taps))
    if dropout is not None:
        hidden = (hidden.view(n, PIXELS, -1) * dropout[:, None]).view(n * PIXELS, -1)
    return torch.add(kernel, weights.last_bias, out=reused).addmm_(hidden, weights.last)


def _diagonals(products: Tensor, radius: int) -> Tensor:
    """A view (n, 8, 8, 2r + 1, 2r + 1) of the taps in (n, 64, S²): those of pixel (y, x) begin at column y · S + x."""
    side, width = TILE + 2 * radius, 2 * radius + 1
    strides = (PIXELS * side * side, TILE * side * side + side, side * side + 1, side, 1)
    return products.as_strided((len(products), TILE, TILE, width, width), strides)


class _TakeTaps(Function):
    """Takes the taps (n · 64, T) out of the products (n, 64, S²) of a tile's pixels with its whole halo."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, radius: int) -> Tensor:
        ctx.radius, ctx.shape = radius, products.shape
        return _diagonals(products, radius).reshape(len(products) * PIXELS, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        out = grad.new_zeros(ctx.shape)
        view = _diagonals(out, ctx.radius)
        view.copy_(grad.reshape(view.shape))
        return out, None


class _ActOnSource(Function):
    """Taps (n · 64, T) on enlarged pixels to weights (n, 64, A' · A) on source pixels: linear, so nothing is kept."""

    @staticmethod
    def forward(ctx: Any, taps: Tensor, across: Tensor, down: Tensor, radius: int, scratch: Tensor | None) -> Tensor:
        ctx.radius = radius
        ctx.save_for_backward(across, down)
        n, side = across.shape[:2]
        banded = taps.new_zeros(n, PIXELS, side * side) if scratch is None else scratch
        view = _diagonals(banded, radius)
        view.copy_(taps.view(view.shape))
        columns = torch.bmm(banded.view(n, PIXELS * side, side), across).view(n, PIXELS, side, -1)
        return torch.bmm(columns.transpose(2, 3).reshape(n, -1, side), down).view(n, PIXELS, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        across, down = ctx.saved_tensors
        n, side, width = across.shape
        banded = torch.bmm(grad.reshape(n, PIXELS * width, -1), down.transpose(1, 2))
        banded = banded.view(n, PIXELS, width, side).transpose(2, 3).reshape(n, PIXELS * side, width)
        banded = torch.bmm(banded, across.transpose(1, 2)).view(n, PIXELS, side * side)
        return _diagonals(banded, ctx.radius).reshape(n * PIXELS, -1), None, None, None, None
