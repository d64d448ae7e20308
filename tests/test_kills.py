"""Programs that are ended at some points of their work, and started again: as if nothing had happened."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kills
import pytest
from mmdata import picture, random_tiny, tiny  # noqa: F401 (fixtures)
from PIL import Image
from safetensors.torch import load_file

from segearth import cli

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def images(tmp_path, monkeypatch) -> Path:
    """Two small images; the working directory holds them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    (tmp_path / "in").mkdir()
    for i in range(2):
        Image.fromarray(picture(60, 70, i)).save(tmp_path / "in" / f"{i}.png")
    return tmp_path / "in"


def maps(folder: Path) -> dict[str, Any]:
    """What `segearth predict` wrote, but for seconds."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for name in found:
        if name.endswith(".json"):
            found[name] = json.loads(found[name])
            del found[name]["seconds"]
    return found


def training(folder: Path) -> dict[str, Any]:
    """What `segearth train-upsampler` wrote, but for seconds."""
    state = {name: value.tolist() for name, value in load_file(folder / "up.safetensors").items()}
    with (folder / "up.csv").open(encoding="utf-8") as file:
        rows = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    return {"state": state, "rows": rows, "files": sorted(path.name for path in folder.iterdir())}


PREDICT = ["predict", "in", "-c", "road; tree", "--model", "tiny", "--long-side", "48", "-o"]
TRAIN = ["train-upsampler", "--model", "tiny", "--images", "in", "--steps", "4", "--save-every", "2", "--batch", "2"]
TRAIN += ["--crop", "48", "--jitters", "1", "--resume", "-o"]
CASES: dict[str, tuple[Callable[[Path], list[str]], Callable[[Path], dict[str, Any]]]] = {
    "predict": (lambda out: [*PREDICT, str(out)], maps),
    "train-upsampler": (lambda out: [*TRAIN, str(out / "up.safetensors")], training),
}


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("verb", CASES)
def test_ended_at_some_points_and_started_again(tmp_path, verb):
    command, made = CASES[verb]

    def work(out: Path) -> Callable[[], int]:
        out.mkdir(exist_ok=True)
        return lambda: cli.main(command(out))

    whole = tmp_path / "whole"
    points, code, words = kills.run(work(whole), whole)
    assert code == 0, words
    for i, number in enumerate(kills.SIGNALS):
        out = tmp_path / f"ended{i}"
        _, code, words = kills.run(work(out), out, (2 * i + 1) * points // 6, number)
        assert code == kills.ENDS[number], words
        assert "Traceback" not in words
        _, code, words = kills.run(work(out), out)
        assert code == 0, words
        assert made(out) == made(whole)
        assert kills.hidden(out) == []
