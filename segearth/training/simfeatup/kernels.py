"""The upsampler as it is trained: what `JBU` computes, with dropout, over tiles, differentiable in every weight.

The numbers are those of `segearth.models.simfeatup` (a test holds them together). Three things keep it fast and small:

- kernels are computed over tiles (see `segearth.models.tiles`), and on request again in the backward pass;
- the 1 × 1 convolution at the end mixes channels and the upsampling mixes pixels, so the convolution (and the first one
  of the image reconstruction) is done on the patches: z + 0.1 (W z + b) = U (F + 0.1 F Wᵀ) + 0.1 b;
- the last doubling computes only the tiles that the jitter shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from segearth.models.simfeatup import JBU, KEY_DIM, JBUStep, pointwise, pool
from segearth.models.tiles import PIXELS, TILE, axis, project
from segearth.training.simfeatup.adaptive_conv import adaptive_convolution, axis_positions, gather

CHUNK_TILES = 224  # tiles whose kernels are computed at once; any number gives the same kernels
KEY_DROPOUT, FIXUP_DROPOUT, CHANNEL_DROPOUT = 0.1, 0.1, 0.2  # as in the modules of JBU


class Drops(NamedTuple):
    """Which channels live in one pass, as factors: 0, or 1 / (1 - p).

    Attributes:
        keys: for each doubling (B, 32), inside of its range_proj.
        fixups: for each doubling (B, T), inside of its fixup_proj.
        channels: (B, D), before the convolution at the end.
    """

    keys: list[Tensor]
    fixups: list[Tensor]
    channels: Tensor


def draw_drops(upsampler: JBU, doublings: int, generators: list[torch.Generator]) -> Drops:
    """Draws the channel dropout of one pass, on the CPU.

    Args:
        upsampler: the model.
        doublings: number of its steps, each of which drops channels of its own.
        generators: one for each image, on the CPU, so that an image's dropout does not depend on its batch.
    """
    taps = (2 * upsampler.radius + 1) ** 2
    assert upsampler.feat_dim is not None  # what is trained has a width
    sizes = [KEY_DIM] * doublings + [taps] * doublings + [upsampler.feat_dim]
    rates = [KEY_DROPOUT] * doublings + [FIXUP_DROPOUT] * doublings + [CHANNEL_DROPOUT]
    uniform = torch.stack([torch.rand(sum(sizes), generator=one) for one in generators])
    factors = [(part >= rate) / (1 - rate) for part, rate in zip(uniform.split(sizes, dim=1), rates, strict=True)]
    return Drops(factors[:doublings], factors[doublings:-1], factors[-1])


def mix_channels(upsampler: JBU, features: Tensor, drops: Drops | None) -> tuple[Tensor, Tensor]:
    """The convolution at the end, done on the patches.

    Args:
        upsampler: the model.
        features: (B, h, w, D).
        drops: dropout, or None.

    Returns:
        Features to upsample (B, h, w, D), and the constant (D,) to add to them at every pixel.
    """
    weight, bias = pointwise(upsampler.fixup_proj[1])
    kept = features if drops is None else features * drops.channels[:, None, None]
    return features + 0.1 * kept @ weight.T, 0.1 * bias


def upsample(
    upsampler: JBU,
    maps: list[Tensor],
    guidance: Tensor,
    drops: Drops | None = None,
    window: tuple[int, int, int, int] | None = None,
    recompute: bool = True,
) -> tuple[list[Tensor], tuple[int, int]]:
    """Upsamples maps with the same kernels: `JBU.interpolate`, but for a resizing at the end.

    Args:
        upsampler: the model.
        maps: each (B, h, w, C), any number of channels.
        guidance: (B, 3, H, W).
        drops: dropout, or None.
        window: (top, bottom, left, right), the pixels of the last doubling that are wanted; None for all.
        recompute: whether kernels are computed again in the backward pass instead of being kept.

    Returns:
        The maps (B, y, x, C), and the (top, left) of their first pixel: tiles are whole, so they may be somewhat larger
        than the window.
    """
    patch = guidance.shape[-2] / maps[0].shape[1]
    steps = upsampler.steps(patch)
    corner = (0, 0)
    for number, step in enumerate(steps):
        last = number + 1 == len(steps)
        dropped = None if drops is None else (drops.keys[number], drops.fixups[number])
        maps, corner = _double(step, maps, guidance, dropped, window if last else None, recompute)
    return maps, corner


def _double(
    step: JBUStep,
    maps: list[Tensor],
    guidance: Tensor,
    drops: tuple[Tensor, Tensor] | None,
    window: tuple[int, int, int, int] | None,
    recompute: bool,
) -> tuple[list[Tensor], tuple[int, int]]:
    """One doubling of all maps; see `upsample`."""
    h, w = maps[0].shape[1:3]
    rows, columns = (axis(side, step.radius, guidance.device).weights for side in (h, w))
    (halo_rows, source_rows), (halo_columns, source_columns) = (axis_positions(side, step.radius) for side in (h, w))
    top, bottom, left, right = window or (0, 2 * h, 0, 2 * w)
    down, across = (slice(a // TILE, -(-b // TILE)) for a, b in ((top, bottom), (left, right)))
    colours = pool(guidance, (2 * h, 2 * w)).permute(0, 2, 3, 1)
    keys = project(step, colours, None if drops is None else drops[0][:, None, None])
    halos = gather(keys, halo_rows[down], halo_columns[across])  # (B, ty, tx, S, S, 32)
    inner = slice(step.radius, step.radius + TILE)
    inner_rows, inner_columns = (tuple(own[inner] for own in one) for one in (halo_rows[down], halo_columns[across]))
    seen = gather(colours, inner_rows, inner_columns)  # (B, ty, tx, 8, 8, 3)
    batch, ty, tx = halos.shape[:3]
    # the bicubic weights of each tile, for `_tile_kernels`
    y_weights = rows[down].to(keys)[None, :, None].expand(batch, -1, tx, -1, -1).flatten(0, 2)
    x_weights = columns[across].to(keys)[None, None].expand(batch, ty, -1, -1, -1).flatten(0, 2)
    fixups = (
        None if drops is None else drops[1][:, None].expand(-1, ty * tx, -1).flatten(0, 1)[:, None]
    )  # (tiles, 1, T)
    inputs = [halos.flatten(0, 2), seen.flatten(0, 2), x_weights, y_weights, fixups]
    parts = [[None] * len(x_weights) if one is None else one.split(CHUNK_TILES) for one in inputs]
    compute: Callable[..., Tensor] = _recomputed if recompute else _tile_kernels
    # the dropout, if off, is a list of None that is longer than the others
    kernels = torch.cat([compute(step, *chunk) for chunk in zip(*parts, strict=False)]).unflatten(0, (batch, ty, tx))
    doubled = [adaptive_convolution(one, kernels, source_rows[down], source_columns[across]) for one in maps]
    if window is None:
        return [one[:, : 2 * h, : 2 * w] for one in doubled], (0, 0)
    return doubled, (down.start * TILE, across.start * TILE)


def _recomputed(step: JBUStep, *inputs: Tensor | None) -> Tensor:
    """`_tile_kernels`, forgetting everything in between until the backward pass."""
    kernels: Tensor = checkpoint(_tile_kernels, step, *inputs, use_reentrant=False, preserve_rng_state=False)
    return kernels


def _tile_kernels(
    step: JBUStep, halos: Tensor, colours: Tensor, across: Tensor, down: Tensor, drops: Tensor | None
) -> Tensor:
    """The matrices of n tiles: `Guide.kernels`, out of place and with dropout.

    Args:
        step: the learned step.
        halos: (n, S, S, 32), keys.
        colours: (n, 8, 8, 3).
        across: (n, S, A'), bicubic weights of the columns.
        down: (n, S, A), of the rows.
        drops: (n, 1, T), factors on fixup_proj's hidden channels, or None.

    Returns:
        (n, 64, A' · A), on source pixels in (x, y) order.
    """
    n, side = halos.shape[:2]
    inner = slice(step.radius, step.radius + TILE)
    temperature = step.range_temp.exp().clamp(1e-4, 1e4)
    centres = ((halos[:, inner, inner] + step.key_bias) * temperature).reshape(n, PIXELS, -1)
    products = torch.bmm(centres, halos.reshape(n, side * side, -1).transpose(1, 2))
    kernel = _Taps.apply(products, step.radius).softmax(dim=-1)
    kernel = kernel * step.spatial_kernel()
    kernel = kernel / kernel.sum(dim=-1, keepdim=True).clamp(min=1e-7)
    first, first_bias = pointwise(step.fixup_proj[0])
    last, last_bias = pointwise(step.fixup_proj[3])
    taps = kernel.shape[-1]
    hidden = F.linear(kernel, first[:, :taps], first_bias) + F.linear(colours.flatten(1, 2), first[:, taps:])
    hidden = F.gelu(hidden)
    if drops is not None:
        hidden = hidden * drops
    kernel = kernel + 0.1 * F.linear(hidden, last, last_bias)
    return _OnSource.apply(kernel, across, down, step.radius)


def _diagonals(products: Tensor, radius: int) -> Tensor:
    """A view (n, 8, 8, 2r + 1, 2r + 1) of the taps in (n, 64, S²): those of pixel (y, x) begin at column y · S + x."""
    side, width = TILE + 2 * radius, 2 * radius + 1
    strides = (PIXELS * side * side, TILE * side * side + side, side * side + 1, side, 1)
    return products.as_strided((len(products), TILE, TILE, width, width), strides)


class _Taps(Function):
    """Takes the taps (n, 64, T) out of the products (n, 64, S²) of a tile's pixels with its whole halo."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, radius: int) -> Tensor:
        ctx.radius, ctx.shape = radius, products.shape
        return _diagonals(products.contiguous(), radius).reshape(len(products), PIXELS, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        out = grad.new_zeros(ctx.shape)
        view = _diagonals(out, ctx.radius)
        view.copy_(grad.reshape(view.shape))
        return out, None


class _OnSource(Function):
    """Taps (n, 64, T) on enlarged pixels to weights (n, 64, A' · A) on source pixels: linear, so nothing is kept."""

    @staticmethod
    def forward(ctx: Any, taps: Tensor, across: Tensor, down: Tensor, radius: int) -> Tensor:
        ctx.radius = radius
        ctx.save_for_backward(across, down)
        n, side = across.shape[:2]
        banded = taps.new_zeros(n, PIXELS, side * side)
        view = _diagonals(banded, radius)
        view.copy_(taps.reshape(view.shape))
        banded = torch.bmm(banded.view(n, PIXELS * side, side), across).view(n, PIXELS, side, -1)
        return torch.bmm(banded.transpose(2, 3).reshape(n, -1, side), down).view(n, PIXELS, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        across, down = ctx.saved_tensors
        n, side, width = across.shape
        banded = torch.bmm(grad.reshape(n, PIXELS * width, -1), down.transpose(1, 2))
        banded = banded.view(n, PIXELS, width, side).transpose(2, 3).reshape(n, PIXELS * side, width)
        banded = torch.bmm(banded, across.transpose(1, 2)).view(n, PIXELS, side * side)
        return _diagonals(banded, ctx.radius).reshape(n, PIXELS, -1), None, None, None
