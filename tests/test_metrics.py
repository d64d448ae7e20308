import numpy as np
import pytest

from segearth.metrics import confusion_matrix, iou_per_class, mean_iou

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
