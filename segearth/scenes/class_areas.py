"""Pixel counts and areas of the classes of a map, summed row by row, for maps in files and in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segearth.labels import label_values
from segearth.scenes.pixel_areas import PixelAreas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Labels = NDArray[np.uint8 | np.uint16]

ROWS = 64  # rows per step; a fixed number, so that sums have the same bits for files and arrays


class AreaSums:
    """Pixel counts and areas of C classes, summed from the first row of a map to its last.

    Attributes:
        pixels: (C + 1,) counts of each class, then of unclassified pixels.
        method: how areas are computed, in words.
    """

    def __init__(self, classes: int, areas: PixelAreas) -> None:
        self.pixels: Counts = np.zeros(classes + 1, np.int64)
        self.method = areas.method
        self._areas = areas.values
        self._sums_m2 = np.zeros(classes + 1)

    @classmethod
    def from_labels(cls, labels: Labels, classes: int, areas: PixelAreas) -> AreaSums:
        """Returns the sums of a whole map.

        Args:
            labels: (H, W), label values with unclassified and nodata.
            classes: C.
            areas: pixel areas of the map.
        """
        sums = cls(classes, areas)
        for top in range(0, len(labels), ROWS):
            sums.add(top, labels[top : top + ROWS])
        return sums

    def add(self, top: int, labels: Labels) -> None:
        """Adds the next rows.

        Args:
            top: index of the first row.
            labels: (h, w), with h at most `ROWS`.
        """
        values, count = class_positions(len(self.pixels) - 1)[labels], len(self.pixels) + 1
        if not isinstance(self._areas, np.ndarray):
            self.pixels += np.bincount(values.ravel(), minlength=count)[:-1]
            return
        values += np.arange(len(labels))[:, None] * count
        by_row = np.bincount(values.ravel(), minlength=len(labels) * count).reshape(-1, count)[:, :-1]
        self.pixels += by_row.sum(axis=0)
        self._sums_m2 += (by_row * self._areas[top : top + len(labels), None]).sum(axis=0)

    def areas_m2(self) -> list[float | None]:
        """Returns the area of each class, then of unclassified pixels; None if areas are unknown."""
        sums = self._sums()
        return [None] * len(self.pixels) if sums is None else [_round_digits(area) for area in sums.tolist()]

    def total_m2(self) -> float | None:
        """Returns the area of all pixels that are not nodata; None if areas are unknown."""
        sums = self._sums()
        return None if sums is None else _round_digits(float(sums.sum()))

    def _sums(self) -> NDArray[np.float64] | None:
        if isinstance(self._areas, float):
            return self.pixels.astype(np.float64) * self._areas
        return None if self._areas is None else self._sums_m2


def _round_digits(area_m2: float) -> float:
    """Rounds to 12 significant digits; further digits are rounding errors of sums."""
    return float(f"{area_m2:.12g}")


def class_positions(classes: int) -> NDArray[np.intp]:
    """Returns the index into sums for each label value: C for unclassified, C + 1 for nodata."""
    values = label_values(classes)
    positions = np.full(values.nodata + 1, classes + 1)
    positions[:classes] = np.arange(classes)
    positions[values.unclassified] = classes
    return positions
