"""The rasters that a scene becomes: labels, confidence, scores; their values, and their names in files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.colours import RGB
from segearth.labels import UNCLASSIFIED, UNCLASSIFIED_COLOUR, label_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.vocabulary import Vocabulary

LEVELS = 254  # of scores above 0, so that with nodata there are 256 values
SCALE, OFFSET = 1 / LEVELS, -1 / LEVELS  # score = value · SCALE + OFFSET


class Entry(NamedTuple):
    """A value of a label map, for people."""

    value: int
    name: str
    colour: RGB


@dataclass(frozen=True)
class Layer:
    """A raster of the output.

    Attributes:
        name: "labels", "confidence" or "scores", as in the names of files.
        type: of its values, uint8 or uint16.
        nodata: the value where the input has no valid pixel.
        bands: a description of each.
        entries: what its values mean; none where they are scores.
    """

    name: str
    type: type[np.uint8 | np.uint16]
    nodata: int
    bands: tuple[str, ...]
    entries: tuple[Entry, ...] = ()

    def bytes_of(self, pixels: int) -> float:
        """About how many bytes so many pixels take in a compressed file, rather too few than too many."""
        return pixels * len(self.bands) * (0.3 if self.is_scored else 0.05 * np.dtype(self.type).itemsize)

    @property
    def is_scored(self) -> bool:
        """Whether values are scores, as of `quantised`."""
        return not self.entries


def labels_layer(vocabulary: Vocabulary, unclassified: bool) -> Layer:
    """The layer of labels.

    Args:
        vocabulary: the classes.
        unclassified: whether there can be unclassified pixels.
    """
    values = label_values(len(vocabulary))
    entries = [
        Entry(i, name, (int(red), int(green), int(blue)))
        for i, (name, (red, green, blue)) in enumerate(zip(vocabulary.names, vocabulary.palette, strict=True))
    ]
    if unclassified:
        entries.append(Entry(values.unclassified, UNCLASSIFIED, UNCLASSIFIED_COLOUR))
    return Layer("labels", values.type, values.nodata, ("labels",), tuple(entries))


CONFIDENCE = Layer("confidence", np.uint8, 0, ("confidence",))


def scores_layer(vocabulary: Vocabulary) -> Layer:
    """The layer with a band for the scores of each class."""
    return Layer("scores", np.uint8, 0, vocabulary.names)


def quantised(scores: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Scores as bytes.

    Args:
        scores: (..., h, w) from 0 to 1.
        valid: (h, w).

    Returns:
        (..., h, w): 1 to 255 for 0 to 1, and 0 (nodata) where pixels are not valid.
    """
    return np.where(valid, np.rint(scores * np.float32(LEVELS)) + 1, 0).astype(np.uint8)


def scores_of(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The scores of `quantised`, to 1/508; 0 for nodata."""
    return (np.maximum(values, 1).astype(np.float32) - 1) / np.float32(LEVELS)
