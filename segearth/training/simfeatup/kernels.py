"""The upsampler as it is trained: what `JBU` computes, with dropout, over tiles, differentiable in every weight.

The numbers are those of `segearth.models.simfeatup`. Three things keep it fast and small:

- kernels are computed over tiles (see `segearth.models.tile_kernels`), and on request again in the backward pass;
- the 1 × 1 convolution at the end mixes channels and the upsampling mixes pixels, so the convolution (and the first one
  of the image reconstruction) is done on the patches: z + 0.1 (W z + b) = U (F + 0.1 F Wᵀ) + 0.1 b;
- the last doubling computes only the tiles that the jitter shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from segearth.models.simfeatup import JBU, KEY_DIM, JBUStep, pointwise, pool
from segearth.models.tile_kernels import TILE, StepWeights, axis, project_guidance, step_weights, tile_kernels
from segearth.training.simfeatup.adaptive_conv import axis_positions, convolve_tiles, gather

CHUNK_TILES = 224  # tiles whose kernels are computed at once; any number gives the same kernels
KEY_DROPOUT, FIXUP_DROPOUT, CHANNEL_DROPOUT = 0.1, 0.1, 0.2  # as in the modules of JBU


class Drops(NamedTuple):
    """The factors of channel dropout in one pass: 0, or 1 / (1 - p).

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
    uniform = torch.stack([torch.rand(sum(sizes), generator=source) for source in generators])
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
        dropout = None if drops is None else (drops.keys[number], drops.fixups[number])
        maps, corner = _upsample2x(step, maps, guidance, dropout, window if last else None, recompute)
    return maps, corner


def _upsample2x(
    step: JBUStep,
    maps: list[Tensor],
    guidance: Tensor,
    dropout: tuple[Tensor, Tensor] | None,
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
    keys = project_guidance(step, colours, None if dropout is None else dropout[0][:, None, None])
    halos = gather(keys, halo_rows[down], halo_columns[across])  # (B, ty, tx, S, S, 32)
    inner = slice(step.radius, step.radius + TILE)
    inner_rows = tuple(positions[inner] for positions in halo_rows[down])
    inner_columns = tuple(positions[inner] for positions in halo_columns[across])
    tile_colours = gather(colours, inner_rows, inner_columns)  # (B, ty, tx, 8, 8, 3)
    batch, ty, tx = halos.shape[:3]
    tiles = [
        halos.flatten(0, 2),
        tile_colours.flatten(0, 2),
        columns[across].to(keys).expand(batch, ty, -1, -1, -1).flatten(0, 2),
        rows[down, None].to(keys).expand(batch, -1, tx, -1, -1).flatten(0, 2),
    ]
    if dropout is not None:
        tiles.append(dropout[1].repeat_interleave(ty * tx, dim=0))
    weights = step_weights(step)
    compute: Callable[..., Tensor] = _recomputed if recompute else tile_kernels
    chunks = zip(*(part.split(CHUNK_TILES) for part in tiles), strict=True)
    kernels = torch.cat([compute(weights, *chunk) for chunk in chunks]).unflatten(0, (batch, ty, tx))
    doubled = [convolve_tiles(source, kernels, source_rows[down], source_columns[across]) for source in maps]
    if window is None:
        return [pixels[:, : 2 * h, : 2 * w] for pixels in doubled], (0, 0)
    return doubled, (down.start * TILE, across.start * TILE)


def _recomputed(weights: StepWeights, *tiles: Tensor) -> Tensor:
    """Computes `tile_kernels`, and again in the backward pass: nothing in between is kept."""
    kernels: Tensor = checkpoint(tile_kernels, weights, *tiles, use_reentrant=False, preserve_rng_state=False)
    return kernels
