"""Beginning as a joint bilateral filter, of which the learned upsampler is a generalisation.

The published start is near a plain average over the whole window, four times in a row: a blur, from which it takes
thousands of steps to come back. A filter that stays on its side of an edge (Kopf et al., Joint Bilateral Upsampling,
2007, equation 3) is one setting of the same weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segearth.models.simfeatup import GUIDANCE_DIM, JBU, JBUStep

SPATIAL_SIGMA = 1.5  # in pixels of the doubled map
COLOUR_SIGMA = 0.3  # in units of the normalised image
PEAK = 6.0  # a neighbour of the same colour counts e^6 times as much as one of another
FIT_STEPS = 2000
FIT_PAIRS = 512
FIT_RATE = 1e-2


def begin_as_bilateral_filter(upsampler: JBU, generator: torch.Generator) -> None:
    """Sets the weights of all doublings, in place; the corrections (`fixup_proj`) begin at zero.

    Args:
        upsampler: a `JBUOne` or `JBUStack` of any radius.
        generator: of the pairs of colours that the keys are fitted to.
    """
    steps = doublings(upsampler)
    fit_keys(steps[0].range_proj, generator)
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


def fit_keys(projection: nn.Sequential, generator: torch.Generator) -> None:
    """Makes products of keys a Gaussian of the difference of colours, PEAK · exp(-|g - g'|² / (2 σ²)).

    Args:
        projection: (N, 3, 1, 1) colours to (N, 32, 1, 1) keys; see `JBUStep`.
        generator: of the pairs.
    """
    training = projection.training
    projection.eval()  # without dropout
    optimiser = torch.optim.Adam(projection.parameters(), lr=FIT_RATE)
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 1e-3, FIT_STEPS)
    for _ in range(FIT_STEPS):
        colours, others = draw_pairs(generator)
        keys, other_keys = projection(colours)[:, :, 0, 0], projection(others)[:, :, 0, 0]
        distance = (colours - others).pow(2).sum(dim=1)[:, 0, 0]
        wanted = PEAK * torch.exp(-distance / (2 * COLOUR_SIGMA**2))
        loss = ((keys * other_keys).sum(dim=1) - wanted).pow(2).mean()
        loss = loss + ((keys * keys).sum(dim=1) - PEAK).pow(2).mean()
        loss.backward()
        optimiser.step()
        decay.step()
        optimiser.zero_grad()
    projection.train(training)


def draw_pairs(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Colours (N, 3, 1, 1) as normalised images have them, and for each another, more often near than far."""
    grey = 3.6 * torch.rand(FIT_PAIRS, 1, generator=generator) - 1.9
    colours = grey + 0.35 * torch.randn(FIT_PAIRS, GUIDANCE_DIM, generator=generator)
    reach = 1.2 * torch.rand(FIT_PAIRS, 1, generator=generator) ** 2
    others = colours + reach * torch.randn(FIT_PAIRS, GUIDANCE_DIM, generator=generator)
    return colours[:, :, None, None], others[:, :, None, None]
