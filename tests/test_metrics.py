import numpy as np
import pytest

from segearth.metrics import band, boundary_counts, boundary_iou, confusion_matrix, iou_per_class, mean_iou

TRUTH = np.array([[0, 0, 1], [1, 255, 2]])
PREDICTION = np.array([[0, 1, 1], [1, 3, 0]])


def test_by_hand():
    confusion = confusion_matrix(PREDICTION, TRUTH, 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    iou = iou_per_class(confusion)
    assert iou[:3].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert np.isnan(iou[3])  # nowhere: left out of the mean
    assert mean_iou(PREDICTION, TRUTH, 4) == pytest.approx(1 / 3)


def test_perfect_map():
    assert mean_iou(TRUTH.clip(max=2), TRUTH, 3) == 1.0
    assert np.isnan(mean_iou(np.full_like(TRUTH, 255), np.full_like(TRUTH, 255), 3))  # nothing is known


@pytest.mark.parametrize("distance", [1, 3])
def test_band_equals_a_plain_search(distance):
    mask = np.random.default_rng(0).random((17, 23)) < 0.9
    padded = np.pad(mask, distance)
    for y, x in np.ndindex(mask.shape):
        around = padded[y : y + 2 * distance + 1, x : x + 2 * distance + 1]
        assert band(mask, distance)[y, x] == (mask[y, x] and not around.all())


def test_boundary_iou_by_hand():
    """A square of 6 moved by one: bands of 1 pixel, 20 each, meet in what their outlines share."""
    truth, moved = np.zeros((2, 20, 20), int)
    truth[4:10, 4:10] = 1
    moved[4:10, 5:11] = 1
    counts = boundary_counts(moved, truth, 2, ratio=0.03)
    a, b = band(truth == 1, 1), band(moved == 1, 1)
    assert a.sum() == b.sum() == 20
    assert counts[1].tolist() == [(a & b).sum(), (a | b).sum()] == [10, 30]
    assert boundary_iou(counts)[1] == pytest.approx(1 / 3)
    hidden = np.where(np.arange(20) < 8, truth, 255)
    assert boundary_counts(moved, hidden, 2, ratio=0.03)[1].sum() < counts[1].sum()
    assert np.isnan(boundary_iou(boundary_counts(truth, truth, 3))[2])
