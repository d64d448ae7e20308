"""The benchmark of training runs and adds up; its figures are for people to read, not for tests."""

import json

from conftest import load_script

benchmark = load_script("tools/benchmark_simfeatup.py")


def test_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "VARIANTS", {"as it is": (None, False)})
    options = ["--architecture", "tiny", "--crop", "48", "--jitters", "1", "--batch", "1", "--device", "cpu"]
    found = benchmark.main([*options, "--out", str(tmp_path / "new" / "found.json")])
    assert json.loads((tmp_path / "new" / "found.json").read_text()) == found
    assert found["steps"]["as it is"]["seconds"] > 0
    assert "1 crops of 48 pixels" in capsys.readouterr().out
