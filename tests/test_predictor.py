import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import load_script
from PIL import Image
from safetensors.torch import save_file

from segearth import load_model
from segearth.errors import UserError, UserNotice
from segearth.loading import load_clip
from segearth.predictor import Predictor
from segearth.transfer import normalise
from segearth.weights import packaged


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_model("tiny", "road; tree,forest; building,roof,house; water", device="cpu")


def test_result(predictor, photo):
    result = predictor.predict(photo)
    assert result.labels.shape == result.confidence.shape == (90, 130)
    assert result.labels.dtype == np.uint8
    assert result.scores.shape == (4, 90, 130)
    assert result.scores.dtype == result.confidence.dtype == np.float32
    assert result.scores.min() >= 0
    assert result.scores.max() <= 1
    assert np.array_equal(result.labels, result.scores.argmax(axis=0))
    assert np.array_equal(result.confidence, result.scores.max(axis=0))
    assert result.classes == ("road", "tree", "building", "water")
    assert result.palette.shape == (4, 3)
    assert result.palette.dtype == np.uint8


def test_path_picture_and_array_are_one(predictor, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a.png")
    expected = predictor.predict(photo).scores
    for form in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(photo)):
        assert np.array_equal(predictor.predict(form).scores, expected)


@pytest.mark.parametrize("long_side", [448, 100, None])
@pytest.mark.parametrize("size", [(1, 1), (3, 1500), (40, 30)])
def test_any_size_and_long_side(predictor, size, long_side):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    result = predictor.predict(pixels, long_side=long_side)
    assert result.labels.shape == size
    assert np.isfinite(result.scores).all()


def test_3_by_5000(predictor):
    assert predictor.predict(np.zeros((3, 5000, 3), np.uint8), long_side=None).labels.shape == (3, 5000)


def test_remarks_are_kept(predictor, photo):
    rgba = Image.fromarray(photo).convert("RGBA")
    assert "alpha" in predictor.predict(rgba, long_side=100).remarks[0]


WHOLE = "expected a whole number of pixels"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        *(("long_side", value, f"^long side .*{WHOLE}") for value in ("448", 448.0, True, np.True_, 0, -5, 2**31)),
        *(("long_side", value, f"^long side .*{WHOLE}") for value in (float("nan"), [448], np.array([448]), b"448")),
        ("long_side", 10**9, "makes the image .* pixels: expected at most 89,478,485"),
        *(("max_pixels", value, f"^max_pixels .*{WHOLE}") for value in ("9", 1e6, False, 0)),
        *(("max_memory_mb", value, "expected a number of megabytes") for value in ("400", True, 0, float("nan"))),
        ("max_memory_mb", float("inf"), "expected a number of megabytes"),
    ],
)
def test_wrong_numbers(predictor, photo, option, value, message):
    for call in (
        predictor.predict,
        predictor.encode,
        lambda one, **wrong: list(predictor.predict_many([one], **wrong)),
    ):
        with pytest.raises(UserError, match=message):
            call(photo, **{option: value})


def test_numbers_of_other_types(predictor, photo):
    expected = predictor.predict(photo, 100)
    result = predictor.predict(photo, np.int16(100), max_memory_mb=np.float32(400), max_pixels=np.uint8(1))
    assert np.array_equal(result.scores, expected.scores)
    assert json.dumps(result.settings) == json.dumps(expected.settings)


def test_a_large_image_at_a_small_long_side(predictor, photo, tmp_path, monkeypatch):
    """Neither an array nor a file whose bytes hold its pixels is ever too large."""
    Image.fromarray(photo).save(tmp_path / "a.png")
    expected = predictor.predict(photo, 100).labels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # the photo has 11,700
    for source in (photo, tmp_path / "a.png"):
        assert np.array_equal(predictor.predict(source, 30).labels.shape, photo.shape[:2])
        assert predictor.predict(source, None).labels.shape == photo.shape[:2]
        with pytest.raises(UserError, match="long_side=200 makes the image 200 × 138 pixels: .*max_pixels=27600"):
            predictor.predict(source, 200)
        assert np.array_equal(predictor.predict(source, 100).labels, expected)


