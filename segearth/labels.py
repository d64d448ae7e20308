"""Values of label maps, the same for pictures and scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.vocabulary import Vocabulary

    Labels = NDArray[np.uint8 | np.uint16]

UNCLASSIFIED = "unclassified"  # the name in tables
UNCLASSIFIED_COLOUR = (160, 160, 160)  # in a palette and in tables; an overlay does not colour such pixels
NODATA_COLOUR = (255, 255, 255)


class LabelValues(NamedTuple):
    """Values of a label map; those of the C classes are 0 to C-1.

    Attributes:
        type: uint8 or uint16.
        unclassified: of uncertain pixels, where no class is the background.
        nodata: of pixels that the image does not have.
    """

    type: type[np.uint8 | np.uint16]
    unclassified: int
    nodata: int


def label_values(classes: int) -> LabelValues:
    """The label values for a number of classes; uint8 holds up to 254 classes."""
    return LabelValues(np.uint8, 254, 255) if classes <= 254 else LabelValues(np.uint16, 65534, 65535)


def thresholds_of(vocabulary: Vocabulary, threshold: float) -> NDArray[np.float32]:
    """The threshold of each class, (C,): its own, or else the common one."""
    return np.array([threshold if value is None else value for value in vocabulary.thresholds], np.float32)


def has_unclassified(vocabulary: Vocabulary, threshold: float) -> bool:
    """Whether pixels can be unclassified: there is a threshold, and no class is the background."""
    return vocabulary.background is None and bool(thresholds_of(vocabulary, threshold).any())


def apply_thresholds(best: Labels, confidence: NDArray[np.float32], vocabulary: Vocabulary, threshold: float) -> Labels:
    """Applies thresholds: uncertain pixels become the background, or unclassified where there is none.

    Args:
        best: (h, w), as of `Classified`; nodata stays.
        confidence: (h, w).
        vocabulary: the classes.
        threshold: pixels with less confidence are uncertain; classes may have thresholds of their own.
    """
    thresholds = thresholds_of(vocabulary, threshold)
    if not thresholds.any():
        return best
    values = label_values(len(vocabulary))
    fill = values.unclassified if vocabulary.background is None else vocabulary.background
    by_label = np.pad(thresholds, (0, values.nodata + 1 - len(thresholds)))  # no confidence is below 0
    return np.where(confidence < by_label[best], best.dtype.type(fill), best)
