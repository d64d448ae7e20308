"""The paper's ablation of SimFeatUp, repeated on the small CLIP: rows of `segearth.paper.table_rows.ABLATION`.

Each row but the first needs upsamplers, for some seeds, made by

    python tools/train_simfeatup.py --model tiny --images ... --seed SEED OPTIONS -o DIR/NAME-SEED.safetensors

with the row's options (`TableRow.training`) and name (`weights_name`). One row more is of upsamplers RANDOM-SEED that
begin at random, as published.
"""

from __future__ import annotations

from pathlib import Path

from segearth.models import DenseCLIP
from segearth.models.simfeatup import JBU
from segearth.paper.published import published
from segearth.paper.table_rows import ROWS, TableRow
from segearth.training.simfeatup.recipe import UpsamplerRecipe
from segearth.training.simfeatup.step import Trainee

BASELINE = ROWS["ablation-baseline"]  # without an upsampler in the paper, bilinear here
FIRST = ROWS["ablation-aerial"]  # with an upsampler that was trained here
STEPS = (BASELINE, FIRST, *(ROWS[f"ablation-{name}"] for name in ("shared", "reconstruction", "bias", "kernel")))
RANDOM = "random"


def title(step: TableRow) -> str:
    """What a step is called; the first two for what they are here."""
    if step is BASELINE:
        return "bilinear (the paper: no upsampler)"
    if step is FIRST:
        return "FeatUp-like: a stack of four JBUs, 7 × 7"
    return step.title.removeprefix("ablation: ")


def weights_name(step: TableRow) -> str:
    """What the files of a step's upsamplers begin with; the last step is SimFeatUp itself."""
    return step.weights or "simfeatup"


def files(folder: Path, step: TableRow) -> list[Path]:
    """The upsamplers of a step, one a seed; none for the baseline."""
    return [] if step is BASELINE else seeds(folder, weights_name(step))


def seeds(folder: Path, name: str) -> list[Path]:
    """The upsamplers of that name, one a seed."""
    return sorted(folder.glob(f"{name}-*.safetensors"))


def factor(step: TableRow) -> float:
    """Of the [CLS] token's share: the default of the inference where the step does not change it."""
    return float(step.changes.get("model.cls_token_lambda", -0.3))


def untrained(encoder: DenseCLIP, seed: int) -> JBU:
    """SimFeatUp as its training begins with `--init bilateral`: a joint bilateral filter, nothing learned."""
    trainee = Trainee(encoder.dim, encoder.patch_size, UpsamplerRecipe(start="bilateral"), seed)
    return trainee.upsampler.eval().requires_grad_(False)


def in_the_paper(step: TableRow) -> list[str]:
    """The published numbers of a step in %, by `TableRow.datasets`; - where none was seen."""
    numbers = [published(step.name, dataset) for dataset in step.datasets]
    return ["-" if number is None else f"{number.value:.1f}" for number in numbers]
