"""From logits to the best class of every pixel and its score."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segearth.labels import label_values
from segearth.models.segearth import SegEarth
from segearth.transfer import down
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.uint8 | np.uint16]


class Classified(NamedTuple):
    """Pixels with their classes.

    Attributes:
        best: (h, w) index of the class with the highest score, uint8, or uint16 with more than 254 classes.
        confidence: (h, w) float32, that class's score from 0 to 1.
        scores: (C, h, w) float32, of all classes; None where they are not wanted.
    """

    best: Labels
    confidence: NDArray[np.float32]
    scores: NDArray[np.float32] | None


def classify(model: SegEarth, vocabulary: Vocabulary, logits: Tensor, *, scores: bool = False) -> Classified:
    """Takes the best class of every pixel; a class's `scale` counts before the comparison, not in the confidence.

    Args:
        model: whose logits they are.
        vocabulary: its classes.
        logits: (Q, h, w).
        scores: whether the scores of all classes are kept.
    """
    found = model.scores(logits[None])[0]
    scaled = found
    if any(scale != 1 for scale in vocabulary.scales):
        scaled = found * torch.tensor(vocabulary.scales, dtype=torch.float32, device=logits.device)[:, None, None]
    chosen = scaled.max(dim=0).indices  # the first of equals, as argmax, which takes eight times as long on a processor
    confidence = found.gather(0, chosen[None])[0]
    # as few bytes as hold the classes; not every device knows uint16
    best = chosen.to(torch.uint8 if len(vocabulary) <= 256 else torch.int32)
    labels, *rest = down(best, confidence, *([found] if scores else []))
    return Classified(labels.astype(label_values(len(vocabulary)).type), rest[0], rest[1] if scores else None)
