"""What summaries and results say of the weights is what was used: real checksums, and none of a file that was not."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from segearth import load_model, weights
from segearth.cli import main
from segearth.clips import resolve
from segearth.errors import UserError
from segearth.provenance import checksum, model_settings


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def own(tmp_path, monkeypatch) -> dict[str, Path]:
    """A user's own CLIP, architecture and upsampler, in the working directory."""
    monkeypatch.chdir(tmp_path)
    files = {
        "clip": ("tiny.safetensors", "mine.safetensors"),
        "json": ("tiny.json", "mine.json"),
        "upsampler": ("tiny_simfeatup.safetensors", "up.safetensors"),
    }
    for packaged, name in files.values():
        shutil.copy(weights.packaged(packaged), name)
    return {kind: Path(name) for kind, (_, name) in files.items()}


@pytest.mark.parametrize(
    ("upsampler", "kind", "has_file"),
    [
        ("default", "bilateral", False),
        ("bilinear", "bilinear", False),
        ("up.safetensors", "up.safetensors", True),
        (None, None, False),
    ],
)
def test_weights_by_path(own, upsampler, kind, has_file):
    (Path.cwd() / "default").touch()  # a file of that name lies about, and is not used
    (Path.cwd() / "bilinear").touch()
    settings = load_model(
        own["clip"], "road; tree", "cpu", architecture="mine.json", upsampler=upsampler, progress=False
    ).settings
    assert settings["weights_sha256"] == sha256(own["clip"])
    assert (settings["upsampler"], settings["upsampler_sha256"]) == (
        kind,
        sha256(own["upsampler"]) if has_file else None,
    )
    assert settings["architecture"] == f"mine.json {sha256(own['json'])[:12]}"
    assert settings == settings | model_settings(resolve(own["clip"], "mine.json"), upsampler, "fp32")


def test_weights_by_name():
    settings = model_settings(resolve("tiny"), "default", "fp32")
    row = resolve("tiny")
    assert (settings["weights_sha256"], settings["upsampler_sha256"]) == (row.file.sha256, row.upsampler_file.sha256)
    assert (settings["architecture"], settings["upsampler"]) == ("tiny", "jbu_one")


def test_the_demo_says_which_upsampler_it_used(own):
    given = ["--model", str(own["clip"]), "--architecture", "mine.json", "--classes", "road; tree", "--long-side", "64"]
    assert main(["demo", *given, "--out", "out", "--device", "cpu"]) == 0
    summary = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))
    assert summary["upsampler"] == summary["settings"]["upsampler"] == "bilateral"
    assert summary["settings"]["weights_sha256"] == sha256(own["clip"])


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.ckpt \(No such file"):
        checksum(tmp_path / "none.ckpt")
