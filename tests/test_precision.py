from contextlib import nullcontext
from threading import Event, Thread

import numpy as np
import pytest
import torch
from conftest import mini_clip
from torch.testing import assert_close

from segearth.classification import classify
from segearth.compute import arithmetic
from segearth.loading import load_model
from segearth.models import DenseCLIP, JBUOne, SegEarth
from segearth.models.precision import no_autocast, true_float32
from segearth.models.tile_kernels import axis
from segearth.predictor import Predictor
from segearth.provenance import versions
from segearth.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(3, 16), dim=-1)
    upsampler = JBUOne(16).eval().requires_grad_(False)
    return SegEarth(DenseCLIP(mini_clip()), queries, torch.arange(3), upsampler, slide_crop=64, slide_stride=32)


@pytest.fixture(scope="module")
def image():
    return torch.randn(1, 3, 80, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def expected(model, image):
    return model.logits(image, (80, 96))


def test_autocast_of_the_caller_changes_nothing(model, image, expected):
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.logits(image, (80, 96)), expected)
        encoded = model.encode(image)
    assert_close(model.encoded_logits(encoded, (80, 96)), expected, atol=1e-6, rtol=0)


def test_the_callers_default_dtype_changes_nothing(model, image, expected):
    axis.cache_clear()  # what is kept between calls must not depend on who called first
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(model.logits(image, (80, 96)), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_callers_default_dtype_changes_no_factor_of_a_class():
    """In bfloat16, 1.002 is 1, and the first of equals would win."""

    class Scores(torch.nn.Module):
        def scores(self, logits):
            return logits

    vocabulary = Vocabulary([["a"], ["b"]], False, scales=[1.0, 1.002])
    logits = torch.tensor([0.5005, 0.5], dtype=torch.float32)[:, None, None]
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert classify(Scores(), vocabulary, logits).best.item() == 1
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_callers_default_device_changes_nothing(model, image, expected):
    axis.cache_clear()
    with torch.device("meta"):
        found = model.logits(image, (80, 96))
    assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("upsampler", ["default", "bilateral"])
def test_a_model_that_is_loaded_under_other_defaults_is_the_same(upsampler):
    """Loaded, given other classes, and used: all after the caller's change."""
    pixels = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)

    def found():
        predictor = load_model("tiny", "road; tree", "cpu", upsampler=upsampler)
        return [of.predict(pixels, None).scores for of in (predictor, predictor.with_classes("water; roof"))]

    expected = found()
    for default in (torch.float64, torch.float16, "meta"):
        on_meta = default == "meta"
        torch.set_default_dtype(torch.float32 if on_meta else default)
        try:
            with torch.device("meta") if on_meta else nullcontext():
                assert_close(found(), expected, atol=1e-6 if on_meta else 0, rtol=0)
                assert torch.get_default_dtype() == (torch.float32 if on_meta else default)
                assert torch.empty(0).is_meta == on_meta
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_are_float32_and_the_setting_is_put_back(precision):
    torch.set_float32_matmul_precision(precision)
    try:
        with true_float32():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9")
