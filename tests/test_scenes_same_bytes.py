"""A scene's map is the same to the last byte whatever the blocks, the shards and the kills."""

import multiprocessing
import os
import random
import shutil
import sys

import kills
import numpy as np
import pytest

import check_scenes

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from scene_checks import processes, run  # noqa: E402
from scene_checks.raster import write_raster  # noqa: E402
from scene_checks.run import checksums  # noqa: E402
from scene_checks.stub import stub_predictor  # noqa: E402
from segearth import load_model  # noqa: E402
from segearth.jobs.shards import Shard  # noqa: E402
from segearth.scenes.options import SceneOptions  # noqa: E402
from segearth.scenes.predict import predict_scene  # noqa: E402


def made(scene, out, predictor, block, memory=1200, **share):
    """Checksums of a map; None where it is not complete."""
    options = SceneOptions(block=block, max_memory_mb=memory, confidence=True, scores=True)
    result = predict_scene(scene, out, predictor, options=options, **share)
    return None if result is None else checksums(result)


@pytest.fixture(scope="module")
def stub():
    return stub_predictor()


@pytest.fixture(scope="module")
def large(tmp_path_factory, stub):
    """A scene, and the checksums of its map in one block."""
    folder = tmp_path_factory.mktemp("large")
    scene = write_raster(folder / "scene.tif", (1050, 700), scenes=1, tile=300)
    return scene, made(scene, folder / "map", stub, 3584)


@pytest.mark.parametrize(("block", "memory"), [(448, 1200), (1008, 100)])
def test_blocks_of_any_size(large, stub, tmp_path, block, memory):
    scene, expected = large
    assert made(scene, tmp_path, stub, block, memory) == expected


def test_shards(large, stub, tmp_path):
    scene, expected = large
    assert made(scene, tmp_path, stub, 448, shard=Shard(1, 2)) is None
    assert made(scene, tmp_path, stub, 448, shard=Shard(0, 2)) == expected
    assert kills.hidden(tmp_path) == []


def killed(work, out, kill_at):
    """Ends runs of work at each of the points, from the last one on; each goes on with what the one before left."""
    out.mkdir()
    for point in reversed(kill_at):
        _, code, words = kills.run(work, out, point, kills.SIGNALS[0])
        if code == 0:  # what was left ended before that point: it is one of a run that begins anew
            shutil.rmtree(out)
            out.mkdir()
            _, code, words = kills.run(work, out, point, kills.SIGNALS[0])
        assert code == kills.ENDS[kills.SIGNALS[0]], words or "it came to its end before that point"


def test_killed_at_ten_random_points(tmp_path):
    predictor = stub_predictor(crop=64, stride=32)
    scene = write_raster(tmp_path / "scene.tif", (250, 290), scenes=1, tile=128)

    def work(out):
        return lambda: 0 if made(scene, out, predictor, 96) else 1

    whole, out = tmp_path / "whole", tmp_path / "out"
    whole.mkdir()
    points, code, words = kills.run(work(whole), whole)
    assert code == 0, words
    rng = random.Random(0)
    killed(work(out), out, [rng.randrange(points) for _ in range(10)])
    assert made(scene, out, predictor, 96) == made(scene, tmp_path / "one", predictor, None)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in whole.iterdir())


def test_tiny(tmp_path):
    """The packaged model; of a scene most of which is empty, as its windows take long."""
    predictor = load_model("tiny", "road; tree,forest; water; building", "cpu", slide_stride=160)
    scene = write_raster(tmp_path / "scene.tif", (1000, 1000), scenes=1, tile=250)
    with rasterio.open(scene, "r+") as file:
        mask = np.zeros((1000, 1000), np.uint8)
        mask[440:560, 650:] = 255  # on both sides of the border between rows of blocks
        file.write_mask(mask)
    out = tmp_path / "out"
    killed(lambda: made(scene, out, predictor, 480) and 0, out, [30])
    assert made(scene, out, predictor, 480) == made(scene, tmp_path / "whole", predictor, None)


class Forked:
    """In place of `subprocess.Popen`: a copy of this process, in which all is imported."""

    def __init__(self, command, **_):
        read, write = os.pipe()

        def child():
            os.setsid()
            sys.stdout = os.fdopen(write, "w")
            sys.stdin.close()
            os._exit(run.main(command[-1:]))

        self._process = multiprocessing.get_context("fork").Process(target=child)
        self._process.start()
        os.close(write)
        self.pid, self.stdout = self._process.pid, os.fdopen(read)

    def poll(self):
        return self._process.exitcode

    def wait(self):
        self._process.join(300)
        return self._process.exitcode


def test_the_command_that_checks_this(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes.subprocess, "Popen", Forked)
    monkeypatch.setattr(check_scenes, "KILLED", {"block": 112})
    argv = ["--size", "300", "--kills", "2", "--out", str(tmp_path), "--only", "blocks of 3584", "two shards"]
    assert check_scenes.main(argv) == 0
    assert capsys.readouterr().out.count("the same") == 4  # three ways and all of them


def test_a_difference_is_told(capsys):
    report = check_scenes.SceneReport(most_memory=100)
    report.add("one", check_scenes.Outcome({"a.tif": "1"}, [], peak_mb=200), idle=150)
    assert report.good
    report.add("two", check_scenes.Outcome({"a.tif": "2"}, ["a.segearth"], peak_mb=300), idle=150)
    assert not report.good
    assert "a.tif DIFFERS; a.segearth is LEFT; more than 100 MB" in capsys.readouterr().out
