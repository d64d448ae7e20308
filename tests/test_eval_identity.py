"""What a row says of the weights, and what decides whether finished results still count."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path

import pytest
import torch
from mmdata import CONFIGS, loveda, random_tiny, tiny  # noqa: F401 (fixtures)
from safetensors.torch import save_file

from segearth.config_files import ConfigChanges
from segearth.errors import UserError
from segearth.models import JBUOne, attention
from segearth.openmmlab.config import load_config
from segearth.openmmlab.datasets import open_dataset
from segearth.openmmlab.evaluate import evaluate
from segearth.openmmlab.identity import _plug_in_code, run_settings, weight_files
from segearth.openmmlab.model_weights import model_weights

pytestmark = pytest.mark.usefixtures("tiny")

CONFIG = f"""
_base_ = {str(CONFIGS / "cfg_loveda.py")!r}
model = dict(
    clip_type="tiny",
    vit_type="tiny",
    name_path={str(CONFIGS / "cls_loveda.txt")!r},
    feature_up_cfg=dict(model_name="jbu_one", model_path="weights/mine.safetensors"),
)
"""


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    """A config that names an upsampler's file, which is not there yet."""
    monkeypatch.chdir(tmp_path)
    loveda(tmp_path / "data", [(24, 32)])
    (tmp_path / "cfg.py").write_text(CONFIG)
    return tmp_path / "cfg.py"


def draw_upsampler(path: Path) -> str:
    """Writes random weights of an upsampler, and gives their SHA-256."""
    path.parent.mkdir(exist_ok=True)
    torch.manual_seed(1)
    save_file(JBUOne(32, radius=1).state_dict(), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    ("change", "name"),
    [("model.feature_up_cfg.model_name=bilinear", "bilinear"), ("model.feature_up=False", None)],
)
def test_a_named_file_that_is_not_used_is_not_recorded(config, random_tiny, change, name, there):  # noqa: F811
    if there:
        draw_upsampler(config.parent / "weights" / "mine.safetensors")
    run, folder = evaluate(config, "out", changes=ConfigChanges(options=[change]), quiet=True)
    row = run.to_json()
    assert row["upsampler"] == name
    clip = random_tiny / "tiny.safetensors"
    sha256 = hashlib.sha256(clip.read_bytes()).hexdigest()
    assert row["weights"] == {"clip": {"file": clip.name, "sha256": sha256}, "upsampler": None}
    assert json.loads((folder / "results.json").read_text())[0]["weights"] == row["weights"]


def test_a_named_file_that_is_used_is_recorded(config):
    sha256 = draw_upsampler(config.parent / "weights" / "mine.safetensors")
    run, _ = evaluate(config, "out", quiet=True)
    row = run.to_json()
    assert row["upsampler"] == "jbu_one (mine.safetensors)"
    assert row["weights"]["upsampler"] == {"file": "mine.safetensors", "sha256": sha256}


def test_kernels_alone_are_another_run(config):
    draw_upsampler(config.parent / "weights" / "mine.safetensors")
    whole, kernels = (
        evaluate(config, "out", changes=ConfigChanges(upsampler=f"{kind}weights/mine.safetensors"), quiet=True)[0]
        for kind in ("", "kernels:")
    )
    assert whole.fingerprint != kernels.fingerprint
    assert (whole.upsampler, kernels.upsampler) == ("jbu_one (mine.safetensors)", "kernels:jbu_one (mine.safetensors)")


def test_who_multiplies_counts_on_a_cpu_alone(config, monkeypatch):
    """Figures of oneDNN's products are not mixed with those of others; those of a GPU have none of either."""
    settings = load_config(config, changes=ConfigChanges(options=["model.feature_up=False"]))
    dataset = open_dataset(settings.test_dataloader.dataset)

    def both(gpu):
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
        found = []
        for used in (False, True):
            for place in ("segearth.compute", "segearth.models.onednn"):
                monkeypatch.setattr(f"{place}.onednn_is_used", lambda used=used: used)
            found.append(run_settings(settings, dataset))
        return found

    plain, fast = both(gpu=False)
    assert plain != fast
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "Some Card")
    plain, fast = both(gpu=True)
    assert plain == fast


def test_figures_of_an_apple_gpu_are_not_those_of_a_processor(config, monkeypatch):
    settings = load_config(config, changes=ConfigChanges(options=["model.feature_up=False"]))
    dataset = open_dataset(settings.test_dataloader.dataset)
    plain = run_settings(settings, dataset)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert run_settings(settings, dataset) != plain
    settings.model.device = "cpu"
    assert run_settings(settings, dataset) == plain


def test_the_bound_of_memory_does_not_begin_a_run_anew(config):
    draw_upsampler(config.parent / "weights" / "mine.safetensors")
    bounds = ("model.max_memory_mb=50", "model.max_memory_mb=400")
    first, second = (
        evaluate(config, "out", changes=ConfigChanges(options=[bound]), quiet=True)[0].fingerprint for bound in bounds
    )
    assert first == second


def test_the_same_weights_by_two_ways():
    """`model` replaces the other keys, whatever they say."""
    by_name = {"model": "tiny", "clip_type": "CLIP", "feature_up_cfg": {"model_name": "bilinear", "model_path": "x"}}
    assert weight_files(by_name)["upsampler"]["file"] == "tiny_simfeatup.safetensors"
    assert weight_files({**by_name, "feature_up": False})["upsampler"] is None
    by_type = {"clip_type": "tiny", "vit_type": "tiny", "feature_up_cfg": {"model_name": "bilinear"}}
    assert weight_files(by_type)["clip"] == weight_files(by_name)["clip"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"feature_up_cfg": 3}, "feature_up_cfg is 3: expected model_name and model_path"),
        ({"feature_up_cfg": {"model_path": 3}}, "model_path is 3: expected the path"),
        ({"feature_up_cfg": {"model_name": ["jbu_one"]}}, "unknown upsampler"),
        ({"feature_up_cfg": {"model_path": "none.ckpt"}}, "no upsampler 'none.ckpt'"),
    ],
)
def test_keys_that_name_no_weights(model, message):
    with pytest.raises(UserError, match=message):
        model_weights({"clip_type": "tiny", "vit_type": "tiny", **model}).files()


def test_the_code_of_a_plug_in_counts(tmp_path, monkeypatch):
    """Edited, its figures are of another run."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "their_method.py"
    file.write_text("def mix(heads, values):\n    return values\n")
    method = attention.replacing(importlib.import_module("their_method").mix)
    monkeypatch.setitem(attention.METHODS, "Theirs", method)
    (before,) = _plug_in_code("Theirs", "bilateral")
    file.write_text("def mix(heads, values):\n    return 2 * values\n")
    assert _plug_in_code("Theirs", "bilateral") != [before]
    assert _plug_in_code("SegEarth", "bilateral") == _plug_in_code("GEM", None) == []
