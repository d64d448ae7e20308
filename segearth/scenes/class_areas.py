"""Pixels and areas of the classes of a map, row by row, whether it lies in a file or in the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segearth.labels import label_values
from segearth.scenes.pixel_areas import PixelAreas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Labels = NDArray[np.uint8 | np.uint16]

ROWS = 64  # that are counted at once: sums have the same last bits wherever they are made


class AreaSums:
    """Sums over a map of C classes, from its first row to its last one.

    Attributes:
        pixels: (C + 1,) of each class, then of unclassified pixels.
        how: areas are found.
    """

    def __init__(self, classes: int, areas: PixelAreas) -> None:
        self.pixels: Counts = np.zeros(classes + 1, np.int64)
        self.how = areas.how
        self._areas = areas.values
        self._found = np.zeros(classes + 1)

    @classmethod
    def of(cls, labels: Labels, classes: int, areas: PixelAreas) -> AreaSums:
        """The sums of a whole map.

        Args:
            labels: (H, W), in the values of its layer.
            classes: C.
            areas: of its pixels.
        """
        sums = cls(classes, areas)
        for top in range(0, len(labels), ROWS):
            sums.add(top, labels[top : top + ROWS])
        return sums

    def add(self, top: int, labels: Labels) -> None:
        """Adds the next rows.

        Args:
            top: the first of them.
            labels: (h, w), h at most `ROWS`.
        """
        values, count = places(len(self.pixels) - 1)[labels], len(self.pixels) + 1
        if not isinstance(self._areas, np.ndarray):
            self.pixels += np.bincount(values.ravel(), minlength=count)[:-1]
            return
        values += np.arange(len(labels))[:, None] * count
        by_row = np.bincount(values.ravel(), minlength=len(labels) * count).reshape(-1, count)[:, :-1]
        self.pixels += by_row.sum(axis=0)
        self._found += (by_row * self._areas[top : top + len(labels), None]).sum(axis=0)

    def areas_m2(self) -> list[float | None]:
        """Of each class, then of unclassified pixels; None where no areas are known."""
        found = self._sums()
        return [None] * len(self.pixels) if found is None else [_rounded(area) for area in found.tolist()]

    def total_m2(self) -> float | None:
        """Of all pixels that are not nodata."""
        found = self._sums()
        return None if found is None else _rounded(float(found.sum()))

    def _sums(self) -> NDArray[np.float64] | None:
        if isinstance(self._areas, float):
            return self.pixels.astype(np.float64) * self._areas
        return None if self._areas is None else self._found


def _rounded(area_m2: float) -> float:
    """To 12 digits: what is beyond are the last bits of sums."""
    return float(f"{area_m2:.12g}")


def places(classes: int) -> NDArray[np.intp]:
    """For each value of a label map its place in sums: C for unclassified, C + 1 for nodata."""
    values = label_values(classes)
    found = np.full(values.nodata + 1, classes + 1)
    found[:classes] = np.arange(classes)
    found[values.unclassified] = classes
    return found
