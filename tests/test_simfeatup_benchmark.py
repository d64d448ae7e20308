"""The benchmark of training runs and adds up; its figures are for people to read, not for tests."""

import json

import pytest
from conftest import load_script

benchmark = load_script("tools/benchmark_simfeatup.py")
OPTIONS = ["--architecture", "tiny", "--crop", "48", "--jitters", "1", "--batch", "1", "--device", "cpu"]


def test_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "VARIANTS", {"as it is": (False, False)})
    out = tmp_path / "new" / "found.json"
    assert benchmark.main([*OPTIONS, "--out", str(out)]) == 0
    assert json.loads(out.read_text())["steps"]["as it is"]["seconds"] > 0
    assert "1 crops of 48 pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crop", "50"], "measuring 'as it is' failed: crops of 50 pixels do not fit"),
        (["--architecture", "none"], "unknown architecture 'none'"),
        (["--rounds", "0"], "--rounds 0: expected 1 or more"),
    ],
)
def test_mistakes(tmp_path, capsys, options, message):
    assert benchmark.main([*OPTIONS, *options, "--out", str(tmp_path / "found.json")]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