def test_the_newer_setting_is_put_back_too():
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with true_float32():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_autocast_is_back_after_the_block():
    with torch.autocast("cpu", torch.bfloat16):
        with no_autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_the_last_thread_that_leaves_puts_the_setting_back():
    """Threads overlap: the first one in is the first one out, and the other is still inside."""
    first_in, second_in, first_out = Event(), Event(), Event()
    seen = []

    def first():
        with true_float32():
            first_in.set()
            second_in.wait(60)
        first_out.set()

    def second():
        first_in.wait(60)
        with true_float32():
            second_in.set()
            first_out.wait(60)
            seen.append(torch.get_float32_matmul_precision())

    torch.set_float32_matmul_precision("high")
    try:
        threads = [Thread(target=target) for target in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert seen == ["highest"]
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("allowed", [True, False])
def test_convolutions_are_float32_and_the_setting_is_put_back(allowed):
    """PyTorch allows TF32 there by default."""
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        with true_float32():
            assert not torch.backends.cudnn.allow_tf32
            if hasattr(torch.backends.cudnn, "conv"):
                assert torch.backends.cudnn.conv.fp32_precision != "tf32"
        assert torch.backends.cudnn.allow_tf32 is allowed
    finally:
        torch.backends.cudnn.allow_tf32 = True


newer = pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9")


def settings():
    """All that PyTorch says of float32; "mixed" where it refuses to, because older and newer settings disagree."""
    backends = torch.backends

    def unless_mixed(read):
        try:
            return read()
        except RuntimeError:
            return "mixed"

    return {
        "everywhere": unless_mixed(torch.get_float32_matmul_precision),
        "cuda": unless_mixed(lambda: backends.cuda.matmul.allow_tf32),
        "cudnn": unless_mixed(lambda: backends.cudnn.allow_tf32),
        **{
            name: part.fp32_precision
            for name, part in {
                "all": backends,
                "cuda products": backends.cuda.matmul,
                "cuda all": backends.cudnn,
                "cuda convolutions": backends.cudnn.conv,
                "cuda rnn": backends.cudnn.rnn,
                "cpu products": backends.mkldnn.matmul,
                "cpu convolutions": backends.mkldnn.conv,
            }.items()
        },
    }


@pytest.fixture
def put_back():
    """PyTorch's own settings, afterwards."""
    yield
    backends = torch.backends
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True
    for part in (backends, backends.cuda.matmul, backends.cudnn, backends.mkldnn.matmul, backends.mkldnn.conv):
        part.fp32_precision = "none"


@newer
@pytest.mark.usefixtures("put_back")
@pytest.mark.parametrize(
    "calls",
    [
        {},
        {"cuda products": "ieee"},
        {"cuda products": "tf32"},
        {"cpu products": "bf16", "cpu convolutions": "tf32"},
        {"all": "tf32"},
        {"all": "bf16"},
        {"cuda all": "tf32"},
        {"cuda convolutions": "ieee"},
        {"everywhere": "high"},
        {"everywhere": "medium"},
        {"everywhere": "medium", "cpu products": "ieee"},
        {"everywhere": "high", "cuda products": "ieee"},
        {"cuda": True},
        {"cudnn": False},
        {"cudnn": False, "all": "tf32"},
    ],
    ids=str,
)
def test_whatever_a_caller_has_set_is_float32_inside_and_the_same_outside(calls):
    backends = torch.backends
    for name, value in calls.items():
        if name == "everywhere":
            torch.set_float32_matmul_precision(value)
        elif name in ("cuda", "cudnn"):
            (backends.cuda.matmul if name == "cuda" else backends.cudnn).allow_tf32 = value
        else:
            owner = {
                "all": backends,
                "cuda products": backends.cuda.matmul,
                "cuda all": backends.cudnn,
                "cuda convolutions": backends.cudnn.conv,
                "cpu products": backends.mkldnn.matmul,
                "cpu convolutions": backends.mkldnn.conv,
            }[name]
            owner.fp32_precision = value
    before = settings()
    with true_float32():
        inside = settings()
    assert settings() == before
    parts = ("cuda products", "cuda convolutions", "cpu products", "cpu convolutions")
    assert not {"tf32", "bf16"} & {inside[part] for part in parts}
    for older in ("everywhere", "cuda", "cudnn"):
        assert inside[older] != "mixed" or before[older] == "mixed"  # can be read wherever it could


@newer
@pytest.mark.usefixtures("put_back")
def test_what_was_said_of_all_is_still_followed_afterwards():
    """A part of which nothing was said must not have an own setting after the block."""
    torch.backends.fp32_precision = "tf32"
    with true_float32():
        pass
    torch.backends.fp32_precision = "ieee"
    assert settings()["cuda products"] == settings()["cpu products"] == settings()["cpu convolutions"] == "ieee"


@newer
@pytest.mark.usefixtures("put_back")
@pytest.mark.parametrize(
    ("set_to", "cuda", "cpu"),
    [
        (lambda: None, None, None),
        (lambda: torch.set_float32_matmul_precision("high"), "TF32", "TF32"),
        (lambda: torch.set_float32_matmul_precision("medium"), "TF32", "bf16"),
        (lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True), "TF32", None),
        (lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"), "TF32", None),
        (lambda: setattr(torch.backends, "fp32_precision", "tf32"), "TF32", "TF32"),
    ],
    ids=["by itself", "high", "medium", "older, CUDA", "newer, CUDA", "newer, all"],
)
def test_what_the_encoder_may_round_is_recorded(set_to, cuda, cpu, monkeypatch):
    """Also while another thread is in a block where nothing may be rounded."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    set_to()
    with true_float32():
        inside = versions()
    for found in (versions(), inside):
        for key, expected in (("float32 products", cpu), ("float32 products on CUDA", cuda)):
            assert found.get(key) == (expected and f"may be rounded to {expected}")
    for kind, expected in (("cpu", cpu), ("cuda", cuda), ("mps", None)):
        told = arithmetic(torch.device(kind))
        assert told == (f"{kind}, products may be rounded to {expected}" if expected else kind)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "float32 products on CUDA" not in versions()


@newer
@pytest.mark.usefixtures("put_back")
def test_a_summary_tells_it(model):
    predictor = Predictor(model, Vocabulary([["a"], ["b"], ["c"]], False))
    torch.set_float32_matmul_precision("medium")
    found = predictor.predict(np.zeros((64, 64, 3), np.uint8), None).summary()
    assert found["versions"]["float32 products"] == "may be rounded to bf16"
