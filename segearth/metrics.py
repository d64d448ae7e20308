"""Intersection over union, for maps whose truth is known.

Evaluation on data sets goes through mmsegmentation's IoUMetric; the definitions are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def confusion_matrix(
    prediction: NDArray[np.integer], truth: NDArray[np.integer], num_classes: int, ignore: int = 255
) -> NDArray[np.int64]:
    """Counts pixels by true class (rows) and predicted class (columns).

    Args:
        prediction: class indices, any shape, 0 to num_classes - 1.
        truth: the same shape; pixels with the value `ignore` are left out.
        num_classes: C.
        ignore: the value that marks unlabelled pixels.

    Returns:
        (C, C).
    """
    known = truth != ignore
    code = truth[known].astype(np.int64) * num_classes + prediction[known]
    return np.bincount(code, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou_per_class(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class (C,), from 0 to 1; NaN for a class that is nowhere."""
    intersection = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - intersection
    return np.divide(intersection, union, out=np.full(len(union), np.nan), where=union > 0)


def mean_iou(prediction: NDArray[np.integer], truth: NDArray[np.integer], num_classes: int) -> float:
    """Mean of `iou_per_class` over the classes that are in the truth or the prediction; 0 to 1."""
    return float(np.nanmean(iou_per_class(confusion_matrix(prediction, truth, num_classes))))
