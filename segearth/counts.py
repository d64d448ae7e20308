"""Pixels of classes, counted over many images, and the shares that evaluation reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClassCounts:
    """Pixels of one class over all images, ignored ones left out."""

    name: str
    intersection: int
    union: int
    prediction_pixels: int
    label_pixels: int

    @property
    def iou(self) -> float | None:
        """Intersection over union in percent; None for a class that is nowhere."""
        return percent(self.intersection, self.union)

    @property
    def accuracy(self) -> float | None:
        """Share of the class's pixels that were found, in percent; None where the labels lack it."""
        return percent(self.intersection, self.label_pixels)

    def as_row(self) -> dict[str, Any]:
        """An element of a row's `per_class`."""
        return {
            "name": self.name,
            "IoU": self.iou,
            "Acc": self.accuracy,
            "intersection": self.intersection,
            "union": self.union,
            "prediction_pixels": self.prediction_pixels,
            "label_pixels": self.label_pixels,
        }


def percent(part: int, whole: int) -> float | None:
    """100 · part / whole, to 4 decimals; None for 0 / 0."""
    return round(100 * part / whole, 4) if whole else None
