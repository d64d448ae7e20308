"""Other words on a scene whose windows were encoded: the same map, to the last byte, without the encoder."""

import pytest
import torch
from rasters import noise, write
from scenemodels import mini_predictor

from segearth.models.segearth import SegEarth
from segearth.models.simfeatup import Bilinear, JBUOne
from segearth.scenes.encoding_cache import EncodingCache
from segearth.scenes.options import SceneOptions
from segearth.scenes.predict import predict_scene

OPTIONS = SceneOptions(block=96, confidence=True, scores=True)


def predictor_of(words, upsampler):
    found = mini_predictor(words)
    torch.manual_seed(1)
    found.model.upsampler = {"none": lambda: None, "bilinear": Bilinear, "learned": lambda: JBUOne(16)}[upsampler]()
    return found


def files(result):
    return [path.read_bytes() for path in (result.labels, result.confidence, result.scores)]


@pytest.fixture
def calls(monkeypatch):
    """Counts the calls of the encoder."""
    found = []

    def encode(model, image, own=SegEarth._encode):
        found.append(len(image))
        return own(model, image)

    monkeypatch.setattr("segearth.models.segearth.SegEarth._encode", encode)
    return found


@pytest.mark.parametrize("upsampler", ["none", "bilinear", "learned"])
def test_other_words_have_the_map_that_the_model_makes(tmp_path, calls, upsampler):
    scene = write(tmp_path / "scene.tif", noise(3, 170, 150, "uint8"))
    kept = EncodingCache().for_scene("scene", 20)
    first, second = (predictor_of(words, upsampler) for words in ("road; tree", "pool; field,meadow; barn"))
    expected = predict_scene(scene, tmp_path / "a", first, options=OPTIONS)
    assert files(predict_scene(scene, tmp_path / "b", first, options=OPTIONS, window_logits=kept)) == files(expected)
    assert kept.reused == 0
    fresh = predict_scene(scene, tmp_path / "c", second, options=OPTIONS)
    calls.clear()
    found = predict_scene(scene, tmp_path / "d", second, options=OPTIONS, window_logits=kept)
    assert calls == []
    assert kept.reused == kept.computed > 0
    assert files(found) == files(fresh)


def test_a_scene_that_has_changed_is_computed_anew(tmp_path, calls):
    kept, predictor = EncodingCache().for_scene("scene", 4), mini_predictor()
    for seed in (0, 1):
        scene = write(tmp_path / f"{seed}.tif", noise(3, 64, 64, "uint8", seed=seed))
        calls.clear()
        found = predict_scene(scene, tmp_path / "kept", predictor, options=OPTIONS, window_logits=kept)
        assert calls
        assert files(found) == files(predict_scene(scene, tmp_path / "fresh", predictor, options=OPTIONS))


def test_the_newest_scenes_are_kept_and_none_that_is_too_large():
    kept = EncodingCache(max_windows=10)
    first, second = kept.for_scene("first", 4), kept.for_scene("second", 4)
    assert kept.for_scene("large", 11) is None
    assert kept.for_scene("first", 4) is first
    kept.for_scene("third", 4)
    assert kept.for_scene("first", 4) is first  # used last
    assert kept.for_scene("second", 4) is not second
    assert kept.for_scene("first", 5) is not first
