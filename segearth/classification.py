"""Classification: logits to the best class of every pixel and its score."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segearth.labels import label_values
from segearth.models.segearth import SegEarth
from segearth.transfer import to_numpy
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.uint8 | np.uint16]


class Classified(NamedTuple):
    """The best class of every pixel.

    Attributes:
        best: (h, w) index of the class with the highest score, uint8, or uint16 with more than 254 classes.
        confidence: (h, w) float32, the score of that class, from 0 to 1.
        scores: (C, h, w) float32, of all classes; None where they are not kept.
    """

    best: Labels
    confidence: NDArray[np.float32]
    scores: NDArray[np.float32] | None


def classify(model: SegEarth, vocabulary: Vocabulary, logits: Tensor, *, keep_scores: bool = False) -> Classified:
    """Finds the best class of every pixel. The `scale` of a class changes the comparison, not the confidence.

    Args:
        model: the model that computed the logits.
        vocabulary: its classes.
        logits: (Q, h, w).
        keep_scores: whether to keep the scores of all classes.
    """
    scores = model.scores(logits[None])[0]
    scaled = scores
    if any(scale != 1 for scale in vocabulary.scales):
        scaled = scores * torch.tensor(vocabulary.scales, dtype=torch.float32, device=logits.device)[:, None, None]
    chosen = scaled.max(dim=0).indices  # the first of equal scores, as argmax, which is eight times slower on a CPU
    confidence = scores.gather(0, chosen[None])[0]
    # the smallest type that holds the classes; not every device supports uint16
    best = chosen.to(torch.uint8 if len(vocabulary) <= 256 else torch.int32)
    labels, *rest = to_numpy(best, confidence, *([scores] if keep_scores else []))
    return Classified(labels.astype(label_values(len(vocabulary)).type), rest[0], rest[1] if keep_scores else None)
