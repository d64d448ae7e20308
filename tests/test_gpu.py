"""What a GPU computes is what a processor computes; run by `pytest -m gpu` on a machine with one, skipped elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from segearth import load_model
from segearth.images.resizing import resized_size
from segearth.models import factored
from segearth.models.flat import TorchOperations
from segearth.predictor import Predictor
from segearth.synthetic import draw_scene
from segearth.transfer import to_model

CLASSES = "background; building; road; tree,forest; water"

pytestmark = pytest.mark.gpu


def load(device: torch.device | str, precision: str = "fp32") -> Predictor:
    return load_model("tiny", CLASSES, device=device, precision=precision)


@pytest.fixture(params=["drawn", "real"])
def image(request) -> np.ndarray:
    if request.param == "drawn":
        return draw_scene(0).image
    file = request.getfixturevalue("test_data") / "samples" / "OpenEarthMap" / "koeln_50.tif"
    with Image.open(file) as picture:
        return np.array(picture.convert("RGB"))


@pytest.fixture
def expected(gpu, image):  # noqa: ARG001 (without a GPU there is nothing to compare)
    """The map of a processor in float32."""
    return load("cpu").predict(image)


@pytest.fixture(params=["as it comes", "without Triton", "in bands"])
def kernels(request, monkeypatch):
    """The ways to upsample; the processor's map is made before."""
    request.getfixturevalue("expected")
    if request.param != "as it comes":
        operations = TorchOperations() if request.param == "without Triton" else None
        monkeypatch.setattr(factored, "operations_for", lambda *_: operations)


def logits_on(device: torch.device, image: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        pixels = to_model(image, resized_size(*image.shape[:2], 448), device)
        return load(device).model.logits(pixels, image.shape[:2]).cpu()


@pytest.mark.usefixtures("kernels")
def test_float32_gives_the_processors_logits(gpu, image):
    expected = logits_on(torch.device("cpu"), image)
    assert_close(logits_on(gpu, image), expected, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("kernels")
def test_float32_gives_the_processors_scores(gpu, image, expected):
    found = load(gpu).predict(image)
    # logits are times 50 in them
    assert_close(torch.tensor(found.scores), torch.tensor(expected.scores), atol=5e-5, rtol=0)
    assert (found.labels == expected.labels).mean() >= 0.9999


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.999), ("bf16", 0.995)])
def test_labels_of_16_bits_agree(gpu, image, expected, precision, share):
    if precision == "bf16" and gpu.type == "cuda" and not torch.cuda.is_bf16_supported():
        pytest.skip("this GPU has no bfloat16")
    assert (load(gpu, precision).predict(image).labels == expected.labels).mean() >= share


def test_rounding_that_the_caller_allows_reaches_the_encoder_alone(gpu, image, expected):
    """TF32 in the keys would move scores by 7e-3, and labels with them."""
    torch.set_float32_matmul_precision("high")
    try:
        found = load(gpu).predict(image)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert_close(torch.tensor(found.scores), torch.tensor(expected.scores), atol=4e-3, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_many_images_are_mapped_as_one(gpu, image, precision):
    predictor = load(gpu, precision)
    images = [image, image[::-1].copy(), image[:, ::-1].copy(), image[:100], image]
    for picture, found in zip(images, predictor.predict_many(images), strict=True):
        alone = predictor.predict(picture)
        tolerance = 1e-5 if precision == "fp32" else 2e-3
        assert_close(torch.tensor(found.scores), torch.tensor(alone.scores), atol=tolerance, rtol=0)
        assert (found.labels == alone.labels).mean() >= 0.9995


def test_memory_changes_nothing(gpu, image):
    predictor = load(gpu)
    expected = predictor.predict(image).scores
    for memory in (20, 100):
        found = predictor.predict(image, max_memory_mb=memory).scores
        assert_close(torch.tensor(found), torch.tensor(expected), atol=5e-5, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_two_streams_do_not_disturb_each_other(gpu, image, precision):
    if gpu.type != "cuda":
        pytest.skip("streams are CUDA's")
    predictor = load(gpu, precision)
    images = [image, image[::-1].copy()]
    expected = [predictor.predict(picture).scores for picture in images]

    def work(number: int) -> list[np.ndarray]:
        with torch.cuda.stream(torch.cuda.Stream()):
            return [predictor.predict(images[number]).scores for _ in range(5)]

    with ThreadPoolExecutor(2) as pool:
        for wanted, found in zip(expected, pool.map(work, range(2)), strict=True):
            for scores in found:
                tolerance = 1e-5 if precision == "fp32" else 2e-3
                assert_close(torch.tensor(scores), torch.tensor(wanted), atol=tolerance, rtol=0)


def test_too_little_memory_gives_a_sentence(gpu, tmp_path, capsys):
    """No traceback, and nothing half-written."""
    from segearth import cli

    if gpu.type != "cuda":
        pytest.skip("the limit is CUDA's")
    Image.new("RGB", (2000, 2000)).save(tmp_path / "a.png")
    command = ["predict", str(tmp_path / "a.png"), "-c", CLASSES, "--model", "tiny", "--long-side", "2000"]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(200 / (torch.cuda.mem_get_info()[1] / 2**20))
    try:
        code = cli.main([*command, "-o", str(tmp_path / "out")])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    said = capsys.readouterr().err
    assert code in (1, 2)
    assert "not enough memory" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "out").glob("*.png"))
