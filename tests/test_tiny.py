"""The packaged small CLIP is what it says it is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from segearth import weights
from segearth.clips import resolve
from segearth.loading import load_clip, load_model, load_upsampler
from segearth.models import Bilinear
from segearth.synthetic import CLASSES, DEMO_SEED, draw_scene
from segearth.vocabulary import Vocabulary
from tiny_clip import methods, sources
from tiny_clip.evaluation import HELD_OUT_SCENES, Truth, mapper, measure

DATA = Path(weights.__file__).parent / "data"


@pytest.fixture(scope="module")
def tiny():
    return load_clip("tiny")


def test_weights_are_small_and_plain():
    path = DATA / "tiny.safetensors"
    assert path.stat().st_size < 20e6
    assert b"pickle" not in path.read_bytes()
    with safe_open(path, framework="pt") as file:
        assert "not OpenAI's CLIP" in file.metadata()["about"]
        assert int(file.metadata()["steps"]) > 0
        assert {str(file.get_slice(name).get_dtype()) for name in file.keys()} == {"F16"}  # noqa: SIM118


def test_the_shown_scenes_are_not_trained_on():
    assert max(DEMO_SEED, *HELD_OUT_SCENES) < sources.POOL_SEEDS


def test_the_demo_scene_is_mapped(tiny):
    with Image.open(DATA / "scene.jpg") as image, Image.open(DATA / "scene_labels.png") as labels:
        demo = Truth("demo scene", [np.array(image.convert("RGB"))], [np.array(labels)], CLASSES)
    bilinear = measure(demo, mapper(tiny, demo))
    ours = measure(demo, mapper(tiny, demo, upsampler=load_upsampler("default", resolve("tiny"))))
    assert bilinear.miou > 0.79  # measured: 0.806; floors against regressions
    assert ours.miou > 0.84  # 0.859
    assert ours.mean_boundary > bilinear.mean_boundary + 0.08  # 0.655 and 0.543


def test_its_upsampler_is_small_plain_and_says_how_it_was_made():
    path = weights.packaged("tiny_simfeatup.safetensors")
    assert path.stat().st_size < 300e3
    with safe_open(path, framework="pt") as file:
        made = file.metadata()
    assert (made["model"], made["start"], made["dropout"], made["seed"]) == ("tiny", "bilateral", "False", "0")


def test_the_table_of_methods_in_the_card(tiny, tmp_path, monkeypatch):
    """Each way once, the averages from shared views; the table replaces an earlier one and outlives a new card."""
    monkeypatch.setattr(methods, "LONG_SIDE", 64)
    monkeypatch.setattr(methods, "WAYS", methods.WAYS[-3:-1])
    scene = draw_scene(0, 64)
    truth = Truth("a scene", [scene.image], [scene.labels], CLASSES)
    measured = methods.measure_ways(tiny, [truth], Bilinear())
    assert list(measured) == [way.name for way in methods.WAYS]
    predictor = load_model("tiny", Vocabulary(CLASSES), device="cpu", upsampler="bilinear", tta="turns")
    expected = measure(truth, lambda image: predictor.predict(image, 64).labels)
    assert measured['`tta="turns"`, 4 maps'].scores["a scene"].miou == pytest.approx(expected.miou, abs=1e-3)
    assert measured[methods.WAYS[0].name].time == 1
    card = tmp_path / "card.md"
    card.write_text("# A\n\n## Measured\n\n1\n\n## Limits\n\n- few\n")
    for _ in range(2):
        methods.write_section(card, methods.section(measured, 5))
    text = card.read_text()
    assert text.count("### Methods beyond the paper") == 1
    assert "are layers 3 to 4 of these 5 blocks" in text
    assert text.startswith("# A\n\n## Measured\n\n1\n\n### Methods")
    assert text.endswith(" |\n\n## Limits\n\n- few\n")
    assert methods.earlier_section(card) == methods.section(measured, 5)
    assert methods.earlier_section(tmp_path / "none.md") == ""
