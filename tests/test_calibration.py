"""Scales and thresholds from labels, against brute force on tiny arrays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segearth.calibration import (
    SCALES,
    THRESHOLDS,
    Sample,
    Setting,
    confusion,
    fit,
    grid_miou,
    labels,
    leave_one_out,
    mean_iou_of,
    sample,
    unchanged,
)
from segearth.metrics import mean_iou


def drawn(count: int, pixels: int, seed: int, weight: int = 1) -> Sample:
    """Scores with many ties, and truths."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, 11, (count, pixels)) / 10).astype(np.float32)
    return Sample(scores, rng.integers(0, count, pixels).astype(np.uint8), weight)


def plain_labels(scores, setting: Setting, uncertain: int) -> list[int]:
    """A plain loop."""
    found = []
    for column in scores.T:
        best = int(np.argmax(column * setting.scales))
        found.append(uncertain if column[best] < setting.thresholds[best] else best)
    return found


@pytest.mark.parametrize("uncertain", [0, 2, 3])
def test_labels_are_those_of_a_plain_loop(uncertain):
    one = drawn(3, 80, 0)
    setting = Setting(np.array([1.1, 0.8, 1], np.float32), np.array([0.5, 0.7, 0.2], np.float32))
    assert labels(one.scores, setting, uncertain).tolist() == plain_labels(one.scores, setting, uncertain)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("background", [True, False])
def test_the_grid_is_that_of_one_map_for_each_of_its_points(count, background):
    samples = [drawn(count, 60, 1), drawn(count, 40, 2)]
    uncertain = 0 if background else count
    rng = np.random.default_rng(3)
    setting = Setting(rng.choice(SCALES, count).astype(np.float32), rng.choice(THRESHOLDS, count).astype(np.float32))
    scales, thresholds = np.array([0.5, 1, 1.25], np.float32), np.array([0, 0.3, 0.5, 0.9], np.float32)
    truth = np.concatenate([one.truth for one in samples])
    for c in range(count):
        found = grid_miou(samples, setting, uncertain, c, scales, thresholds)
        for (i, scale), (j, threshold) in itertools.product(enumerate(scales), enumerate(thresholds)):
            here = Setting(setting.scales.copy(), setting.thresholds.copy())
            here.scales[c], here.thresholds[c] = scale, threshold
            labelled = np.concatenate([plain_labels(one.scores, here, uncertain) for one in samples])
            assert found[i, j] == pytest.approx(mean_iou(labelled, truth, count), abs=1e-12)


def test_a_weight_counts_as_so_many_pixels():
    one, two = drawn(3, 50, 4), drawn(3, 30, 5)
    threefold = [one, one, one, two]
    start, grid = unchanged(3, 0.2), (np.array([0.8, 1.0], np.float32), np.array([0.2, 0.4], np.float32))
    assert (confusion([one._replace(weight=3), two], start, 3) == confusion(threefold, start, 3)).all()
    weighted = grid_miou([one._replace(weight=3), two], start, 3, 1, *grid)
    np.testing.assert_array_equal(weighted, grid_miou(threefold, start, 3, 1, *grid))


def test_two_classes_reach_the_best_of_all_grid_points():
    """Where only one class can change, a step is a search of all."""
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 2, 400).astype(np.uint8)
    first = np.clip(0.8 - 0.3 * truth + rng.normal(0, 0.15, 400), 0, 1)  # class 0 wins too often
    one = Sample(np.stack([first, 1 - first]).astype(np.float32), truth)
    start = unchanged(2)
    found = fit([one], start, 2, with_thresholds=False)
    best = max(
        mean_iou_of(confusion([one], Setting(np.array(pair, np.float32), start.thresholds), 2))
        for pair in itertools.product(SCALES, SCALES)
    )
    reached = mean_iou_of(confusion([one], found, 2))
    assert reached > mean_iou_of(confusion([one], start, 2)) + 0.05
    assert best - 0.01 < reached <= best
    assert found.scales[0] < found.scales[1]


def test_what_changes_nothing_stays_at_one_and_the_first_threshold():
    scores = np.array([[0.9, 0.05], [0.1, 0.95]], np.float32)
    found = fit([Sample(scores, np.array([0, 1], np.uint8))], unchanged(2, 0.07), 2)
    np.testing.assert_array_equal(found.scales, [1, 1])
    np.testing.assert_array_equal(found.thresholds, np.float32([0.07, 0.07]))


@pytest.mark.parametrize("seed", range(4))
def test_a_fit_is_no_worse_than_its_start_and_the_same_each_time(seed):
    samples, start = [drawn(4, 150, seed), drawn(4, 90, seed + 50)], unchanged(4, 0.3)
    found = fit(samples, start, 0)
    assert mean_iou_of(confusion(samples, found, 0)) >= mean_iou_of(confusion(samples, start, 0))
    assert found.thresholds[0] == np.float32(0.3)  # of the background itself, which has no effect
    again = fit(samples, start, 0)
    np.testing.assert_array_equal(np.stack(found), np.stack(again))


def test_a_threshold_finds_pixels_that_are_no_class():
    """Class 1 wins with low scores where the truth is the background."""
    rng = np.random.default_rng(7)
    truth = np.repeat([0, 1], 100).astype(np.uint8)
    score = np.where(truth == 1, rng.uniform(0.7, 0.9, 200), rng.uniform(0.3, 0.5, 200))
    one = Sample(np.stack([np.full(200, 0.1), score]).astype(np.float32), truth)
    found = fit([one], unchanged(2), 0)
    assert mean_iou_of(confusion([one], found, 0)) == 1
    assert 0.5 <= found.thresholds[1] <= 0.7


def test_leave_one_out_does_not_look_at_the_image_that_it_is_told_on():
    samples, start = [drawn(3, 60, seed) for seed in range(5)], unchanged(3)
    found = list(leave_one_out(samples, start, 3))
    for i, here in enumerate(found):
        others = [one for j, one in enumerate(samples) if j != i]
        assert (here == confusion([samples[i]], fit(others, start, 3), 3)).all()
    fitted = mean_iou_of(confusion(samples, fit(samples, start, 3), 3))
    assert mean_iou_of(np.sum(found, axis=0)) < fitted  # of noise nothing is learnt


def test_pixels_are_sampled_in_both_directions_and_without_the_unlabelled(monkeypatch):
    monkeypatch.setattr("segearth.calibration.MOST_PIXELS", 100)
    scores = np.arange(2 * 30 * 40, dtype=np.float32).reshape(2, 30, 40)
    truth = np.zeros((30, 40), np.uint8)
    truth[:8] = 255
    one = sample(scores, truth, 5)
    assert one is not None
    assert (one.weight, len(one.truth)) == (16, 6 * 10)
    assert one.scores[0, 0] == scores[0, 8, 0]
    assert sample(scores, np.full((30, 40), 255, np.uint8), 5) is None
