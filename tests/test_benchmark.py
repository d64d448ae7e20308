"""The benchmark runs and adds up; its figures are for people to read, not for tests."""

import json

import pytest
import torch
from conftest import load_script, mini_clip

from benchmarks.published import upsample
from benchmarks.workload import window_batch
from segearth.models import DenseCLIP, JBUOne, SegEarth
from segearth.predictor import Predictor
from segearth.vocabulary import Vocabulary

benchmark = load_script("tools/benchmark.py")


def small_models(precisions=("fp32", "bf16"), _=None):
    """A mini CLIP in place of the ViT-B/16; windows stay 224."""
    clip = mini_clip(image_size=224)
    queries = torch.nn.functional.normalize(torch.randn(2, 16), dim=-1)
    model = SegEarth(DenseCLIP(clip), queries, torch.tensor([0, 1]), JBUOne(16).eval())
    return clip, {name: Predictor(model, Vocabulary.from_string("road; tree")) for name in precisions}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(benchmark, "models", small_models)


def test_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "measure_memory", benchmark.peak_memory)
    found = benchmark.main(["--rounds", "1", "--side", "336", "--memory", "224", "--out", str(tmp_path / "b.json")])
    assert json.loads((tmp_path / "b.json").read_text()) == found
    assert found["windows"] == 4
    assert found["products"] == "SEGEARTH_ONEDNN is 0"
    for precision, seconds in (("fp32", found["seconds"]["fp32"]), ("bf16", found["seconds"]["bf16"])):
        parts = found["parts"][precision]
        assert set(parts) == {*benchmark.PARTS, "rest"}
        assert min(parts.values()) > 0  # every part is met: the functions that are timed are those that run
        assert sum(parts.values()) == pytest.approx(seconds)
    printed = capsys.readouterr().out
    assert "adaptive convolution" in printed
    assert "× (a)" in printed
    assert f"{found['seconds']['fp32'] / found['seconds']['best visual']:.2f} × (A)" in printed
    assert f"as {found['products']}" in printed


@torch.inference_mode()
def test_unfolded_window_is_the_same_computation():
    """What is compared with gives the same logits, or the comparison would mean nothing."""
    _, predictors = small_models(("fp32",))
    model = predictors["fp32"].model
    source = torch.randn(1, 16, 4, 4)
    guidance = window_batch(64)
    expected = torch.nn.functional.normalize(model.upsampler(source, guidance), dim=1)
    expected = torch.einsum("bdhw,qd->bqhw", expected, model.query_features)
    assert torch.allclose(upsample(model.upsampler, source, guidance, model.query_features), expected, atol=1e-5)
