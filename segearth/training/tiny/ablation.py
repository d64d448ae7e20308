"""The paper's ablation of SimFeatUp, repeated on the small CLIP: which upsamplers, trained how.

Each step but the first needs files made by, for some seeds,

    python tools/train_simfeatup.py --model tiny --images ... --seed SEED OPTIONS -o DIR/STEM-SEED.safetensors
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """A row of the ablation.

    Attributes:
        label: what it adds to the row before.
        stem: of its files' names; None for bilinear upsampling.
        options: of tools/train_simfeatup.py.
        factor: of the [CLS] token's share.
        paper: what the paper found on OpenEarthMap (mIoU), WHU Sat II and WBS-SI (IoU), in %
            (arXiv 2410.01768, ablation).
    """

    label: str
    stem: str | None
    options: str
    factor: float
    paper: tuple[float, float, float]


STEPS = (
    Step("bilinear (in the paper: no upsampler)", None, "", 0.0, (32.4, 22.7, 46.9)),
    Step(
        "a stack of four, 7 × 7, as FeatUp", "stack", "--upsampler jbu_stack --no-image-loss", 0.0, (36.0, 26.2, 56.4)
    ),
    Step("+ one shared module", "shared", "--radius 3 --no-image-loss", 0.0, (36.3, 26.0, 57.1)),
    Step("+ image reconstruction", "image", "--radius 3", 0.0, (37.6, 26.4, 58.7)),
    Step("+ [CLS] subtraction", "image", "--radius 3", -0.3, (39.3, 27.9, 59.5)),
    Step("+ 11 × 11: SimFeatUp", "simfeatup", "", -0.3, (40.3, 28.4, 60.2)),
)


def files(folder: Path, step: Step) -> list[Path]:
    """The upsamplers of a step, one a seed."""
    return [] if step.stem is None else sorted(folder.glob(f"{step.stem}-*.safetensors"))
