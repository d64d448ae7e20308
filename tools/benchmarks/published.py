"""The method as it was published: window by window, with a pixel map of all channels. It is what we compare with."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cuda_operator import Convolution, compiled
from segearth.models import SegEarth
from segearth.models.simfeatup import JBUStep


def unfold_and_sum(padded: Tensor, kernel: Tensor) -> Tensor:
    """The adaptive convolution in its plain form: all neighbours of all pixels, times the kernels."""
    height, width = kernel.shape[2:]
    side = padded.shape[2] - height + 1
    patches = F.unfold(padded, side).view(1, padded.shape[1], side * side, height, width)
    return torch.einsum("bcthw,bthw->bchw", patches, kernel)


def convolution_for(device: torch.device) -> tuple[Convolution, str]:
    """What is fastest on a device, and what it is."""
    if device.type != "cuda":
        return unfold_and_sum, "unfolded"
    try:
        return compiled(), "a CUDA thread an output"
    except Exception as error:  # compilers fail in many ways; the plain form is always there
        return unfold_and_sum, f"unfolded, for the CUDA kernel was not compiled: {str(error)[:200]}"


def pixel_kernels(step: JBUStep, guidance: Tensor) -> Tensor:
    """The weights (1, T, H, W) of every pixel's neighbours, from guidance (1, 3, H, W), by unfolding its keys."""
    height, width = guidance.shape[-2:]
    radius, side = step.radius, 2 * step.radius + 1
    keys = step.range_proj(guidance)
    patches = F.unfold(F.pad(keys, [radius] * 4, mode="reflect"), side).view(1, -1, side * side, height, width)
    products = torch.einsum("bcthw,bchw->bthw", patches, keys)
    kernel = F.softmax(step.range_temp.exp().clamp(1e-4, 1e4) * products, dim=1)
    kernel = kernel * step.spatial_kernel()[:, None, None]
    kernel = kernel / kernel.sum(dim=1, keepdim=True).clamp(min=1e-7)
    return kernel + 0.1 * step.fixup_proj(torch.cat([kernel, guidance], dim=1))


def upsample(
    upsampler: Any, source: Tensor, guidance: Tensor, queries: Tensor, convolve: Convolution = unfold_and_sum
) -> Tensor:
    """Cosines of a window's upsampled features with the queries.

    Args:
        upsampler: a `JBUOne` or `JBUStack`, in whose type all is computed.
        source: (1, D, h, w), patch features.
        guidance: (1, 3, H, W), the window.
        queries: (Q, D), of length 1.
        convolve: the adaptive convolution.

    Returns:
        (1, Q, H, W).
    """
    border = [upsampler.radius] * 4
    for step in upsampler.steps(guidance.shape[-1] / source.shape[-1]):
        height, width = 2 * source.shape[-2], 2 * source.shape[-1]
        kernel = pixel_kernels(step, F.adaptive_avg_pool2d(guidance, (height, width)))
        enlarged = F.interpolate(source, size=(height, width), mode="bicubic")
        source = convolve(F.pad(enlarged, border, mode="reflect"), kernel)
    features = F.normalize(source + 0.1 * upsampler.fixup_proj(source), dim=1)
    return torch.einsum("bdhw,qd->bqhw", features, queries)


class Published:
    """The published computation with a model's weights, window by window."""

    def __init__(self, model: SegEarth, convolve: Convolution, dtype: torch.dtype) -> None:
        """Takes the weights.

        Args:
            model: with an upsampler; its encoder computes in its own type.
            convolve: the adaptive convolution.
            dtype: of all that follows the encoder.
        """
        self.model, self.convolve, self.dtype = model, convolve, dtype
        self.upsampler: Any = copy.deepcopy(model.upsampler).to(dtype)  # type: ignore[union-attr]
        self.queries = model.query_features.to(dtype)

    @torch.no_grad()
    def logits(self, image: Tensor) -> Tensor:
        """(1, Q, H, W) float32 of an image (1, 3, H, W): the mean over its windows."""
        total = image.new_zeros(1, len(self.queries), *image.shape[-2:], dtype=self.dtype)
        count = image.new_zeros(1, 1, *image.shape[-2:], dtype=self.dtype)
        for w in self.model.grid(image.shape[-2], image.shape[-1]).windows():
            place = (slice(None), slice(None), slice(w.top, w.bottom), slice(w.left, w.right))
            total[place] += self._window(image[place])
            count[place] += 1
        return (total / count).float()

    def _window(self, window: Tensor) -> Tensor:
        features, cls = self.model.encoder(window)
        logits = upsample(self.upsampler, features.to(self.dtype), window.to(self.dtype), self.queries, self.convolve)
        if cls is None:
            return logits
        share = F.normalize(cls.to(self.dtype), dim=-1) @ self.queries.T
        return logits + self.model.cls_token_lambda * share[:, :, None, None]
