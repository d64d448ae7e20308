"""`segearth doctor`: what a bug report says, and that it never names the user."""

import json
import sys
from pathlib import Path

import pytest
import torch

import segearth
from segearth import compute, weights
from segearth.cli import doctor, main


@pytest.fixture(autouse=True)
def somebody(tmp_path, monkeypatch) -> Path:
    """A user alice, whose home and caches are not those of who runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "scratch" / "alice" / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "https://alice:secret@mirror")
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    return tmp_path


def test_report_as_json(capsys):
    assert main(["doctor", "--json", "--device", "cpu"]) == 0
    report = json.loads(capsys.readouterr().out)
    test = report["self-test"]
    assert test["passed"] is True
    assert test["device"] == "cpu"
    assert test["mean confidence"] == pytest.approx(test["expected"], abs=test["tolerance"])
    assert report["segearth"]["segearth"].startswith(segearth.__version__)
    assert report["segearth"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert f"{torch.get_num_threads()} threads" in report["devices"]["CPU"]
    assert report["settings"]["the hub's cache"] == "~/hub"
    assert report["settings"]["offline"].startswith("yes")
    assert report["settings"]["HF_ENDPOINT"] == "is set"
    assert report["weights"].keys() == weights.files().keys()
    assert report["weights"]["clip-vit-b16"] == "not here"
    assert report["weights"]["tiny"].startswith("18.7 MB")


def test_report_as_text_names_nobody(somebody, monkeypatch, capsys):
    """Another figure than the expected one is a failure, and says so."""
    monkeypatch.setattr(doctor, "EXPECTED", 0.9)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "pandas" else True)
    assert main(["doctor", "--device", "cpu"]) == 1
    out = capsys.readouterr().out
    assert "alice" not in out
    assert "secret" not in out
    assert str(somebody / "home") not in out
    assert f"{somebody}/scratch/USER/cache" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["result", "FAILED"] in lines
    assert ["expected", "0.9"] in lines
    assert 'pandas missing; run: pip install "segearth[eval]"' in out


def test_what_is_wrong_is_a_part_of_the_report(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert main(["doctor", "--device", "cuda"]) == 1
    out = capsys.readouterr().out
    assert "sees 0 CUDA devices" in out
    assert "--device cpu" in out
    monkeypatch.setitem(sys.modules, "segearth.loading", None)  # importing it fails
    assert main(["doctor"]) == 1
    assert "ModuleNotFoundError" in capsys.readouterr().out


def test_cuda_devices_are_described(monkeypatch):
    class Card:
        name, total_memory = "Some Card", 80 * 2**30

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7 + device.index, 0))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Card)
    found = doctor.devices()
    assert found["CUDA 0"] == "Some Card, 80 GiB, bf16 not in hardware"
    assert found["CUDA 1"] == "Some Card, 80 GiB, bf16 in hardware"


@pytest.mark.parametrize(
    ("text", "has"), [("flags\t\t: sse avx512_bf16\n", True), ("Features\t: fp bf16\n", True), ("flags : sse\n", False)]
)
def test_bf16_of_older_torch(monkeypatch, text, has):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"processor : 0\n{text}")
    assert compute.bf16_in_hardware(torch.device("cpu")) is has


def test_names_are_left_out_of_paths_only(monkeypatch):
    monkeypatch.setattr("pathlib.Path.home", lambda: Path("/home/bob"))
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    text = 'in /home/bob/x and "/home/bob", not /home/bobby; /data/bob: bob'
    assert doctor.anonymous(text) == 'in ~/x and "~", not /home/bobby; /data/USER: bob'
