"""The losses: upsampled features against the patch features of the jittered image, and against its colours.

Pixel maps of D channels are the largest thing in training. Losses on them are sums over rows of patches, so they are
computed row by row, each with its gradient at once (`streamed`): what lies between map and loss is never kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from segearth.models.simfeatup import pointwise

PROJECTIONS = 30  # columns of P; this and all numbers below: SimFeatUp's training
INITIAL_SCALE = 0.1  # of the uncertainty's weight and bias, against torch's default
LEAST_SIGMA = 1e-4
PATCH_DROPOUT = 0.2
PIXEL_DROPOUT = 0.2
SPREAD = 0.01  # of the downsampler's initial weights
_THRESHOLD = round(PIXEL_DROPOUT * 2**16)  # dropout is drawn in 16 bits: p = 13107 / 65536


class Downsampler(nn.Module):
    """Pixel features to patch features: an attention over each patch's pixels (FeatUp, section 3.2)."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.attention = nn.Linear(dim, 1)
        self.weight = nn.Parameter(1 + SPREAD * torch.randn(patch, patch))
        self.bias = nn.Parameter(SPREAD * torch.randn(patch, patch))

    def forward(self, patches: Tensor, kept: Tensor, pixels: Tensor | None) -> Tensor:
        """Averages the pixels of patches.

        Args:
            patches: (..., p², D), blurred features.
            kept: (..., 1), 1 or 0 for each patch: its logits' factor.
            pixels: factors of element-wise dropout on what the logits are computed from, like `patches`, or None.

        Returns:
            (..., D).
        """
        seen = patches if pixels is None else patches * pixels
        logits = self.attention(seen)[..., 0] * kept
        attention = (logits * self.weight.flatten() + self.bias.flatten()).softmax(dim=-1)
        return torch.matmul(attention[..., None, :], patches)[..., 0, :]


class Uncertainty(nn.Module):
    """How far off each patch may be: one positive number from its features (FeatUp, equation 4)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, 1, 1)
        with torch.no_grad():
            for parameter in self.conv.parameters():
                parameter.mul_(INITIAL_SCALE)

    def forward(self, features: Tensor) -> Tensor:
        """Patch features (B, h, w, D) to s (B, h, w), at least 1e-4."""
        weight, bias = pointwise(self.conv)
        return (F.linear(features, weight, bias) + 0.1).exp().clamp(min=LEAST_SIGMA)[..., 0]


class ContentRetention(nn.Module):
    """CRN: the image's colours from pixel features (SegEarth-OV, section 3.2).

    `forward` begins after the first convolution, which mixes channels alone and is done on the patches.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(dim, dim, 1)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.last = nn.Conv2d(dim, 3, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D), the first convolution's output, to colours (..., 3) between -1 and 1."""
        return F.linear(F.gelu(self.norm(hidden)), *pointwise(self.last)).tanh()


def draw_projection(dim: int, generator: torch.Generator) -> Tensor:
    """P (D, 30): standard normal, on the CPU, its columns scaled to norm 1."""
    return F.normalize(torch.randn(dim, PROJECTIONS, generator=generator), dim=0)


def draw_kept(count: int, generator: torch.Generator) -> Tensor:
    """(count,) ones and, with probability 0.2, zeros: patches whose attention ignores the features."""
    return (torch.rand(count, generator=generator) >= PATCH_DROPOUT).float()


