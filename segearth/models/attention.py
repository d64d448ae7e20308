"""What the last block of a CLIP ViT attends with: the dense-prediction methods, one table.

Every method is a pure function of the queries, keys and values of one attention layer, each
(B, heads, N, head_dim) with token 0 = [CLS], and of a temperature `scale`, to the mixed values A v of
the same shape. How the result leaves the block (residual, FFN) is `DenseCLIP`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float | Tensor) -> Tensor:
    """softmax(scale · query keyᵀ) value, with a number or one temperature per image (B, 1, 1, 1)."""
    return F.scaled_dot_product_attention(query * scale, key, value, scale=1.0)


def vanilla(q: Tensor, k: Tensor, v: Tensor, scale: float | Tensor) -> Tensor:
    """CLIP's own attention, softmax(q kᵀ s) v (Radford et al., arXiv 2103.00020)."""
    return attend(q, k, v, scale)


def maskclip(q: Tensor, k: Tensor, v: Tensor, scale: float | Tensor) -> Tensor:  # noqa: ARG001
    """Every token keeps its own value: A = I (Zhou et al., MaskCLIP, arXiv 2112.01071)."""
    return v


def sclip(q: Tensor, k: Tensor, v: Tensor, scale: float | Tensor) -> Tensor:
    """[softmax(q qᵀ s) + softmax(k kᵀ s)] v (Wang et al., SCLIP, arXiv 2312.01597)."""
    return attend(q, q, v, scale) + attend(k, k, v, scale)


def clearclip(q: Tensor, k: Tensor, v: Tensor, scale: float | Tensor) -> Tensor:  # noqa: ARG001
    """softmax(q qᵀ s) v (Lan et al., ClearCLIP, arXiv 2407.12442)."""
    return attend(q, q, v, scale)


def segearth(q: Tensor, k: Tensor, v: Tensor, scale: float | Tensor) -> Tensor:
    """[softmax(q qᵀ s) + softmax(k kᵀ s) + softmax(v vᵀ s)] v: summed, not averaged.

    Li et al., SegEarth-OV, arXiv 2410.01768, the modulated attention of the last block.
    """
    return attend(q, q, v, scale) + attend(k, k, v, scale) + attend(v, v, v, scale)


def gem(q: Tensor, k: Tensor, v: Tensor, scale: float | Tensor) -> Tensor:
    """Self-self attention of v, k and q, refined once and averaged (Bousselham et al., arXiv 2312.00878)."""

    def self_self(z: Tensor) -> Tensor:
        z = F.normalize(z, dim=-1)
        z = F.normalize(attend(z, z, z, scale), dim=-1)
        return attend(z, z, v, scale)

    return (self_self(v) + self_self(k) + self_self(q)) / 3


@dataclass(frozen=True)
class Method:
    """How dense features are taken from a CLIP ViT.

    Attributes:
        mix: the attention, one of the functions above.
        depth: how many of the last blocks are given a second path. 1 replaces the last block; more is
            GEM's walk, which leaves the ordinary path as it is and yields no [CLS].
    """

    mix: Callable[[Tensor, Tensor, Tensor, float | Tensor], Tensor]
    depth: int = 1


METHODS: dict[str, Method] = {
    "vanilla": Method(vanilla),
    "MaskCLIP": Method(maskclip),
    "SCLIP": Method(sclip),
    "GEM": Method(gem, depth=6),
    "ClearCLIP": Method(clearclip),
    "SegEarth": Method(segearth),
}
