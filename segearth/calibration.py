"""Fits scales and thresholds of classes to a few labelled images, so that mIoU on them is highest.

A class's score s_c is multiplied by its scale a_c before the best class is taken, c* = argmax_c a_c · s_c; where s_c*
is below the threshold t_c*, the pixel becomes the background, or unclassified where there is none. One class after the
other gets the pair (a_c, t_c) of a small grid with the highest mIoU, the others as they are, until nothing changes. Few
labels fit by chance: `leave_one_out` tells what such settings do on an image that they were not fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.metrics import confusion_matrix, iou_per_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_IMAGES = 5  # with fewer, an image that is left out says nothing
MOST_PIXELS = 200_000  # of an image
MOST_SCORES = 1 << 24  # of all images together: 64 MB, and some seconds a fit
# Ends chosen wide, steps as fine as a few images can tell apart; 1 and 0 change nothing.
SCALES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.7, 2.0)
THRESHOLDS = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
_PASSES = 20  # over the classes; two to four are usual
_EQUAL = 1e-12  # differences of mIoU below it are rounding


class Sample(NamedTuple):
    """The labelled pixels of an image, or those on every k-th row and column.

    Attributes:
        scores: (C, P) float32 in [0, 1], before scales.
        truth: (P,) uint8 or uint16, the true classes, 0 to C - 1.
        weight: how many pixels each stands for, k².
    """

    scores: NDArray[np.float32]
    truth: NDArray[np.unsignedinteger]
    weight: int = 1


class Setting(NamedTuple):
    """Scales above 0 and thresholds in [0, 1] of the classes, (C,) float32 each."""

    scales: NDArray[np.float32]
    thresholds: NDArray[np.float32]


def unchanged(classes: int, threshold: float = 0.0) -> Setting:
    """The setting without calibration: scales of 1, and one threshold for all classes."""
    return Setting(np.ones(classes, np.float32), np.full(classes, threshold, np.float32))


def sample(
    scores: NDArray[np.float32], truth: NDArray[np.unsignedinteger], images: int, ignore: int = 255
) -> Sample | None:
    """Takes labelled pixels of an image, so few that those of all images fit into memory.

    Args:
        scores: (C, H, W) in [0, 1].
        truth: (H, W) the true classes.
        images: how many there will be.
        ignore: the value of pixels without a label.

    Returns:
        Pixels at a fixed step in both directions; None if none of them has a label.
    """
    most = max(1, min(MOST_PIXELS, MOST_SCORES // (images * len(scores))))
    step = max(1, math.ceil(math.sqrt(truth.size / most)))
    truth = truth[::step, ::step]
    known = truth != ignore
    return Sample(scores[:, ::step, ::step][:, known], truth[known], step**2) if known.any() else None


def labels(scores: NDArray[np.float32], setting: Setting, uncertain: int) -> NDArray[np.intp]:
    """The class of every pixel.

    Args:
        scores: (C, P).
        setting: of the classes.
        uncertain: what a pixel below its class's threshold becomes: a class, or C.

    Returns:
        (P,), the first of equals.
    """
    best, _ = _best(scores, setting)
    confidence = np.take_along_axis(scores, best[None], axis=0)[0]
    return np.where(confidence < setting.thresholds[best], uncertain, best)


def confusion(samples: Sequence[Sample], setting: Setting, uncertain: int) -> NDArray[np.int64]:
    """Pixels by true class (rows) and predicted class (columns), (C + 1, C + 1); the last one is unclassified."""
    count = len(setting.scales) + 1
    total = np.zeros((count, count), np.int64)
    for part in samples:
        total += part.weight * confusion_matrix(labels(part.scores, setting, uncertain), part.truth, count, count)
    return total


def mean_iou_of(confusion: NDArray[np.int64]) -> float:
    """Mean IoU over the classes that are in the truth or the prediction, 0 to 1, of a matrix of `confusion`."""
    return float(np.nanmean(iou_per_class(confusion)[:-1]))


def fit(samples: Sequence[Sample], start: Setting, uncertain: int, with_thresholds: bool = True) -> Setting:
    """The scales and thresholds of the grid with the highest mIoU that coordinate ascent finds.

    Among equals it takes the scale nearest to 1 (as a ratio), then the threshold nearest to that of `start`.

    Args:
        samples: of the images.
        start: the setting without calibration; its thresholds are in the grid, too.
        uncertain: as of `labels`; this class's threshold stays.
        with_thresholds: whether thresholds may change.

    Returns:
        A setting whose mIoU on the samples is that of `start`, or higher.
    """
    scales, thresholds = start.scales.copy(), start.thresholds.copy()
    reached = mean_iou_of(confusion(samples, start, uncertain))
    for _ in range(_PASSES):
        before = scales.tolist(), thresholds.tolist()
        for c in range(len(scales)):
            usual = float(start.thresholds[c])
            tried_scales = np.unique(np.array([*SCALES, scales[c]], np.float32))
            values = [*THRESHOLDS, usual, thresholds[c]] if with_thresholds and c != uncertain else [usual]
            tried_thresholds = np.unique(np.array(values, np.float32))
            miou = grid_miou(samples, Setting(scales, thresholds), uncertain, c, tried_scales, tried_thresholds)
            reached = max(reached, float(miou.max()))
            change = [
                (abs(math.log(tried_scales[i])), abs(float(tried_thresholds[j]) - usual), i, j)
                for i, j in np.argwhere(miou >= reached - _EQUAL).tolist()
            ]
            if change:
                *_, i, j = min(change)
                scales[c], thresholds[c] = tried_scales[i], tried_thresholds[j]
        if before == (scales.tolist(), thresholds.tolist()):
            break
    return Setting(scales, thresholds)


def leave_one_out(
    samples: Sequence[Sample], start: Setting, uncertain: int, with_thresholds: bool = True
) -> Iterator[NDArray[np.int64]]:
    """For each image, the `confusion` on it with the setting fitted to all others; arguments as of `fit`."""
    for i in range(len(samples)):
        others = [*samples[:i], *samples[i + 1 :]]
        yield confusion([samples[i]], fit(others, start, uncertain, with_thresholds), uncertain)


def grid_miou(
    samples: Sequence[Sample],
    setting: Setting,
    uncertain: int,
    c: int,
    scales: NDArray[np.float32],
    thresholds: NDArray[np.float32],
) -> NDArray[np.float64]:
    """The exact mIoU for every scale and threshold of class c, from one pass over the pixels.

    Without c a pixel has the label o. From some scale on it gets the label c, and keeps it up to some threshold: pixels
    are counted by these two positions in the grid, and sums of the counts give the whole grid.

    Args:
        samples: of the images.
        setting: of the other classes.
        uncertain: as of `labels`.
        c: the class.
        scales: (S,) ascending, of c.
        thresholds: (T,) ascending, of c.

    Returns:
        (S, T), 0 to 1.
    """
    count, (s, t) = len(setting.scales), (len(scales), len(thresholds))
    # pixels by the number of scales that do not suffice, by o, by whether o is right
    other = np.zeros((s + 1, count + 1, 2), np.int64)
    # by the same number, by the number of thresholds reached, by the truth: c, else `uncertain`, else another
    own = np.zeros((s + 1, t + 1, 3), np.int64)
    truths = np.zeros(count + 1, np.int64)
    for part in samples:
        rival, rest = _best(part.scores, setting, without=c)
        score, truth = part.scores[c], part.truth.astype(np.intp)
        fails = np.zeros(len(truth), np.intp)
        if count > 1:
            low = np.take_along_axis(part.scores, rival[None], axis=0)[0] < setting.thresholds[rival]
            label = np.where(low, uncertain, rival)
            rest = np.where(c < rival, rest, np.nextafter(rest, np.float32(np.inf)))  # of equals the first one wins
            for scale in scales:
                fails += score * scale < rest
        else:  # the only class wins everywhere
            label = np.full(len(truth), uncertain)
        reached = np.searchsorted(thresholds, score, side="right")
        kind = np.where(truth == c, 0, np.where(truth == uncertain, 1, 2))
        other += part.weight * _counts((fails, label, label == truth), other.shape)
        own += part.weight * _counts((fails, reached, kind), own.shape)
        truths += part.weight * np.bincount(truth, minlength=count + 1)
    # at scale i the pixels with fails > i are another's, and of the rest those with reached > j are c's
    others = other[::-1].cumsum(axis=0)[::-1][1:]  # (S, C + 1, 2)
    won = own.cumsum(axis=0)[:s]  # (S, T + 1, 3)
    passed = won[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]  # (S, T, 3)
    failed = won.sum(axis=1, keepdims=True) - passed
    hits = np.repeat(others[:, None, :, 1], t, axis=1)  # (S, T, C + 1)
    predicted = np.repeat(others.sum(axis=2)[:, None], t, axis=1)
    hits[..., c] += passed[..., 0]
    predicted[..., c] += passed.sum(axis=2)
    hits[..., uncertain] += failed[..., 0 if uncertain == c else 1]
    predicted[..., uncertain] += failed.sum(axis=2)
    union = (truths + predicted - hits)[..., :count]
    iou = np.divide(hits[..., :count], union, out=np.full(union.shape, np.nan), where=union > 0)
    return np.nanmean(iou, axis=2)


def _best(
    scores: NDArray[np.float32], setting: Setting, without: int | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The best class (P,) by scaled scores, the first of equals, and the scaled score (P,); below 0 without classes."""
    best, highest = np.zeros(scores.shape[1], np.intp), np.full(scores.shape[1], -1, np.float32)
    for i, scale in enumerate(setting.scales):
        if i != without:
            scaled = scores[i] * scale
            np.copyto(best, i, where=scaled > highest)
            np.maximum(highest, scaled, out=highest)
    return best, highest


def _counts(codes: tuple[NDArray[np.integer | np.bool_], ...], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """How many pixels have each combination of codes."""
    joined = codes[0]
    for code, size in zip(codes[1:], shape[1:], strict=True):
        joined = joined * size + code
    return np.bincount(joined, minlength=math.prod(shape)).reshape(shape)
