"""Cosine logits of upsampled features without the D-channel pixel map: exact, at a fraction of the work.

Let F (N × D) be a window's patch features, U (P × N) the upsampling to P pixels, W and b the weight and bias of the
upsampler's last 1 × 1 convolution. The definition is

    z = U F,    o = z + 0.1 (z Wᵀ + b),    logits[p, q] = o_p · t_q / ‖o_p‖    for unit queries t_q.

1. U acts on pixels and W on channels, so they commute: o = U Y + 1 cᵀ with Y = F (I + 0.1 Wᵀ) on the N patches and
   c = 0.1 b. (The rows of U do not sum to 1, so c is added after U.)
2. A QR decomposition [Y; cᵀ]ᵀ = Q R has an orthonormal Q (D × r), r = min(D, N + 1), so that ‖o_p‖ = ‖Qᵀ o_p‖ and
   o_p · t_q = Qᵀ o_p · Qᵀ t_q: the r-vectors Qᵀ o_p = R_Y U_pᵀ + r_c are all that is needed.
3. So U is applied to r channels instead of D. The Q products of the numerator join them as channels of their own
   before the last step, which ends in logits, tile by tile.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.models.simfeatup import JBU, Bilinear, JBUStep, pointwise
from segearth.models.tiles import TILE, double, untile, upsample_tiles


class Reduced(NamedTuple):
    """A window's features in the r dimensions that matter (and some of zeros).

    Attributes:
        source: (h, w, r), to be upsampled.
        shift: (r,), to be added to every pixel afterwards.
        queries: (r, Q).
    """

    source: Tensor
    shift: Tensor
    queries: Tensor

    def with_products(self, maps: Tensor) -> Tensor:
        """Maps (..., r) with their products with the queries as Q more channels: cheaper before they are upsampled."""
        return torch.cat([maps, maps @ self.queries], dim=-1)

    def logits(self, upsampled: Tensor) -> Tensor:
        """Cosines (..., Q) from what `with_products` gave, upsampled, (..., r + Q)."""
        rank = len(self.shift)
        norm = torch.linalg.vector_norm(upsampled[..., :rank] + self.shift, dim=-1, keepdim=True)
        return (upsampled[..., rank:] + self.shift @ self.queries).div_(norm.clamp_(min=1e-12))


def reduce(features: Tensor, upsampler: nn.Module, queries: Tensor) -> list[Reduced]:
    """Folds the last convolution into the patch features and rotates them into r = min(D, N + 1) dimensions.

    Args:
        features: (n, D, h, w) float32, of n windows.
        upsampler: a `JBU`, or `Bilinear`, which has no convolution.
        queries: (Q, D), of length 1.
    """
    n, dim, h, w = features.shape
    tokens = features.flatten(2).transpose(1, 2)  # (n, N, D)
    shift = features.new_zeros(n, 1, dim)
    if isinstance(upsampler, JBU):
        weight, bias = pointwise(upsampler.fixup_proj[1])
        tokens = tokens + 0.1 * tokens @ weight.T
        shift = shift + 0.1 * bias
    projected = queries.T.expand(n, -1, -1)
    if h * w + 1 < dim:
        stacked = torch.cat([tokens, shift], dim=1).transpose(1, 2)  # (n, D, N + 1)
        basis, coordinates = torch.linalg.qr(stacked)
        projected = basis.transpose(1, 2) @ projected
        tokens, shift = coordinates.transpose(1, 2).split([h * w, 1], dim=1)
    # channels of zeros change nothing, and matrix products like multiples of 16
    zeros = -(tokens.shape[2] + len(queries)) % 16
    maps = F.pad(tokens, [0, zeros]).reshape(n, h, w, -1)
    shift, projected = F.pad(shift[:, 0], [0, zeros]), F.pad(projected, [0, 0, 0, zeros])
    return [Reduced(*parts) for parts in zip(maps, shift, projected, strict=True)]


@torch.no_grad()  # for inference: what is trained is trained on the plain upsampler
def cosine_logits(
    upsampler: nn.Module,
    features: Tensor,
    picture: Tensor,
    offsets: list[tuple[int, int]],
    queries: Tensor,
    patch: int,
) -> Tensor:
    """Cosines of every pixel's upsampled feature and every query, for windows of one picture.

    Equal, to rounding, to `normalize(upsampler(features, guidance))` times the queries for each window alone.

    Args:
        upsampler: `JBUOne`, `JBUStack`, `Bilinear`, or any module (source, guidance) -> (n, D, H, W).
        features: (n, D, h, w) float32, the patch features of n windows.
        picture: (3, H, W), the normalised image that holds the windows.
        offsets: (top, left) of each window, in pixels.
        queries: (Q, D), of length 1.
        patch: side of a patch in pixels.

    Returns:
        (n, Q, h · patch, w · patch).

    Raises:
        ValueError: a window that does not lie in the picture.
    """
    h, w = features.shape[-2:]
    size = (h * patch, w * patch)
    if any(y + size[0] > picture.shape[-2] or x + size[1] > picture.shape[-1] for y, x in offsets):
        raise ValueError(f"windows of {size} pixels at {offsets} do not lie in a picture of {tuple(picture.shape)}")
    guides = [picture[:, y : y + size[0], x : x + size[1]] for y, x in offsets]
    if not isinstance(upsampler, JBU | Bilinear):
        maps = [upsampler(f[None], g[None]) for f, g in zip(features, guides, strict=True)]
        return torch.cat([torch.einsum("ndhw,qd->nqhw", F.normalize(m, dim=1), queries) for m in maps])
    reduced = reduce(features, upsampler, queries)
    if isinstance(upsampler, JBU) and min(h, w) >= upsampler.min_patches:
        return _tiled(upsampler, reduced, picture, offsets, size)
    interpolate = upsampler.interpolate if isinstance(upsampler, JBU) else upsampler
    pixels = [
        one.logits(interpolate(one.with_products(one.source).permute(2, 0, 1)[None], guide[None])[0].permute(1, 2, 0))
        for one, guide in zip(reduced, guides, strict=True)
    ]
    return torch.stack(pixels).permute(0, 3, 1, 2)


def _tiled(
    upsampler: JBU, reduced: list[Reduced], picture: Tensor, offsets: list[tuple[int, int]], size: tuple[int, int]
) -> Tensor:
    """All steps in tiles; the last one ends in logits, so that no map of r channels is made at full size.

    Where the steps do not end at the windows' size, for a patch side that is no power of two, such a map is made after
    all, and resized.
    """
    maps = [one.source for one in reduced]
    *steps, last = upsampler.steps(size[0] / len(maps[0]))
    for step in steps:
        maps = _double_all(step, maps, picture, offsets, size)
    maps = [one.with_products(m) for one, m in zip(reduced, maps, strict=True)]
    height, width = 2 * maps[0].shape[0], 2 * maps[0].shape[1]
    logits = picture.new_empty(len(maps), *size, reduced[0].queries.shape[1])
    if (height, width) != size:
        for i, pixels in enumerate(_double_all(last, maps, picture, offsets, size)):
            resized = F.interpolate(pixels.permute(2, 0, 1)[None], size=size, mode="bilinear", align_corners=False)
            logits[i] = reduced[i].logits(resized[0].permute(1, 2, 0))
        return logits.permute(0, 3, 1, 2)
    for members, guidance, places in _shared(picture, offsets, size, size):
        for number, rows, tiles in upsample_tiles(last, [maps[i] for i in members], guidance, places):
            pixels = untile(reduced[members[number]].logits(tiles))
            logits[members[number], rows] = pixels[: height - rows.start, :width]
    return logits.permute(0, 3, 1, 2)


def _double_all(
    step: JBUStep,
    maps: list[Tensor],
    picture: Tensor,
    offsets: list[tuple[int, int]],
    size: tuple[int, int],
) -> list[Tensor]:
    """Doubles the maps of all windows, in the groups that share kernels."""
    doubled = (2 * maps[0].shape[0], 2 * maps[0].shape[1])
    return [
        one
        for members, guidance, places in _shared(picture, offsets, size, doubled)
        for one in double(step, [maps[i] for i in members], guidance, places)
    ]


def _shared(
    picture: Tensor, offsets: list[tuple[int, int]], size: tuple[int, int], doubled: tuple[int, int]
) -> list[tuple[list[int], Tensor, list[tuple[int, int]]]]:
    """Which windows can share kernels in a step: all, where pooling and tiles fall alike in them; else none.

    Args:
        picture: (3, H, W).
        offsets: of the windows, in pixels.
        size: the windows' (height, width) in pixels.
        doubled: their size after the step.

    Returns:
        For each group: its windows in order, their common guidance at the step's resolution, their offsets in it.
    """
    factor = size[0] // doubled[0]
    aligned = (
        factor > 0
        and (factor * doubled[0], factor * doubled[1]) == size
        and all(side % TILE == 0 for side in doubled)  # else the border's kernels reach into the last tile but one
        and min(doubled) >= 3 * TILE  # fewer tiles are border all over: there is nothing to share
        and all(offset % (TILE * factor) == 0 for pair in offsets for offset in pair)
    )
    if aligned:
        height, width = (side // factor for side in picture.shape[-2:])
        pooled = F.adaptive_avg_pool2d(picture[:, : height * factor, : width * factor], (height, width))
        return [(list(range(len(offsets))), pooled, [(y // factor, x // factor) for y, x in offsets])]
    return [
        ([i], F.adaptive_avg_pool2d(picture[:, y : y + size[0], x : x + size[1]], doubled), [(0, 0)])
        for i, (y, x) in enumerate(offsets)
    ]