def draw_pixels(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Element-wise dropout: True where an element is kept, on the generator's device.

    Four elements are drawn at once from 64 random bits: there are as many as in a pixel map.
    """
    count = torch.Size(shape).numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64, device=generator.device)
    bits = bits.random_(-(2**63), None, generator=generator).view(torch.int16)
    return (bits[:count] >= _THRESHOLD - 2**15).view(shape)


def reconstruction(
    blurred: Tensor,
    shift: Tensor,
    sigma: Tensor,
    target: Tensor,
    projection: Tensor,
    kept: Tensor,
    downsampler: Downsampler,
    total: int,
    pixels: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Σ e² / (2 s²) + log s over patches, with e = P · down(J(z)) - P · features(J(x)) (FeatUp, equation 4).

    Args:
        blurred: (B, H, W, D), the jittered and blurred pixel features, but for `shift`.
        shift: (D,), to be added to each.
        sigma: (B, h, w), s of each patch.
        target: (B, h, w, D), features(J(x)).
        projection: (B, D, 30), P of each image.
        kept: (B, h, w), 1 or 0 for each patch; see `Downsampler`.
        downsampler: with patches of H / h pixels.
        total: images of the whole step, over which the mean is taken.
        pixels: gives the element-wise dropout of a row of patches, True where kept, (B, patch, W, D).

    Returns:
        This batch's share of the mean over total × 30 × h × w; may be negative.
    """
    h, w = sigma.shape[1:]
    patch = blurred.shape[1] // h
    weights = list(downsampler.parameters())
    names = [name for name, _ in downsampler.named_parameters()]
    per_patch = 1 / (total * h * w)

    def part(row: int, slab: Tensor, shared: list[Tensor]) -> Tensor:
        shift, sigma, *parameters = shared
        features = _patches(slab + shift, patch)
        drops = None if pixels is None else _patches(pixels(row), patch) * (2**16 / (2**16 - _THRESHOLD))
        named = dict(zip(names, parameters, strict=True))
        down = torch.func.functional_call(downsampler, named, (features, kept[:, row, :, None], drops))
        error = torch.bmm(down - target[:, row], projection)
        s = sigma[:, row]
        return ((error**2).mean(dim=-1) / (2 * s**2) + s.log()).sum() * per_patch

    return streamed(part, patch, blurred, [shift, sigma, *weights])


def image_reconstruction(
    hidden: Tensor, shift: Tensor, image: Tensor, crn: ContentRetention, patch: int, total: int
) -> Tensor:
    """Mean squared error between the jittered image and what CRN reads from the features (SegEarth-OV, equation 7).

    Args:
        hidden: (B, H, W, D), the jittered output of CRN's first convolution, but for `shift`.
        shift: (D,), to be added to each.
        image: (B, H, W, 3), the jittered image.
        crn: the rest of it.
        patch: rows that are worked on at once.
        total: images of the whole step.

    Returns:
        This batch's share of the mean over total × H × W × 3.
    """
    named = [(name, parameter) for name, parameter in crn.named_parameters() if not name.startswith("first.")]
    scale = 1 / (total * image[0].numel())

    def part(row: int, slab: Tensor, shared: list[Tensor]) -> Tensor:
        shift, *parameters = shared
        weights = dict(zip((name for name, _ in named), parameters, strict=True))
        colours = torch.func.functional_call(crn, weights, (slab + shift,))
        return ((colours - image[:, row * patch : (row + 1) * patch]) ** 2).sum() * scale

    return streamed(part, patch, hidden, [shift, *(parameter for _, parameter in named)])


def streamed(
    part: Callable[[int, Tensor, list[Tensor]], Tensor], side: int, maps: Tensor, shared: list[Tensor]
) -> Tensor:
    """A sum over bands of rows, whose gradient is computed along with it, band by band.

    Args:
        part: (number, band (B, side, W, C), shared tensors) -> the band's share, a scalar. It must take from `shared`
            whatever it depends on and that is trained.
        side: rows of a band.
        maps: (B, H, W, C).
        shared: what all bands depend on.
    """
    return _Streamed.apply(part, side, maps, *shared)


class _Streamed(Function):
    @staticmethod
    def forward(ctx: Any, part: Any, side: int, maps: Tensor, *shared: Tensor) -> Tensor:
        leaves = [tensor.detach().requires_grad_() for tensor in shared]
        total, gradients = maps.new_zeros(()), [torch.zeros_like(tensor) for tensor in shared]
        d_maps = torch.empty_like(maps)
        for number in range(maps.shape[1] // side):
            rows = slice(number * side, (number + 1) * side)
            with torch.enable_grad():
                band = maps[:, rows].detach().requires_grad_()
                share = part(number, band, leaves)
                band_gradients = torch.autograd.grad(share, [band, *leaves], allow_unused=True)
            total += share.detach()
            d_maps[:, rows] = band_gradients[0]
            for gradient, addend in zip(gradients, band_gradients[1:], strict=True):
                if addend is not None:
                    gradient += addend
        ctx.gradients = [d_maps, *gradients]
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients = [
            gradient.mul_(grad) for gradient in ctx.gradients
        ]  # in place: there is no other use, and one is large
        del ctx.gradients
        return None, None, *gradients


def _patches(rows: Tensor, patch: int) -> Tensor:
    """A row of patches (B, p, W, D), w of them side by side, to (B, w, p², D)."""
    return rows.unflatten(2, (-1, patch)).transpose(1, 2).flatten(2, 3)
