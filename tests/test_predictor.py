import numpy as np
import pytest
import torch
from PIL import Image

from segearth import load_model
from segearth.errors import UserError
from segearth.predictor import Predictor, normalise, resize


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


def test_wrong_long_side(predictor, photo):
    with pytest.raises(UserError, match="long side 0"):
        predictor.predict(photo, long_side=0)


def test_many_classes(photo, monkeypatch):
    monkeypatch.setattr("segearth.models.text.OPENAI_IMAGENET_TEMPLATES", [str])  # one text a class is enough here
    predictor = load_model("tiny", [f"thing {i}" for i in range(300)], device="cpu")
    assert predictor.predict(photo, long_side=64).labels.dtype == np.uint16


@pytest.mark.parametrize(("height", "width"), [(378, 448), (448, 120), (30, 500), (90, 130)])
def test_resize_agrees_with_opencv(photo, height, width):
    cv2 = pytest.importorskip("cv2", reason="opencv needs system libraries that are not here", exc_type=ImportError)
    noisy = np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint8)
    for pixels in (photo, noisy):
        ours = resize(torch.from_numpy(pixels).permute(2, 0, 1)[None], (height, width))[0].permute(1, 2, 0).numpy()
        theirs = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        assert np.abs(ours - theirs).max() <= 1


def test_normalise():
    pixel = torch.tensor([122.771, 116.746, 104.094])[None, :, None, None]
    assert normalise(pixel).abs().max() < 1e-6
    assert torch.allclose(
        normalise(pixel + torch.tensor([68.501, 0, 0])[:, None, None])[0, :, 0, 0], torch.tensor([1.0, 0, 0])
    )


def test_bf16_agrees_with_fp32(predictor, test_data):
    """On a real image; at least 99 % of the labels."""
    image = test_data / "samples" / "OpenEarthMap" / "koeln_50.tif"
    half = load_model("tiny", predictor.vocabulary, device="cpu", precision="bf16")
    equal = predictor.predict(image).labels == half.predict(image).labels
    assert equal.mean() >= 0.99
