"""Layers of a map: labels, confidence and scores, with their data types, values and names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.colours import RGB
from segearth.labels import UNCLASSIFIED, UNCLASSIFIED_COLOUR, label_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.vocabulary import Vocabulary

LEVELS = 254  # steps of scores above 0; with score 0 and nodata there are 256 values
SCALE, OFFSET = 1 / LEVELS, -1 / LEVELS  # score = value · SCALE + OFFSET


class LegendEntry(NamedTuple):
    """Value, name and colour of a class in a label map."""

    value: int
    name: str
    colour: RGB


@dataclass(frozen=True)
class Layer:
    """A raster of the output.

    Attributes:
        name: "labels", "confidence" or "scores", as in file names.
        type: data type, uint8 or uint16.
        nodata: value of pixels that are invalid in the input.
        bands: description of each band.
        entries: legend of its values; empty for scores.
    """

    name: str
    type: type[np.uint8 | np.uint16]
    nodata: int
    bands: tuple[str, ...]
    entries: tuple[LegendEntry, ...] = ()

    def estimated_bytes(self, pixels: int) -> float:
        """Estimates the compressed size of so many pixels, rather too low than too high."""
        return pixels * len(self.bands) * (0.3 if self.is_scored else 0.05 * np.dtype(self.type).itemsize)

    @property
    def is_scored(self) -> bool:
        """Whether its values are scores (see `quantised`), not labels."""
        return not self.entries


def labels_layer(vocabulary: Vocabulary, unclassified: bool) -> Layer:
    """Returns the layer of labels.

    Args:
        vocabulary: the classes.
        unclassified: whether pixels can be unclassified.
    """
    values = label_values(len(vocabulary))
    entries = [
        LegendEntry(i, name, (int(red), int(green), int(blue)))
        for i, (name, (red, green, blue)) in enumerate(zip(vocabulary.names, vocabulary.palette, strict=True))
    ]
    if unclassified:
        entries.append(LegendEntry(values.unclassified, UNCLASSIFIED, UNCLASSIFIED_COLOUR))
    return Layer("labels", values.type, values.nodata, ("labels",), tuple(entries))


CONFIDENCE = Layer("confidence", np.uint8, 0, ("confidence",))


def scores_layer(vocabulary: Vocabulary) -> Layer:
    """Returns the layer of scores, with one band per class."""
    return Layer("scores", np.uint8, 0, vocabulary.names)


def quantised(scores: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Converts scores to bytes.

    Args:
        scores: (..., h, w) from 0 to 1.
        valid: (h, w).

    Returns:
        (..., h, w): 1 to 255 for 0 to 1, and 0 (nodata) where pixels are not valid.
    """
    return np.where(valid, np.rint(scores * np.float32(LEVELS)) + 1, 0).astype(np.uint8)


def dequantised(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Converts bytes of `quantised` to scores, with an error of at most 1/508; nodata becomes 0."""
    return (np.maximum(values, 1).astype(np.float32) - 1) / np.float32(LEVELS)
