"""Beginning as a joint bilateral filter, of which the learned upsampler is a generalisation.

The published start is near a plain average over the whole window, four times in a row: a blur, from which it takes
thousands of steps to come back. A filter that stays on its side of an edge (Kopf et al., Joint Bilateral Upsampling,
2007, equation 3) is one setting of the same weights.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from segearth.models.simfeatup import GUIDANCE_DIM, JBU, KEY_DIM, JBUStep, pointwise

SPATIAL_SIGMA = 1.5  # in pixels of the doubled map
COLOUR_SIGMA = 0.2  # in units of the normalised image
OFFSET = 10.0  # A below
SMALL = 0.1  # what colours are multiplied by in hidden units, of which GELU is near a parabola
REST = 0.1  # of the usual size of initial weights


def begin_as_bilateral_filter(upsampler: JBU, generator: torch.Generator) -> None:
    """Sets the weights of all doublings, in place; the corrections (`fixup_proj`) begin at zero.

    Args:
        upsampler: a `JBUOne` or `JBUStack` of any radius.
        generator: of what is random in it.
    """
    steps = doublings(upsampler)
    set_keys(steps[0].range_proj, generator)
    with torch.no_grad():
        for step in steps:
            step.range_proj.load_state_dict(steps[0].range_proj.state_dict())
            step.sigma_spatial.fill_(SPATIAL_SIGMA / step.radius)
            for parameter in step.fixup_proj[-1].parameters():
                parameter.zero_()
        for parameter in upsampler.fixup_proj.parameters():
            parameter.zero_()


def doublings(upsampler: JBU) -> list[JBUStep]:
    """The steps with weights of their own: one of a `JBUOne`, four of a `JBUStack`."""
    return [step for step in upsampler.children() if isinstance(step, JBUStep)]


def set_keys(projection: nn.Sequential, generator: torch.Generator) -> None:
    """Makes products of keys k(g)·k(g') = -|g - g'|² / (2 σ²) plus what the softmax over g' takes away again.

    The first three numbers of a key are g / σ, the fourth is A / σ - |g|² / (2 A σ). Their products have the wanted
    g·g' / σ² - |g'|² / (2 σ²), terms of g alone, and |g|² |g'|² / (4 A² σ²), which is small for a large A. Pairs of
    hidden units give both: GELU(x) - GELU(-x) is x, and GELU(x) + GELU(-x) is near x² √(2/π) for a small x. They look
    along the axes of random frames, so that no two of them are alike. The rest of a key begins small and random.

    Args:
        projection: (N, 3, 1, 1) colours to (N, 32, 1, 1) keys; see `JBUStep`.
        generator: of the frames and of the rest.
    """
    first, last = projection[0], projection[3]
    frames = KEY_DIM // (2 * GUIDANCE_DIM)
    axes = torch.linalg.qr(torch.randn(frames, GUIDANCE_DIM, GUIDANCE_DIM, generator=generator)).Q
    axes = axes.transpose(1, 2).reshape(-1, GUIDANCE_DIM)  # (pairs, 3), each frame's rows are orthonormal
    pairs = len(axes)
    with torch.no_grad():
        weight, bias = pointwise(first)
        weight[: 2 * pairs] = SMALL * torch.cat([axes, -axes])
        bias[: 2 * pairs] = 0
        weight, bias = pointwise(last)
        weight.copy_(REST * torch.randn(weight.shape, generator=generator) / math.sqrt(KEY_DIM))
        bias.zero_()
        linear = axes.T / (frames * SMALL * COLOUR_SIGMA)  # (3, pairs)
        weight[:GUIDANCE_DIM] = 0
        weight[:GUIDANCE_DIM, : 2 * pairs] = torch.cat([linear, -linear], dim=1)
        weight[GUIDANCE_DIM] = 0
        weight[GUIDANCE_DIM, : 2 * pairs] = -math.sqrt(math.pi / 2) / (2 * OFFSET * COLOUR_SIGMA * frames * SMALL**2)
        bias[GUIDANCE_DIM] = OFFSET / COLOUR_SIGMA
