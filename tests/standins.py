"""Small random weights in place of published CLIPs: patch, activation, format and names of tensors are theirs."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segearth import architectures
from segearth.clips import CLIPS, UPSAMPLER_FILES, Spec
from segearth.hashes import sha256_of
from segearth.models import JBUOne

WIDTH = 64
SIMFEATUP = "xclip_jbu_one_million_aid"
PUBLISHED = [name for name in CLIPS if name != "tiny"]


def small(architecture: str) -> dict[str, Any]:
    """An architecture of open_clip, 64 wide and two layers deep."""
    config = open_clip.get_model_config(architecture)
    sizes = {key: config["vision_cfg"][key] for key in ("image_size", "patch_size")}
    return {
        "embed_dim": WIDTH,
        "quick_gelu": config.get("quick_gelu", False),
        "vision_cfg": {**sizes, "layers": 2, "width": WIDTH, "head_width": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }


def state_of(row: Spec) -> dict[str, Tensor]:
    return dict(_random_state(row.architecture))


@functools.cache
def _random_state(architecture: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return open_clip.CLIP(**small(architecture)).state_dict()


def save(row: Spec, path: Path) -> None:
    """Writes random weights in the format and with the names of a row's file."""
    state = state_of(row)
    if path.suffix == ".safetensors":
        save_file(state, path)
    elif row.family == "SkyCLIP":  # as open_clip's trainer leaves them
        state = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save({"epoch": 20, "name": "x", "state_dict": state}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=row.family != "GeoRSCLIP")


def put(row: Spec, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a stand-in into the cache, and its size and hash into the table."""
    path = cache / row.file.name
    save(row, path)
    file = replace(row.file, size=path.stat().st_size, about_size=0, sha256=sha256_of(path), member="")
    upsampler = None if row.upsampler_file is None else UPSAMPLER_FILES[SIMFEATUP]  # the stand-in of `cache`
    monkeypatch.setitem(CLIPS, row.name, replace(row, file=file, upsampler_file=upsampler))
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty cache, no network, small architectures under the names of open_clip, and a small SimFeatUp."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("SEGEARTH_HOME", str(folder))
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    known = architectures.clip_config
    monkeypatch.setattr(
        architectures, "clip_config", lambda name: small(name) if name.startswith("ViT-") else known(name)
    )
    torch.manual_seed(1)
    state = {f"upsampler.{key}": value for key, value in JBUOne(WIDTH, radius=1).state_dict().items()}
    path = folder / UPSAMPLER_FILES[SIMFEATUP].name
    torch.save({"state_dict": state, "epoch": 1}, path)
    file = replace(UPSAMPLER_FILES[SIMFEATUP], size=path.stat().st_size, sha256=sha256_of(path), git_blob=None)
    monkeypatch.setitem(UPSAMPLER_FILES, SIMFEATUP, file)
    return folder
