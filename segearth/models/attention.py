"""Dense-prediction methods: how features of patches are read out of a CLIP ViT.

A read-out is a function from a `Trunk` to features and, if the method has it, [CLS]. Most methods replace the attention
of the last block alone: for these, a function from the queries, keys and values of that layer, token 0 = [CLS], to the
mixed values A v is enough, and `last_block` makes a read-out of it. The values to mix are an argument of their own,
because `Options.cls_column_zero` changes them and not the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from segearth.errors import UserError
from segearth.models.trunk import Heads, Options, Trunk, attend, scaled_layers
from segearth.plugins import Registry

Mix: TypeAlias = Callable[[Heads, Tensor], Tensor]
ReadOut: TypeAlias = Callable[[Trunk], "tuple[Tensor, Tensor | None]"]

SIGMA = 5.0  # patches: of NACLIP's neighbourhood, the value of the paper for all of its data sets
GEM_BLOCKS = 6  # the last ones, as the official system has it


def vanilla(z: Heads, values: Tensor) -> Tensor:
    """CLIP's own attention, softmax(q kᵀ s) v (Radford et al., arXiv 2103.00020)."""
    return attend(z.q, z.k, values, z.scale)


def maskclip(z: Heads, values: Tensor) -> Tensor:  # noqa: ARG001
    """Every token keeps its own value: A = I (Zhou et al., MaskCLIP, arXiv 2112.01071)."""
    return values


def sclip(z: Heads, values: Tensor) -> Tensor:
    """[softmax(q qᵀ s) + softmax(k kᵀ s)] v (Wang et al., SCLIP, arXiv 2312.01597)."""
    return attend(z.q, z.q, values, z.scale) + attend(z.k, z.k, values, z.scale)


def clearclip(z: Heads, values: Tensor) -> Tensor:
    """softmax(q qᵀ s) v (Lan et al., ClearCLIP, arXiv 2407.12442)."""
    return attend(z.q, z.q, values, z.scale)


def segearth(z: Heads, values: Tensor) -> Tensor:
    """[softmax(q qᵀ s) + softmax(k kᵀ s) + softmax(v vᵀ s)] v: summed, not averaged.

    Li et al., SegEarth-OV, arXiv 2410.01768, the modulated attention of the last block.
    """
    terms = (attend(x, x, values, z.scale) for x in (z.q, z.k, z.v))
    return next(terms) + next(terms) + next(terms)


def naclip(z: Heads, values: Tensor) -> Tensor:
    """softmax(k kᵀ s + w) v: keys that are alike, and near each other.

    w[(i, j), (m, n)] = exp(-((m - i)² + (n - j)²) / (2 σ²)) for patches in row i, column j and row m, column n, with
    σ = 5 patches; 0 in the row and the column of [CLS]. The block returns this alone, without residual and FFN.

    Hajimiri, Ben Ayed and Dolz, "Pay Attention to Your Neighbours: Training-Free Open-Vocabulary Semantic
    Segmentation", WACV 2025, arXiv 2404.08181, neighbourhood attention with key-key similarity and the reduced last
    block. The authors' code, which agrees, is under the MIT licence; none of it is used here.
    """
    return attend(z.k, z.k, values, z.scale, neighbourhood(z.grid, SIGMA, z.k))


def neighbourhood(grid: tuple[int, int], sigma: float, like: Tensor) -> Tensor:
    """NACLIP's w for a grid of patches, (1 + h · w, 1 + h · w), on the device and of the type of a tensor.

    Its memory grows with the square of the number of patches: 0.15 MB for a window of 224 pixels and patches of 16.
    """
    down, across = (
        torch.exp((place[:, None] - place) ** 2 / (-2 * sigma**2))
        for place in (torch.arange(side, device=like.device, dtype=torch.float32) for side in grid)
    )
    near = torch.einsum("im,jn->ijmn", down, across).flatten(2).flatten(0, 1)
    return F.pad(near, [1, 0, 1, 0]).to(like.dtype)


def last_block(mix: Mix) -> ReadOut:
    """The read-out that replaces the attention of the last block, and follows all `Options`.

    `cls_column_zero` and `cls_row_layers` are two of the changes to the attention map that Niu et al., "ReAttnCLIP",
    CVPR 2026, makes: the column of [CLS] set to zero, A[i, 0] = 0 for patches i, and its row the mean of that of
    middle layers, A[0, :] = mean over l of A⁽ˡ⁾[0, :], of each head by itself. The formulas are from the paper's
    abstract and from two summaries of the paper, which agree; there is no code of it. Its third change, of patches
    among each other, is not here: neither of these two, nor both, is that method, or has its name. It chooses layers
    for each data set; here they are what the user says.
    """

    def read_out(trunk: Trunk) -> tuple[Tensor, Tensor | None]:
        return trunk.finished(_mixed(trunk, mix))

    return read_out


