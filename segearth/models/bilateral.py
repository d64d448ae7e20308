"""Beginning as a joint bilateral filter, of which the learned upsampler is a generalisation.

The published start is near a plain average over the whole window, four times in a row: a blur, from which it takes
thousands of steps to come back. A filter that stays on its side of an edge (Kopf et al., Joint Bilateral Upsampling,
2007, equation 3) is one setting of the same weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.models.simfeatup import GUIDANCE_DIM, JBU, KEY_DIM, JBUOne, JBUStep, pointwise

SPATIAL_SIGMA = 1.5  # in pixels of the doubled map
COLOUR_SIGMA = 0.2  # in units of the normalised image
RADIUS = 10.0  # A below
SCALES = (0.2, 0.3, 0.3, 0.4, 0.5)  # of the frames
RIDGE = 1e-4
FIT_COLOURS = 4096
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


def bilateral_filter() -> JBUOne:
    """The filter itself as an upsampler of features of any width; what is random in it is always the same."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        upsampler = JBUOne(None)
        begin_as_bilateral_filter(upsampler, torch.Generator().manual_seed(0))
    return upsampler.eval().requires_grad_(False)


def doublings(upsampler: JBU) -> list[JBUStep]:
    """The steps with weights of their own: one of a `JBUOne`, four of a `JBUStack`."""
    return [step for step in upsampler.children() if isinstance(step, JBUStep)]


def set_keys(projection: nn.Sequential, generator: torch.Generator) -> None:
    """Makes products of keys k(g)·k(g') = -|g - g'|² / (2 σ²) plus a constant.

    That is so for keys on a sphere, k(g) = (g, √(A² - |g|²)) / σ, where colours are much nearer to each other than A.
    Hidden units in pairs can make them: GELU(x) - GELU(-x) is x, GELU(x) + GELU(-x) is near a parabola for a small x.
    The pairs look along the axes of random frames, with several scales; the last layer is then a ridge regression,
    whose small weights keep steps of the training from breaking the filter. The rest of a key begins small and random.

    Args:
        projection: (N, 3, 1, 1) colours to (N, 32, 1, 1) keys; see `JBUStep`.
        generator: of the frames, of the colours of the regression, and of the rest.
    """
    double = torch.double
    size = (len(SCALES), GUIDANCE_DIM, GUIDANCE_DIM)
    frames = torch.linalg.qr(torch.randn(size, generator=generator, dtype=double)).Q
    axes = (frames * torch.tensor(SCALES, dtype=double)[:, None, None]).transpose(1, 2).flatten(0, 1)
    directions = torch.cat([axes, -axes])  # (units, 3)
    colours = draw_colours(generator)
    hidden = F.gelu(colours @ directions.T)
    inputs = torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=1)
    height = (RADIUS**2 - colours.square().sum(dim=1, keepdim=True)).sqrt()
    wanted = torch.cat([colours, height], dim=1) / COLOUR_SIGMA
    ridge = RIDGE * len(colours) * torch.eye(inputs.shape[1], dtype=double)
    ridge[-1, -1] = 0  # the bias may be large
    solved = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ wanted).T  # (4, units + 1)
    units, numbers = len(directions), len(solved)
    (first, first_bias), (last, last_bias) = (pointwise(projection[i]) for i in (0, 3))
    with torch.no_grad():
        first[:units] = directions.to(first)
        first_bias[:units] = 0
        last.copy_(REST * torch.randn(last.shape, generator=generator) / math.sqrt(KEY_DIM))
        last[:numbers] = 0
        last[:numbers, :units] = solved[:, :-1].to(last)
        last_bias.zero_()
        last_bias[:numbers] = solved[:, -1].to(last)


def draw_colours(generator: torch.Generator) -> Tensor:
    """Colours (N, 3) as normalised images have them, float64: greys with a cast, between black and white."""
    grey = 4.4 * torch.rand(FIT_COLOURS, 1, generator=generator, dtype=torch.double) - 2.0
    cast = 0.6 * torch.randn(FIT_COLOURS, GUIDANCE_DIM, generator=generator, dtype=torch.double)
    return (grey + cast).clamp(-2.2, 2.7)
