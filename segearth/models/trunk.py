"""Hidden states and attention of any layer of a CLIP's image tower, computed when they are asked for."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segearth.errors import UserError
from segearth.models.precision import true_float32

COUNTED_IN = 12  # blocks of ViT-B, by which papers number layers


def attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float | Tensor = 1.0, bias: Tensor | None = None
) -> Tensor:
    """softmax(scale · query keyᵀ + bias) value, with a number or one temperature per image (B, 1, 1, 1)."""
    return F.scaled_dot_product_attention(query * scale, key, value, attn_mask=bias, scale=1.0)


@dataclass(frozen=True)
class Options:
    """Options that users of a method may set.

    Attributes:
        ignore_residual: the replaced block returns its attention alone (no residual, no FFN), as ClearCLIP and
            SegEarth-OV do; if False, x + attention and then the FFN as in CLIP. For GEM: whether the second path
            forgets or accumulates its outputs.
        cls_column_zero: patches take nothing from the [CLS] token in the replaced attention, A[i, 0] = 0 for every
            patch i; the other weights stay as they are.
        cls_row_layers: first and last layer, both included and counted from 1 in a CLIP of 12 blocks, of which the mean
            of CLIP's own attention of the [CLS] token, A[0, :], takes the place of the replaced one's; see
            `scaled_layers`. None: it stays.
    """

    ignore_residual: bool = True
    cls_column_zero: bool = False
    cls_row_layers: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("ignore_residual", "cls_column_zero"):
            if not isinstance(value := getattr(self, name), bool):
                raise UserError(f"{name} is {value!r}: expected True or False; give one")
        layers = self.cls_row_layers
        if layers is None:
            return
        whole = isinstance(layers, list | tuple) and len(layers) == 2 and all(type(layer) is int for layer in layers)
        if not whole or not 1 <= layers[0] <= layers[1] <= COUNTED_IN:
            raise UserError(
                f"cls_row_layers is {layers!r}: expected None, or the first and the last layer, counted from 1 in a "
                f"CLIP of {COUNTED_IN} blocks; give for example (6, 9)"
            )
        object.__setattr__(self, "cls_row_layers", tuple(layers))


def scaled_layers(layers: tuple[int, int], depth: int) -> range:
    """Scales layers of a CLIP with 12 blocks to one with `depth` blocks: times depth / 12, halves rounded up.

    Args:
        layers: the first and the last one, both included, counted from 1.
        depth: number of blocks.
    """
    first, last = (max(1, math.floor(layer * depth / COUNTED_IN + 0.5)) for layer in layers)
    return range(first, last + 1)


class Heads(NamedTuple):
    """The inputs of the attention of a layer.

    Attributes:
        q: queries (B, heads, 1 + h · w, head_dim); token 0 is [CLS], patches follow row by row.
        k: keys, likewise.
        v: values, likewise.
        scale: CLIP's own temperature, head_dim^-0.5, or one for each image, (B, 1, 1, 1).
        grid: (h, w).
    """

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float | Tensor
    grid: tuple[int, int]


class Trunk:
    """Images on their way through the blocks of an image tower, for a read-out.

    Layers are counted from 1; `hidden(0)` is the input of the first. Nothing is computed before it is asked for, and
    only the newest hidden state is kept: ask in ascending order, as going back begins anew. Nothing of the CLIP is
    changed or copied; of a block's attention it reads `in_proj_weight`, `in_proj_bias`, `out_proj` and `num_heads`.

    Attributes:
        options: set by the user, see `Options`.
        grid: number of patches, (h, w).
        depth: number of blocks.
    """

    def __init__(
        self, visual: Any, image: Tensor, options: Options | None = None, antialiased_positions: bool = False
    ) -> None:
        """Takes images; nothing is computed yet.

        Args:
            visual: the image tower, a ViT of open_clip.
            image: (B, 3, H, W), normalised, H and W at least one patch; a remainder at the right and bottom that fills
                no patch is not seen.
            options: set by the user.
            antialiased_positions: how the table of positions is resampled, see `_positions`.
        """
        patch = visual.conv1.stride
        self.options = options or Options()
        self.grid = (image.shape[-2] // patch[0], image.shape[-1] // patch[1])
        self.depth = len(visual.transformer.resblocks)
        self._visual, self._image, self._antialiased = visual, image, antialiased_positions
        self._state: Tensor | None = None
        self._layer = 0  # whose output the state is

    def hidden(self, layer: int) -> Tensor:
        """The output of a layer, (B, 1 + h · w, width); of layer 0, the patches with their positions."""
        if not 0 <= layer <= self.depth:
            raise ValueError(f"no layer {layer}: expected 0 to {self.depth}")
        if self._state is None or layer < self._layer:
            self._state, self._layer = self._embed(), 0
        while self._layer < layer:
            self._state = self._block(self._layer + 1)(self._state)
            self._layer += 1
        return self._state

    def normed(self, layer: int) -> Tensor:
        """The input of a layer's attention, ln_1 of the layer's input: (B, 1 + h · w, width)."""
        normed: Tensor = self._block(layer).ln_1(self.hidden(layer - 1))
        return normed

    def heads(self, layer: int, normed: Tensor | None = None) -> Heads:
        """Queries, keys and values of a layer; `normed` is that of the layer, where it is known."""
        attn = self._block(layer).attn
        qkv = F.linear(self.normed(layer) if normed is None else normed, attn.in_proj_weight, attn.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return Heads(q, k, v, q.shape[-1] ** -0.5, self.grid)

    def attention(self, layer: int, rows: slice = slice(None)) -> Tensor:
        """CLIP's own attention of a layer, softmax(q kᵀ s).

        Args:
            layer: its number, from 1.
            rows: of which tokens; `slice(1)` is [CLS] alone.

        Returns:
            (B, heads, rows, 1 + h · w), each row summing to 1.
        """
        heads = self.heads(layer)
        return (heads.q[:, :, rows] * heads.scale @ heads.k.transpose(-2, -1)).softmax(dim=-1)

    def joined(self, layer: int, mixed: Tensor) -> Tensor:
        """Mixed values of all heads (B, heads, N, head_dim) through the projection of a layer: (B, N, width)."""
        joined: Tensor = self._block(layer).attn.out_proj(mixed.transpose(1, 2).flatten(2))
        return joined

    def finished(self, mixed: Tensor) -> tuple[Tensor, Tensor]:
        """The end of the last block for mixed values (B, heads, 1 + h · w, head_dim), and the projection.

        Returns:
            As `projected`.
        """
        y = self.joined(self.depth, mixed)
        if not self.options.ignore_residual:
            last, x = self._block(self.depth), self.hidden(self.depth - 1)
            x = x + last.ls_1(y)
            y = x + last.ls_2(last.mlp(last.ln_2(x)))
        return self.projected(y)

    def projected(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, 1 + h · w, width) into the joint space: patches (B, D, h, w) and the first token (B, D)."""
        projected = self._visual.ln_post(tokens) @ self._visual.proj  # (B, 1 + hw, D)
        return projected[:, 1:].transpose(1, 2).unflatten(2, self.grid), projected[:, 0]

    def _block(self, layer: int) -> Any:
        """A residual attention block of open_clip, by its number from 1."""
        if not 1 <= layer <= self.depth:
            raise ValueError(f"no layer {layer}: expected 1 to {self.depth}")
        return self._visual.transformer.resblocks[layer - 1]

    def _embed(self) -> Tensor:
        """The patches with their positions, (B, 1 + h · w, width)."""
        visual = self._visual
        weight = visual.conv1.weight
        # CUDA would round float32 here though its matrix products, which are all the rest, are not rounded
        with true_float32() if weight.is_cuda and weight.dtype == torch.float32 else nullcontext():
            x = visual.conv1(self._image.to(weight.dtype))  # (B, width, h, w)
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        embedded: Tensor = visual.ln_pre(x + self._positions().to(x.dtype))
        return embedded

    def _positions(self) -> Tensor:
        """The position embedding (1 + h · w, width) for the grid.

        As the official system does it: the pre-trained table is taken as it is whenever the number of
        tokens fits, whatever the grid's shape; else it is resampled with scale factors enlarged by 0.1
        patch (DINO's way); antialiased, as for GEM, to the exact size, whenever the grid is another.
        """
        table: Tensor = self._visual.positional_embedding
        (h, w), (h0, w0) = self.grid, self._visual.grid_size
        if (h, w) == (h0, w0) or (not self._antialiased and h * w == h0 * w0):
            return table
        grid = table[1:].T.reshape(1, -1, h0, w0).float()
        if self._antialiased:
            grid = F.interpolate(grid, size=(h, w), mode="bicubic", align_corners=False, antialias=True)
        else:
            scale = ((h + 0.1) / h0, (w + 0.1) / w0)
            grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        return torch.cat([table[:1], grid.flatten(2)[0].T.to(table.dtype)])
