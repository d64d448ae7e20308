"""The benchmark of training runs and adds up; its figures are for people to read, not for tests."""

import importlib.util
import json
from pathlib import Path

SPEC = importlib.util.spec_from_file_location(
    "benchmark_simfeatup", Path(__file__).parents[1] / "tools" / "benchmark_simfeatup.py"
)
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)


def test_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "VARIANTS", {"as it is": (None, False)})
    options = ["--architecture", "tiny", "--crop", "48", "--jitters", "1", "--batch", "1", "--device", "cpu"]
    found = benchmark.main([*options, "--out", str(tmp_path / "new" / "found.json")])
    assert json.loads((tmp_path / "new" / "found.json").read_text()) == found
    assert found["steps"]["as it is"]["seconds"] > 0
    assert "1 crops of 48 pixels" in capsys.readouterr().out
