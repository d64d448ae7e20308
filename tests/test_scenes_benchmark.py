"""The benchmark of scenes runs and adds up; its figures are for people to read, not for tests."""

import json

import pytest

pytest.importorskip("rasterio", reason="scenes need the extra geo")

import benchmark_scenes


def test_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark_scenes, "BLOCKS", (448, 3584))
    argv = ["--size", "300", "--model", "stub", "--model-size", "260", "--side", "224", "--workers"]
    found = benchmark_scenes.main([*argv, "--out", str(tmp_path / "b.json")])
    assert json.loads((tmp_path / "b.json").read_text()) == found
    parts = found["stub"]["parts"]
    assert set(parts) == {*benchmark_scenes.PARTS, "rest"}
    assert min(parts.values()) > 0  # every part is met: the functions that are timed are those that run
    assert sum(parts.values()) == pytest.approx(found["stub"]["seconds"])
    assert found["model"]["windows"] == 4
    assert [round(ratio, 2) for ratio in found["halo"].values()] == [1.56, 1.06]
    assert "megapixels a second" in capsys.readouterr().out
