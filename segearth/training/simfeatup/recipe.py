"""What is trained, and how."""

from __future__ import annotations

from dataclasses import dataclass

FEATURES = ("input", "output")
STARTS = ("random", "bilateral")


@dataclass(frozen=True)
class UpsamplerRecipe:
    """What is trained and how; the defaults are those of the published SimFeatUp.

    Attributes:
        upsampler: "jbu_one" (one shared step) or "jbu_stack" (four, as in FeatUp).
        radius: of the kernels; None for 5 with jbu_one and 3 with jbu_stack.
        start: initial weights of the upsampler: "random" as published, or those of a "bilateral" filter.
        features: of the last block's "input", or of its modified "output", which inference upsamples.
        image_loss: whether the image is reconstructed as well.
        jitters: jittered copies a step.
        dropout: whether channels and features are dropped. Off, the downsampler still passes over a fifth of the
            patches' logits, which it does as published in evaluation as well.
        recompute: whether kernels are computed twice instead of being kept.
        at_once: images whose pixel maps are in memory at the same time; None for one on a CPU, where that is fastest,
            and the whole batch on a GPU. Results are the same.
        scale: factor of the features in the losses. Those of OpenAI's CLIP have a root mean square of about 0.4, for
            which the recipe was made: where they are many times larger, the uncertainty's logarithm swings out.
    """

    upsampler: str = "jbu_one"
    radius: int | None = None
    start: str = "random"
    features: str = "input"
    image_loss: bool = True
    jitters: int = 5
    dropout: bool = True
    recompute: bool = False
    at_once: int | None = None
    scale: float = 1.0
