"""Values of a label map, the same for pictures and for data that have a place on the Earth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

UNCLASSIFIED = "unclassified"  # the name in tables
UNCLASSIFIED_COLOUR = (160, 160, 160)  # in a palette and in tables; an overlay leaves such pixels as they are
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
    """The values of the labels of so many classes: uint8 holds 254 of them."""
    return LabelValues(np.uint8, 254, 255) if classes <= 254 else LabelValues(np.uint16, 65534, 65535)