def _mixed(trunk: Trunk, mix: Mix) -> Tensor:
    """The mixed values of the last block, (B, heads, 1 + h · w, head_dim)."""
    options, row = trunk.options, None
    if options.cls_row_layers is not None:
        layers = scaled_layers(options.cls_row_layers, trunk.depth)
        row = torch.stack([trunk.attention(layer, slice(1)) for layer in layers]).mean(dim=0)
    z = trunk.heads(trunk.depth)
    if row is None and not options.cls_column_zero:
        return mix(z, z.v)
    first = mix(z, z.v)[:, :, :1] if row is None else row @ z.v
    patches = mix(z, _without_cls(z.v) if options.cls_column_zero else z.v)[:, :, 1:]
    return torch.cat([first, patches], dim=2)


def _without_cls(values: Tensor) -> Tensor:
    """Sets the values of [CLS] to zero: whatever its weights are, nothing is taken from it."""
    return F.pad(values[:, :, 1:], [0, 0, 1, 0])


def gem(trunk: Trunk) -> tuple[Tensor, None]:
    """Self-self attention of v, k and q in the last six blocks, a second path beside the ordinary one.

    Bousselham et al., GEM, arXiv 2312.00878. The q, k, v of the ordinary path feed it, which is left as it is.
    """
    first = max(trunk.depth - GEM_BLOCKS, 0)
    state: Tensor | None = None if trunk.options.ignore_residual else trunk.hidden(first)
    for layer in range(first + 1, trunk.depth + 1):
        normed = trunk.normed(layer)
        # one temperature an image: s · mean ‖ln_1(x)‖ over all tokens
        norm = normed.norm(dim=-1).mean(dim=-1)[:, None, None, None]
        z = trunk.heads(layer, normed)
        values = _without_cls(z.v) if trunk.options.cls_column_zero else z.v
        y = trunk.joined(layer, self_self(z._replace(scale=z.scale * norm), values))
        state = y if state is None or trunk.options.ignore_residual else state + y
    assert state is not None  # a ViT has blocks
    return trunk.projected(state)[0], None


def self_self(z: Heads, values: Tensor) -> Tensor:
    """GEM's attention: of v, k and q with themselves, refined once and averaged."""

    def attended(x: Tensor) -> Tensor:
        x = F.normalize(x, dim=-1)
        x = F.normalize(attend(x, x, x, z.scale), dim=-1)
        return attend(x, x, values, z.scale)

    return (attended(z.v) + attended(z.k) + attended(z.q)) / 3


@dataclass(frozen=True)
class Method:
    """How dense features are taken from a CLIP ViT.

    Attributes:
        read_out: from a `Trunk` to patch features (B, D, h, w) in the joint space, not normalised, and a [CLS] vector
            (B, D), or None; such as `last_block` makes.
        has_cls: whether it yields a [CLS] vector, of which a share can be subtracted.
        follows: the names of the `Options` that it follows; others are refused.
        antialiased_positions: how positions are resampled for other grids than the CLIP's own, see `Trunk`.
    """

    read_out: ReadOut
    has_cls: bool = True
    follows: frozenset[str] = frozenset()
    antialiased_positions: bool = False


def replacing(mix: Mix) -> Method:
    """Makes the method that replaces the attention of the last block, see `last_block`."""
    return Method(last_block(mix), follows=frozenset(field.name for field in fields(Options)))


_GEM_OPTIONS = frozenset({"ignore_residual", "cls_column_zero"})  # it has no [CLS], so no row of it
METHODS: dict[str, Method] = {
    "vanilla": replacing(vanilla),
    "MaskCLIP": replacing(maskclip),
    "SCLIP": replacing(sclip),
    "GEM": Method(gem, has_cls=False, follows=_GEM_OPTIONS, antialiased_positions=True),
    "ClearCLIP": replacing(clearclip),
    "SegEarth": replacing(segearth),
    # beyond the paper
    "NACLIP": replacing(naclip),
}


REGISTRY = Registry("method", "segearth.methods", METHODS)


def register_method(name: str, method: Method) -> None:
    """Adds a method for this process; a package does it by an entry point of the group "segearth.methods".

    Raises:
        UserError: the name is taken.
    """
    REGISTRY.register(name, method)


def find_method(name: str) -> Method:
    """A method by its name, of the table or of an installed package.

    Raises:
        UserError: an unknown name, or a package whose method is none.
    """
    if not is_method(name):
        raise UserError(f"unknown method {name!r}: expected one of {', '.join(method_names())}; use one of these")
    method = REGISTRY.load(name)
    if not isinstance(method, Method):
        kind = type(method).__name__
        raise REGISTRY.broken(name, f"is of type {kind}, not segearth.models.attention.Method")
    return REGISTRY.table.setdefault(name, method)


def method_names() -> list[str]:
    """The names of all methods, those of the table first."""
    return REGISTRY.names()


def is_method(name: object) -> bool:
    """Whether a name is that of a method, of the table or of an installed package."""
    return REGISTRY.has(name)


def check_method(name: str, options: Options) -> Method:
    """Finds a method as `find_method` does, and checks the options for it.

    Raises:
        UserError: as `find_method`; or an option that the method does not follow.
    """
    method = find_method(name)
    for field in fields(Options):
        value = getattr(options, field.name)
        if value != field.default and field.name not in method.follows:
            others = ", ".join(other for other in METHODS if field.name in METHODS[other].follows)
            raise UserError(
                f"{field.name} is {value}, which the method {name} does not follow: expected {field.default}; leave it "
                f"out, or use one of {others}"
            )
    return method
