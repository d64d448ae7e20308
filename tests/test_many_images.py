"""Several images at once, as on a GPU: the same maps as one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segearth import load_model
from segearth.errors import UserError
from segearth.models import factored
from segearth.models import segearth as model_module
from segearth.models.flat import TorchOperations

PLACE = {"long_side": 96, "progress": False}


@pytest.fixture
def predictor(monkeypatch):
    """As on a GPU without Triton."""
    monkeypatch.setattr(factored, "operations_for", lambda *_: TorchOperations())
    return load_model("tiny", "road; tree,forest; water", device="cpu", slide_crop=64, slide_stride=32)


@pytest.fixture
def joined(monkeypatch):
    """How many pictures are upsampled together, call by call."""
    calls = []
    whole = model_module.joined_logits

    def spy(upsampler, features, pictures, *rest):
        calls.append(len(pictures))
        return whole(upsampler, features, pictures, *rest)

    monkeypatch.setattr(model_module, "joined_logits", spy)
    return calls


@pytest.fixture
def pictures(photo):
    turned = [np.ascontiguousarray(other) for other in (photo[::-1], photo[:, ::-1], photo[::-1, ::-1])]
    return [photo, *turned, photo[:60], photo]


def test_images_of_one_size_are_mapped_together(predictor, pictures, joined):
    alone = [predictor.predict(picture, **PLACE) for picture in pictures]
    groups = max(joined, default=1)  # of the windows of one image
    joined.clear()
    together = list(predictor.predict_many(pictures, **PLACE))
    assert joined == [4 * groups, groups, groups]
    for one, other in zip(together, alone, strict=True):
        assert one.labels.shape == other.labels.shape
        torch.testing.assert_close(torch.tensor(one.scores), torch.tensor(other.scores), atol=1e-5, rtol=0)
        assert one.settings == other.settings


def test_as_many_as_the_memory_holds(predictor, pictures, joined):
    few = list(predictor.predict_many(pictures, **PLACE, max_memory_mb=12, scores=False))
    assert len(joined) != 3
    for one, picture in zip(few, pictures, strict=True):
        assert (one.labels == predictor.predict(picture, **PLACE).labels).mean() > 0.9999
        assert one.scores is None


def test_what_fails_has_its_turn_after_those_before_it(predictor, photo):
    made = predictor.predict_many([photo, photo, "none.png", photo], **PLACE)
    assert [next(made).labels.shape for _ in range(2)] == [(90, 130)] * 2
    with pytest.raises(UserError, match="does not exist"):
        next(made)


def test_on_a_processor_one_by_one(photo, joined):
    predictor = load_model("tiny", "road; tree,forest; water", device="cpu", slide_crop=64, slide_stride=32)
    expected = predictor.predict(photo, **PLACE).scores
    assert all(np.array_equal(one.scores, expected) for one in predictor.predict_many([photo, photo], **PLACE))
    assert not joined