def test_images_of_other_types(predictor, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a.png")
    expected = predictor.predict(photo, 100).labels
    buffer = io.BytesIO((tmp_path / "a.png").read_bytes())
    assert np.array_equal(predictor.predict(buffer, 100).labels, expected)
    (result,) = predictor.predict_many([buffer], 100)
    assert np.array_equal(result.labels, expected)
    with Image.open(tmp_path / "a.png") as picture:
        pass
    with pytest.raises(UserError, match="the given image cannot be read"):
        predictor.predict(picture)
    for one in (buffer, photo, picture):
        with pytest.raises(UserError, match="the given .* is one image: expected several"):
            predictor.predict_many(one)
    for none in (None, 7):
        with pytest.raises(UserError, match="expected several; give a list of images"):
            predictor.predict_many(none)


def test_many_classes(photo, monkeypatch):
    monkeypatch.setattr("segearth.models.text.OPENAI_IMAGENET_TEMPLATES", [str])  # one text a class is enough here
    predictor = load_model("tiny", [f"thing {i}" for i in range(300)], device="cpu")
    assert predictor.predict(photo, long_side=64).labels.dtype == np.uint16


def test_normalise():
    pixel = torch.tensor([122.771, 116.746, 104.094])[None, :, None, None]
    assert normalise(pixel).abs().max() < 1e-6
    assert torch.allclose(
        normalise(pixel + torch.tensor([68.501, 0, 0])[:, None, None])[0, :, 0, 0], torch.tensor([1.0, 0, 0])
    )


def test_bf16_agrees_with_fp32(predictor, test_data):
    """On a real image; at least 99.5 % of the labels."""
    image = test_data / "samples" / "OpenEarthMap" / "koeln_50.tif"
    half = load_model("tiny", predictor.vocabulary, device="cpu", precision="bf16")
    equal = predictor.predict(image).labels == half.predict(image).labels
    assert equal.mean() >= 0.995


def test_repr_classes_and_no_changes(predictor):
    assert repr(predictor) == "<Predictor tiny on cpu: 4 classes (road; tree; building; water)>"
    assert predictor.classes == ("road", "tree", "building", "water")
    for name in ("classes", "vocabulary", "treshold"):
        with pytest.raises(AttributeError, match=rf"'{name}' cannot be set: use with_classes"):
            setattr(predictor, name, "road; sea")


def test_other_classes_encode_text_alone(predictor, photo, monkeypatch):
    expected = load_model("tiny", "sea; meadow,lawn", device="cpu").predict(photo, 100)
    monkeypatch.setattr("segearth.building.load_clip", None)  # nothing is loaded again
    other = predictor.with_classes({"sea": [], "meadow": ["lawn"]})
    found = other.predict(photo, 100)
    assert np.array_equal(found.scores, expected.scores)
    assert found.classes == ("sea", "meadow")
    assert other.model.encoder is predictor.model.encoder
    assert predictor.classes == ("road", "tree", "building", "water")
    with pytest.raises(UserError, match="no text encoder"):
        Predictor(predictor.model, predictor.vocabulary).with_classes("sea; meadow")


def test_an_encoded_image_takes_other_words(predictor, photo):
    encoded = predictor.encode(photo, 300)
    assert repr(encoded) == "<Encoded 'map': 130 × 90 pixels, 2 windows>"
    same, direct = encoded.classify(), predictor.predict(photo, 300)
    assert np.abs(same.scores - direct.scores).max() < 1e-4
    assert same.settings == direct.settings
    other = encoded.classify("sea; meadow", scores=False)
    expected = predictor.with_classes("sea; meadow").predict(photo, 300)
    assert other.scores is None
    assert np.abs(other.confidence - expected.confidence).max() < 1e-4
    assert encoded.classify("sea; meadow", background="sea").vocabulary.background == 0
    assert encoded.classify(background="tree").vocabulary.background == 1


def test_threshold_and_factor(photo):
    predictor = load_model("tiny", "road; tree; water", device="cpu", threshold=0.9)
    result = predictor.predict(photo, 100)
    assert np.array_equal(result.labels, np.where(result.confidence < 0.9, 254, result.best))
    assert (result.threshold, result.settings["threshold"]) == (0.9, 0.9)
    trees = predictor.with_threshold({"tree": 0})
    assert (trees.threshold, trees.vocabulary.thresholds) == (0.9, (None, 0, None))
    plain = predictor.with_threshold(0).predict(photo, 100)
    assert np.array_equal(plain.labels, result.best)
    scaled = predictor.with_classes("road; tree | scale=1e12; water").predict(photo, 100)
    assert (scaled.best == 1).all()
    assert np.array_equal(scaled.confidence, scaled.scores[1])  # without the factor: a score stays one
    assert scaled.confidence.max() <= 1
    old = load_model("tiny", "road; tree; water", device="cpu", prob_thd=0.9, bg_idx=1)
    assert (old.threshold, old.vocabulary.background) == (0.9, 1)


def test_many_images_in_order_and_as_single_ones(predictor, photo):
    pictures = [photo, np.ascontiguousarray(photo[::-1]), photo[:40], np.ascontiguousarray(photo[:, ::-1])]
    seen = []
    results = list(predictor.predict_many(pictures, 100, lambda done, total: seen.append((done, total))))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for picture, result in zip(pictures, results, strict=True):
        single = predictor.predict(picture, 100)
        assert result.labels.shape == picture.shape[:2]
        assert np.array_equal(result.scores, single.scores)
    made = predictor.predict_many([photo, "none.png", photo], 100)
    assert np.array_equal(next(made).labels, results[0].labels)  # it has its turn before the one that fails
    with pytest.raises(UserError, match="does not exist"):
        next(made)
    assert len(list(predictor.predict_many(iter(pictures), 100, scores=False))) == 4


def test_a_bar_is_drawn_where_somebody_looks(predictor, photo, capsys, monkeypatch):
    predictor.predict(photo, 100)
    assert capsys.readouterr().err == ""  # no terminal
    predictor.predict(photo, 100, progress=True)
    assert "windows" in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    predictor.predict(photo, 100)
    assert "windows" in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None)))
    predictor.predict(photo, 100)
    assert "windows" in capsys.readouterr().err  # a notebook
    monkeypatch.setenv("SEGEARTH_NO_PROGRESS", "1")
    predictor.predict(photo, 100)
    assert capsys.readouterr().err == ""


