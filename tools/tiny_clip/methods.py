"""Methods that the paper does not have, and test-time averaging, measured with the small CLIP for its card."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segearth.images.resizing import resized_size
from segearth.loading import load_tokenizer
from segearth.metrics import boundary_counts, boundary_iou, confusion_matrix, iou_per_class
from segearth.models import DenseCLIP, SegEarth, encode_text
from segearth.models.averaging import VIEWS, View, mean_of_views
from segearth.models.trunk import scaled_layers
from segearth.outputs import atomic
from segearth.transfer import to_model
from segearth.vocabulary import Vocabulary
from tiny_clip.evaluation import Score, Truth

LONG_SIDE = 448  # of all sets, the paper's
IMAGES = 2  # of each set, so that it takes minutes
ROW = (6, 9)
SECTION = re.compile(r"\n### Methods beyond the paper\n.*?(?=\n##)", re.DOTALL)


@dataclass(frozen=True)
class Way:
    """A row of the table: a method with its options, and the views of an image."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    tta: str | None = None


WAYS = (
    Way("SegEarth, as in the paper"),
    Way("`NACLIP`", {"method": "NACLIP"}),
    Way("`cls_column_zero`", {"cls_column_zero": True}),
    Way("`cls_row_layers=(6, 9)`", {"cls_row_layers": ROW}),
    Way("both of these", {"cls_column_zero": True, "cls_row_layers": ROW}),
    *(Way(f'`tta="{name}"`, {len(views)} maps', tta=name) for name, views in VIEWS.items()),
)


@dataclass(frozen=True)
class Measured:
    """Of one way: scores by set, and its processor time as a multiple of that of the first way."""

    scores: dict[str, Score]
    time: float


class Maps:
    """The logits of one image in each view, each computed once: the averages share them."""

    def __init__(self, model: SegEarth, image: Tensor, size: tuple[int, int]) -> None:
        self.model, self.image, self.size = model, image, size
        self.found: dict[View, tuple[Tensor, float]] = {}

    def logits(self, tta: str | None) -> tuple[Tensor, float]:
        """Logits (1, Q, H, W), and the processor time in seconds that they take."""
        views = (View(False, 0),) if tta is None else VIEWS[tta]
        if tta is None:
            return self._of(views[0])
        mean = mean_of_views(tta, self.image, lambda _, view, __: self._of(view)[0])
        return mean, sum(self._of(view)[1] for view in views)

    def _of(self, view: View) -> tuple[Tensor, float]:
        if view not in self.found:
            begun = time.process_time()
            logits = self.model.logits(view.seen(self.image), view.size(self.size))
            self.found[view] = logits, time.process_time() - begun
        return self.found[view]


@torch.inference_mode()
def measure_ways(clip: nn.Module, sets: Sequence[Truth], upsampler: nn.Module) -> dict[str, Measured]:
    """Measures `WAYS`.

    Args:
        clip: the `open_clip.CLIP`.
        sets: with labels.
        upsampler: the CLIP's own.
    """
    scores: dict[str, dict[str, Score]] = {way.name: {} for way in WAYS}
    seconds = dict.fromkeys(scores, 0.0)
    for truth in sets:
        count = len(truth.classes)
        confusion = {way.name: np.zeros((count, count), np.int64) for way in WAYS}
        bands = {way.name: np.zeros((count, 2), np.int64) for way in WAYS}
        vocabulary = Vocabulary(truth.classes)
        queries, columns = encode_text(clip, load_tokenizer(77), vocabulary), torch.tensor(vocabulary.query_to_class)
        for pixels, labels in zip(truth.images[:IMAGES], truth.labels[:IMAGES], strict=True):
            size = (pixels.shape[0], pixels.shape[1])
            image = to_model(pixels, resized_size(*size, LONG_SIDE), torch.device("cpu"))
            shared: dict[str, Maps] = {}
            for way in WAYS:
                if str(way.options) not in shared:
                    encoder = DenseCLIP(clip, **way.options)
                    model = SegEarth(encoder, queries, columns, upsampler, prob_thd=truth.prob_thd).eval()
                    shared[str(way.options)] = Maps(model, image, size)
                maps = shared[str(way.options)]
                logits, its = maps.logits(way.tta)
                seconds[way.name] += its
                found = maps.model.labels(maps.model.scores(logits))[0].numpy()
                confusion[way.name] += confusion_matrix(found, labels, count)
                bands[way.name] += boundary_counts(found, labels, count)
        for way in WAYS:
            score = Score(iou_per_class(confusion[way.name]), boundary_iou(bands[way.name]))
            scores[way.name][truth.name] = score
            print(f"{truth.name}, {way.name}: {score.miou:.3f} {score.mean_boundary:.3f}", flush=True)
    first = seconds[WAYS[0].name]
    return {name: Measured(found, seconds[name] / first) for name, found in scores.items()}


def section(measured: dict[str, Measured], depth: int) -> str:
    """The part of the card, with its heading.

    Args:
        measured: of `WAYS`.
        depth: blocks of the CLIP.
    """
    layers = scaled_layers(ROW, depth)
    sets = list(next(iter(measured.values())).scores)
    text = (
        "\n### Methods beyond the paper\n\n"
        f"mIoU and, in brackets, Boundary IoU in %, of the first {IMAGES} images of each set, long side {LONG_SIDE}, "
        "with SimFeatUp and λ = -0.3; processor time of the logits as a multiple of SegEarth's. Made by "
        "`python tools/evaluate_tiny_methods.py`. "
        f"Layers {ROW[0]} to {ROW[1]} of 12 are layers {layers[0]} to {layers[-1]} of these {depth} blocks. What each "
        "is, and its source: `segearth/models/attention.py`, `segearth/models/averaging.py`. None is a default.\n\n"
    )
    rows = [
        (
            name,
            *(f"{100 * of.scores[one].miou:.1f} ({100 * of.scores[one].mean_boundary:.1f})" for one in sets),
            f"{of.time:.1f}",
        )
        for name, of in measured.items()
    ]
    lines = [("", *sets, "time"), ("---",) * (len(sets) + 2), *rows]
    return text + "".join("| " + " | ".join(line) + " |\n" for line in lines)


def earlier_section(card: Path) -> str:
    """The part of a card that is there; empty without."""
    found = SECTION.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    return "" if found is None else found[0]


def write_section(card: Path, text: str) -> None:
    """Puts the part into a card, in place of an earlier one or before its limits; the rest stays."""
    rest = SECTION.sub("", card.read_text(encoding="utf-8"))
    before, limits, after = rest.partition("\n## Limits")
    with atomic(card) as part:
        part.write_text(before + text + limits + after, encoding="utf-8")
