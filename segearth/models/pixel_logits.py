"""From encoded windows to logits of their pixels: upsampling, cosines with the queries, the [CLS] token's share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.models.encoded_windows import Part
from segearth.models.factored import cosine_logits, is_linear, joined_logits, pixel_norms, query_products
from segearth.models.precision import true_float32
from segearth.models.window_groups import WindowGroup


@dataclass(frozen=True, eq=False)
class PixelLogits:
    """logits(x, q) = f(x) · q + λ · [CLS] · q, with f the upsampled patch features, all L2-normalised.

    Attributes:
        upsampler: see `SegEarth`.
        query_features: (Q, D) float32, normalised.
        cls_token_lambda: λ.
        patch_size: side of a patch in pixels.
    """

    upsampler: nn.Module | None
    query_features: Tensor
    cls_token_lambda: float
    patch_size: int

    def of_parts(self, parts: list[Part], scratch_mb: float) -> list[Tensor]:
        """`of_group` of several groups, upsampled together.

        Args:
            parts: one at least.
            scratch_mb: that may be gathered for them.
        """
        if len(parts) == 1 or self.upsampler is None:
            return [self.of_group(*part[1:], scratch_mb=scratch_mb) for part in parts]
        groups = [part.group for part in parts]
        logits = joined_logits(
            self.upsampler,
            torch.cat([part.features for part in parts]),
            [group.picture.float() for group in groups],
            [group.offsets for group in groups],
            self.query_features,
            self.patch_size,
            scratch_mb,
        )
        own = logits.split([len(group.windows) for group in groups])
        return [self._finished(part.group, values, part.cls) for part, values in zip(parts, own, strict=True)]

    def of_group(
        self,
        group: WindowGroup,
        features: Tensor,
        cls: Tensor | None,
        norms: Tensor | None = None,
        *,
        scratch_mb: float,
    ) -> Tensor:
        """Logits (n, Q, h, w) of a group of windows, without their padding.

        Args:
            group: n windows.
            features: as in `EncodedGroup`.
            cls: likewise.
            norms: likewise.
            scratch_mb: that may be gathered for them.
        """
        if self.upsampler is None:
            # one by one: products of several windows may be rounded in another way than those of one
            similarity = torch.cat([self._similarity(window) for window in features.split(1)])
            logits = F.interpolate(similarity, size=group.size, mode="bilinear", align_corners=False)
        else:
            where = (group.picture.float(), group.offsets, self.query_features, self.patch_size, scratch_mb)
            if norms is not None and is_linear(self.upsampler):
                logits = query_products(self.upsampler, features, *where) / norms
            else:
                logits = cosine_logits(self.upsampler, features, *where)
        return self._finished(group, logits, cls)

    def norms(self, group: WindowGroup, features: Tensor, scratch_mb: float) -> Tensor | None:
        """Lengths (n, 1, height, width) of a group's upsampled features, where the upsampler is linear in them."""
        if self.upsampler is None or not is_linear(self.upsampler):
            return None
        return pixel_norms(self.upsampler, features, group.picture.float(), group.offsets, self.patch_size, scratch_mb)

    def on_patch_grid(self, features: Tensor, cls: Tensor | None) -> Tensor:
        """Logits (n, Q, h, w) of patch features, which are not upsampled."""
        share = self._cls_share(cls)
        return self._similarity(features) if share is None else self._similarity(features) + share

    def _finished(self, group: WindowGroup, logits: Tensor, cls: Tensor | None) -> Tensor:
        """Logits of a group's windows with the [CLS] token's share and without padding."""
        if (share := self._cls_share(cls)) is not None:
            logits += share
        return logits[(slice(None), slice(None), *group.inner)]

    @true_float32()
    def _cls_share(self, cls: Tensor | None) -> Tensor | None:
        """The [CLS] token's share λ · [CLS] · q, (n, Q, 1, 1); None where there is none."""
        if cls is None or self.cls_token_lambda == 0:
            return None
        # no matrix product, whose rounding depends on the number of windows
        products = (F.normalize(cls, dim=-1)[:, None] * self.query_features).sum(dim=-1)
        return (self.cls_token_lambda * products)[:, :, None, None]

    @true_float32()
    def _similarity(self, features: Tensor) -> Tensor:
        """Cosine of features (n, D, h, w) and queries: (n, Q, h, w)."""
        return torch.einsum("ndhw,qd->nqhw", F.normalize(features.float(), dim=1), self.query_features)
