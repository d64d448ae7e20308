"""Several images at once, as on a GPU: the same maps as one by one."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segearth import load_model
from segearth.errors import UserError
from segearth.models import factored, pixel_logits
from segearth.models import segearth as model_module
from segearth.models.flat import TorchOperations

PLACE = {"long_side": 96, "progress": False}
# Bytes of the photo beside its windows: sums of four names, their mean at its own size and on the way; and pixels.
BESIDE = 4 * 4 * (66 * 96 + 2 * 90 * 130) + 12 * 66 * 96 + 3 * 90 * 130


@pytest.fixture
def predictor(monkeypatch):
    """As on a GPU without Triton."""
    monkeypatch.setattr(factored, "operations_for", lambda _, __, scratch_mb=0.0: TorchOperations(scratch_mb))
    return load_model("tiny", "road; tree,forest; water", device="cpu", slide_crop=64, slide_stride=32)


@pytest.fixture
def joined(monkeypatch):
    """How many pictures are upsampled together, call by call."""
    calls = []
    whole = pixel_logits.joined_logits

    def spy(upsampler, features, pictures, *rest):
        calls.append(len(pictures))
        return whole(upsampler, features, pictures, *rest)

    monkeypatch.setattr(pixel_logits, "joined_logits", spy)
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


@pytest.fixture
def mapped(monkeypatch):
    """How many images are mapped at once, and with how much memory, call by call; to maps of zeros."""
    calls = []

    def logits(self, image, size, _, memory):
        calls.append((len(image), memory))
        return torch.zeros(len(image), len(self.query_features), *size)

    monkeypatch.setattr(model_module.SegEarth, "logits", logits)
    return calls


@pytest.mark.parametrize(
    ("count", "calls", "less"), [(2, [2, 2, 1], [1] * 5), (3, [3, 2], [2, 2, 1]), (5, [5], [4, 1])]
)
def test_as_many_as_the_memory_holds(predictor, photo, mapped, count, calls, less):
    """What the windows of so many images and the images themselves take, beside what is gathered, is below it."""
    grid = predictor.model.grid(66, 96)
    window = predictor.model.memory(grid)
    each = grid.count * (window.upsampler + window.logits) + BESIDE
    for share, expected in ((1.01, calls), (0.99, less)):
        mapped.clear()
        memory = share * 2 * count * each / 2**20  # half of it is for what is gathered
        assert len(list(predictor.predict_many([photo] * 5, **PLACE, max_memory_mb=memory, scores=False))) == 5
        assert [images for images, _ in mapped] == expected


def test_what_the_windows_of_all_images_may_take_is_what_one_image_may(predictor, photo, mapped):
    list(predictor.predict_many([photo] * 4, **PLACE, max_memory_mb=300))
    ((count, memory),) = mapped
    assert count == 4
    assert memory == pytest.approx(300 - 3 * BESIDE / 2**20)


@pytest.fixture
def room(monkeypatch):
    """A device on which so many images at once, or images so large, are too many; what was tried."""
    room = SimpleNamespace(images=4, tried=[])
    whole = model_module.SegEarth.logits

    def logits(self, image, *rest):
        room.tried.append(len(image))
        if len(image) > room.images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return whole(self, image, *rest)

    monkeypatch.setattr(model_module.SegEarth, "logits", logits)
    return room


def test_where_memory_is_not_enough_fewer_are_mapped_at_once(predictor, pictures, room):
    expected = [predictor.predict(picture, **PLACE).scores for picture in pictures[:4]]
    for images, tried in ((2, [4, 2, 2]), (1, [4, 2, 1, 1, 2, 1, 1])):
        room.images = images
        room.tried.clear()
        found = list(predictor.predict_many(pictures[:4], **PLACE))
        assert room.tried == tried
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(torch.tensor(one.scores), torch.tensor(other), atol=1e-5, rtol=0)


def test_not_even_one_image_is_one_sentence_and_the_others_go_on(predictor, pictures, room):
    room.images = 0
    made = predictor.predict_many([pictures[0], pictures[1], pictures[4]], **PLACE)
    for size in ("96 × 66", "96 × 66", "96 × 44"):
        with pytest.raises(UserError, match=f"not enough memory on cpu to map map at {size} pixels: use a smaller"):
            next(made)
    with pytest.raises(StopIteration):
        next(made)


def test_another_error_is_not_taken_for_too_little_memory(predictor, pictures, monkeypatch):
    def logits(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(model_module.SegEarth, "logits", logits)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(predictor.predict_many(pictures, **PLACE))


def test_seconds_are_an_image_s_share(predictor, photo, monkeypatch):
    """Of what is done for all, and its own; together they are the time that all took."""
    whole = model_module.SegEarth.logits

    def slow(*given):
        time.sleep(0.4)
        return whole(*given)

    monkeypatch.setattr(model_module.SegEarth, "logits", slow)
    begun = time.perf_counter()
    seconds = [result.seconds for result in predictor.predict_many([photo] * 4, **PLACE)]
    assert 0.4 <= sum(seconds) <= time.perf_counter() - begun
    assert min(seconds) >= 0.1


def test_ctrl_c_while_reading_ends_at_once(predictor, photo, mapped):
    def images():
        yield photo
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(predictor.predict_many(images(), **PLACE))
    assert not mapped


def test_what_fails_has_its_turn_after_those_before_it(predictor, photo):
    made = predictor.predict_many([photo, photo, "none.png", photo], **PLACE)
    assert [next(made).labels.shape for _ in range(2)] == [(90, 130)] * 2
    with pytest.raises(UserError, match="does not exist"):
        next(made)
    assert next(made).labels.shape == (90, 130)
    with pytest.raises(StopIteration):
        next(made)


def test_on_a_processor_one_by_one(photo, joined):
    predictor = load_model("tiny", "road; tree,forest; water", device="cpu", slide_crop=64, slide_stride=32)
    expected = predictor.predict(photo, **PLACE).scores
    assert all(np.array_equal(one.scores, expected) for one in predictor.predict_many([photo, photo], **PLACE))
    assert not joined
