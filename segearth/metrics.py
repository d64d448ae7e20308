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
    """Mean of `iou_per_class` over the classes that are in the truth or the prediction; 0 to 1, NaN without any.

    A predicted value that is no class, such as *unclassified*, is a miss of the true class.
    """
    confusion = confusion_matrix(np.minimum(prediction, num_classes), truth, num_classes + 1)
    found = iou_per_class(confusion)[:num_classes]
    return float("nan") if np.isnan(found).all() else float(np.nanmean(found))


def boundary_counts(
    prediction: NDArray[np.integer],
    truth: NDArray[np.integer],
    num_classes: int,
    ratio: float = 0.01,
    ignore: int = 255,
) -> NDArray[np.int64]:
    """Counts for Boundary IoU (Cheng et al., CVPR 2021, arXiv 2103.16562, equation 3).

    Of each class's region only the pixels within d of its outline count, d = ratio · image diagonal; the borders
    of the image and of what is unlabelled are outline too. Add the counts of several images up before dividing.

    Args:
        prediction: (H, W) class indices.
        truth: (H, W) class indices; pixels with the value `ignore` are left out.
        num_classes: C.
        ratio: of the diagonal. The paper takes about 15 pixels, 2 % for COCO and 0.5 % for Cityscapes; 1 % is
            that for 1024 × 1024.
        ignore: the value that marks unlabelled pixels.

    Returns:
        (C, 2): pixels of the intersection and of the union of the two bands.
    """
    distance = max(1, round(ratio * float(np.hypot(*truth.shape))))
    known = truth != ignore
    counts = np.zeros((num_classes, 2), np.int64)
    for i in range(num_classes):
        found, right = (band((labels == i) & known, distance) for labels in (prediction, truth))
        counts[i] = np.count_nonzero(found & right), np.count_nonzero(found | right)
    return counts


def band(mask: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """The pixels of a mask (H, W) that are nearer than `distance` to its outside, by rows and columns."""
    inside = mask
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (distance + 1, distance)
        total = np.pad(inside.astype(np.int32), pad).cumsum(axis=axis)
        length, window = mask.shape[axis], 2 * distance + 1
        last, first = np.arange(window, window + length), np.arange(length)
        inside = total.take(last, axis) - total.take(first, axis) == window  # none of the window is outside
    return mask & ~inside


def boundary_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Boundary IoU of each class (C,) from `boundary_counts`; NaN for a class that is nowhere."""
    return np.divide(counts[:, 0], counts[:, 1], out=np.full(len(counts), np.nan), where=counts[:, 1] > 0)
