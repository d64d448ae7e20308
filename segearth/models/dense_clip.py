"""Dense features from an unmodified CLIP: patch tokens that mean something in CLIP's joint space."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.errors import UserError
from segearth.models.attention import METHODS
from segearth.models.precision import true_float32


class DenseCLIP(nn.Module):
    """The image tower of an `open_clip.CLIP`, read out patch by patch.

    Nothing of the CLIP is changed or copied: its blocks run as they are, only the last one is
    replaced by a computation on its weights. Of a block's attention it reads `in_proj_weight`,
    `in_proj_bias`, `out_proj` and `num_heads`.
    """

    def __init__(self, clip: nn.Module, method: str = "SegEarth", ignore_residual: bool = True) -> None:
        """Wraps the image tower.

        Args:
            clip: an `open_clip.CLIP` with a ViT image tower of any patch size.
            method: a name of `segearth.models.attention.METHODS`.
            ignore_residual: the replaced block returns its attention alone (no residual, no FFN), as
                ClearCLIP and SegEarth-OV do; if False, x + attention and then the FFN as in CLIP. For
                GEM: whether the second path forgets or accumulates its outputs.

        Raises:
            UserError: unknown method, or an image tower that is no open_clip ViT.
        """
        super().__init__()
        if method not in METHODS:
            raise UserError(f"unknown method {method!r}: use one of {', '.join(METHODS)}")
        visual: Any = getattr(clip, "visual", None)
        if not hasattr(visual, "transformer") or not hasattr(visual, "class_embedding"):
            raise UserError(
                f"the image tower {type(visual).__name__} is no ViT of open_clip: "
                "give an open_clip.CLIP such as ViT-B-16-quickgelu"
            )
        self.visual = visual
        self.method = method
        self.ignore_residual = ignore_residual

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.visual.conv1.stride[0])

    @property
    def dim(self) -> int:
        """Width D of the features."""
        return int(self.visual.proj.shape[1])

    @property
    def width(self) -> int:
        """Width of the transformer's tokens."""
        return int(self.visual.conv1.out_channels)

    @property
    def has_cls(self) -> bool:
        """Whether the method yields a [CLS] vector (GEM does not)."""
        return METHODS[self.method].depth == 1

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Encodes images.

        Args:
            image: (B, 3, H, W), normalised with CLIP's mean and standard deviation, H and W at least one
                patch; a remainder at the right and bottom that fills no patch is not seen.

        Returns:
            Patch features (B, D, h, w) with h = H // patch_size, in the joint space but not normalised,
            and the [CLS] vector (B, D) of the same modified output, or None for GEM.

        Raises:
            ValueError: an image smaller than a patch.
        """
        if min(image.shape[-2:]) < self.patch_size:
            raise ValueError(
                f"an image of {tuple(image.shape[-2:])} pixels has no patch of {self.patch_size}: enlarge it"
            )
        if self.has_cls:
            return self._read_out(*self._trunk(image))
        x, grid = self._embed(image)
        return self._project(self._second_path(x), grid)[0], None

    def input_features(self, image: Tensor) -> Tensor:
        """Patch features of what goes into the last block: SimFeatUp was trained on these.

        Args:
            image: as in `forward`.

        Returns:
            (B, D, h, w): the output of the last block but one, after ln_post and the projection; independent of
            the method.
        """
        return self._project(*self._trunk(image))[0]

    def with_embedding(self, image: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """`forward`, and CLIP's own embedding of some of the images for the price of one more block.

        Args:
            image: as in `forward`, of the size that the CLIP was made for.
            chosen: K indices into the batch.

        Returns:
            Patch features (B, D, h, w), [CLS] vectors (B, D), and (K, D): what `clip.encode_image` gives.
        """
        x, grid = self._trunk(image)
        own = self.visual.transformer.resblocks[-1](x[list(chosen)])
        return *self._read_out(x, grid), self._project(own, grid)[1]

    def _read_out(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The replaced last block: its input (B, 1 + hw, width) to features (B, D, h, w) and [CLS] (B, D)."""
        return self._project(self._last_block(x), grid)

    def _trunk(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, 3, H, W) to what goes into the last block, (B, 1 + hw, width), and the grid (h, w)."""
        x, grid = self._embed(image)
        for block in self.visual.transformer.resblocks[:-1]:
            x = block(x)
        return x, grid

    def _project(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Tokens (B, 1 + hw, width) into the joint space: patches (B, D, h, w) and the first token (B, D)."""
        tokens = self.visual.ln_post(x) @ self.visual.proj  # (B, 1 + hw, D)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, grid), tokens[:, 0]

    def _embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, 3, H, W) to tokens with positions (B, 1 + hw, width), and the grid (h, w)."""
        visual = self.visual
        weight = visual.conv1.weight
        # CUDA would round float32 here though its matrix products, which are all the rest, are not rounded
        with true_float32() if weight.is_cuda and weight.dtype == torch.float32 else nullcontext():
            x = visual.conv1(image.to(weight.dtype))  # (B, width, h, w)
        h, w = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        return visual.ln_pre(x + self._positions(h, w).to(x.dtype)), (h, w)

    def _positions(self, h: int, w: int) -> Tensor:
        """The position embedding (1 + hw, width) for a grid of h × w patches.

        As the official system does it: the pre-trained table is taken as it is whenever the number of
        tokens fits, whatever the grid's shape; else it is resampled with scale factors enlarged by 0.1
        patch (DINO's way), for GEM to the exact size and antialiased.
        """
        table: Tensor = self.visual.positional_embedding
        h0, w0 = self.visual.grid_size
        if (h, w) == (h0, w0) or (self.has_cls and h * w == h0 * w0):
            return table
        grid = table[1:].T.reshape(1, -1, h0, w0).float()
        if self.has_cls:
            scale = ((h + 0.1) / h0, (w + 0.1) / w0)
            grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        else:
            grid = F.interpolate(grid, size=(h, w), mode="bicubic", align_corners=False, antialias=True)
        return torch.cat([table[:1], grid.flatten(2)[0].T.to(table.dtype)])

    def _last_block(self, x: Tensor) -> Tensor:
        """The last block with the method's attention."""
        last = self.visual.transformer.resblocks[-1]
        normed = last.ln_1(x)
        y = self._attention(last, normed, scale=None)
        if self.ignore_residual:
            return y
        x = x + last.ls_1(y)
        return x + last.ls_2(last.mlp(last.ln_2(x)))

    def _second_path(self, x: Tensor) -> Tensor:
        """GEM: the last blocks feed a second path, from the q, k, v of the ordinary one."""
        blocks = list(self.visual.transformer.resblocks)
        first = max(len(blocks) - METHODS[self.method].depth, 0)
        for block in blocks[:first]:
            x = block(x)
        state = x
        for i, block in enumerate(blocks[first:], start=first):
            normed = block.ln_1(x)
            # one temperature an image: s · mean ‖ln_1(x)‖ over all tokens
            norm = normed.norm(dim=-1).mean(dim=-1)[:, None, None, None]
            y = self._attention(block, normed, scale=norm)
            state = y if self.ignore_residual else state + y
            if i + 1 < len(blocks):
                x = block(x)
        return state

    def _attention(self, block: Any, normed: Tensor, scale: Tensor | None) -> Tensor:
        """The method's attention with a block's weights: (B, N, width) to (B, N, width).

        Args:
            block: a residual attention block of open_clip.
            normed: ln_1 of the block's input.
            scale: factor on the usual temperature head_dim^-0.5, (B, 1, 1, 1).
        """
        attn = block.attn
        qkv = F.linear(normed, attn.in_proj_weight, attn.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, head_dim)
        temperature = q.shape[-1] ** -0.5
        mixed = METHODS[self.method].mix(q, k, v, temperature if scale is None else temperature * scale)
        return attn.out_proj(mixed.transpose(1, 2).flatten(2))