def test_threads_may_share_a_predictor(predictor, photo):
    pictures = [np.roll(photo, shift, axis=1) for shift in range(4)]
    expected = [predictor.predict(one, 100).scores for one in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: predictor.predict(one, 100).scores, pictures))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


FORK = """
import os, sys
import numpy as np, torch
from segearth import load_model

torch.set_num_threads(4)
predictor = load_model("tiny", "road; tree", device="cpu")
pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
expected = predictor.predict(pixels, None).labels
child = os.fork()
if child == 0:
    os._exit(0 if torch.get_num_threads() == 1 and (predictor.predict(pixels, None).labels == expected).all() else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_computes_with_one_thread():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_cuda_after_a_fork_is_a_sentence(predictor, photo, monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    assert predictor.predict(photo, 64).labels.shape == (90, 130)  # the CPU does not care
    monkeypatch.setattr(Predictor, "device", property(lambda self: torch.device("cuda")))
    with pytest.raises(UserError, match='"spawn"'):
        predictor.predict(photo, 64)


def test_wrong_options_of_a_predictor(predictor, photo):
    for call, message in (
        (
            lambda: predictor.predict(photo, longside=100),
            r"predict has no option 'longside': did you mean 'long_side'\?",
        ),
        (lambda: predictor.predict_many([photo], score=False), r"did you mean 'scores'\?"),
        (lambda: predictor.encode(photo, zzz=1), "encode has no option 'zzz': expected one of image, long_side"),
        (lambda: predictor.predict(photo, "100"), "long side '100': expected a whole number of pixels"),
        (lambda: predictor.predict_many("scene.jpg"), r"is one image: expected several; use predict\(...\)"),
        (lambda: predictor.with_classes(None), "None are no classes"),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_weights_too_large_for_float32_give_no_map(photo, tmp_path):
    """Finite weights whose products are not: no map, no JSON, exit code 2."""
    clip = load_clip("tiny")
    clip.visual.conv1.weight.data.fill_(3e38)
    save_file(clip.state_dict(), tmp_path / "large.safetensors")
    Image.fromarray(photo).save(tmp_path / "a.png")
    architecture = str(packaged("tiny.json"))
    predictor = load_model(tmp_path / "large.safetensors", "road; tree", "cpu", architecture=architecture)
    encoded = predictor.encode(photo)
    for mapped in (lambda: predictor.predict(photo), lambda: list(predictor.predict_many([photo])), encoded.classify):
        with pytest.raises(UserError, match="no numbers as scores"):
            mapped()
    given = ["--image", tmp_path / "a.png", "--model", tmp_path / "large.safetensors", "--architecture", architecture]
    assert load_script("demo.py").main([*map(str, given), "--device", "cpu", "--out", str(tmp_path / "out")]) == 2
    assert not list(tmp_path.glob("out/*"))


def test_a_notice_points_to_the_callers_line():
    with pytest.warns(UserNotice, match="every pixel becomes") as seen:
        load_model("tiny", "road, tree", device="cpu")
    assert seen[0].filename == __file__
