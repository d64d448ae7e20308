"""The result is whole or not there: several processes, kills, a full disk, files of others."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image
from preparing import CHECK, PREPARE, ROOT, made, tree

from segearth.errors import UserError


def test_real_loveda_pairs(test_data, tmp_path):
    samples = test_data / "samples/LoveDA"
    if not samples.is_dir():
        pytest.skip(f"{samples} is not there")
    with zipfile.ZipFile(tmp_path / "Val.zip", "w") as file:
        for i, scene in enumerate(("Rural", "Urban")):
            file.write(samples / f"img_dir/val/{i}.png", f"Val/{scene}/images_png/{i}.png")
            file.write(samples / f"ann_dir/val/{i}.png", f"Val/{scene}/masks_png/{i}.png")
    made("loveda", tmp_path / "Val.zip", tmp_path / "data")
    for kind in ("img_dir", "ann_dir"):
        for i in range(2):
            mine, theirs = (Image.open(p / f"{kind}/val/{i}.png") for p in (tmp_path / "data/LoveDA", samples))
            assert (np.asarray(mine) == np.asarray(theirs)).all()


def test_full_disk(small, tmp_path, monkeypatch):
    saved = Image.Image.save

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="No space left on device.*free some space"):
        made("loveda", small, tmp_path / "data")
    monkeypatch.setattr(Image.Image, "save", saved)
    assert not (tmp_path / "data").exists()


def test_files_of_others_are_not_touched(small, tmp_path):
    mine = tmp_path / "data/LoveDA/img_dir/val/mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(UserError, match="not written by this tool, such as mine.png"):
        made("loveda", small, tmp_path / "data")
    assert list(tree(tmp_path / "data")) == ["LoveDA/img_dir/val/mine.png"]


def test_wrong_command_lines(tmp_path, capsys):
    assert PREPARE.main(["nothing", str(tmp_path)]) == 2
    assert PREPARE.main(["loveda", str(tmp_path / "nowhere")]) == 2
    assert CHECK.main(["loveda", "--data-root", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("error: ") == 3
    assert CHECK.main(["loveda", "--data-root", str(tmp_path)]) == 1


def test_runs_again_at_any_level_and_in_several_processes(small, tmp_path):
    made("loveda", small, tmp_path / "a")
    first = tree(tmp_path / "a")
    made("loveda", small, tmp_path / "a")
    assert tree(tmp_path / "a") == first
    made("loveda", small / "Val", tmp_path / "b", jobs=2)
    assert tree(tmp_path / "b") == first


@pytest.mark.parametrize("point", range(10))
def test_killed_and_started_again(small, tmp_path, point):
    made("loveda", small, tmp_path / "whole")
    # ends the process, as a kill does, before the n-th change of the file system that is renamed in place
    code = (
        "import os, sys, pathlib\nfrom segearth.datasets import DATASETS, prepare\n"
        "count = [int(sys.argv[3])]\n"
        "def hooked(name):\n"
        "    real = getattr(pathlib.Path, name)\n"
        "    def act(self, *a, **k):\n"
        "        count[0] -= 1\n"
        "        if count[0] < 0: os.kill(os.getpid(), 9)\n"
        "        return real(self, *a, **k)\n"
        "    setattr(pathlib.Path, name, act)\n"
        "hooked('replace'); hooked('rename')\n"
        "prepare.prepare(DATASETS['loveda'], [pathlib.Path(sys.argv[1])], pathlib.Path(sys.argv[2]), quiet=True)\n"
    )
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", code, small, out, str(point)], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    made("loveda", small, out)
    assert tree(out) == tree(tmp_path / "whole")


def test_worker_ends_with_its_parent(tmp_path):
    code = (
        "import os, pathlib, sys, time\nfrom segearth.datasets import prepare\n"
        "if __name__ == '__main__':\n"
        "    for pid in prepare._parallel(prepare_test_work.work, [1, 2], 2):\n"
        "        print(pid, flush=True)\n        os.kill(os.getpid(), 9)\n"
    ).replace("import os,", "import prepare_test_work, os,", 1)
    (tmp_path / "prepare_test_work.py").write_text(
        "import os, time\ndef work(n):\n    time.sleep(0.3)\n    return os.getpid()\n",
        encoding="utf-8",
    )
    (tmp_path / "main.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    out = subprocess.run([sys.executable, tmp_path / "main.py"], env=env, capture_output=True, text=True, check=False)
    pid = int(out.stdout.split()[0])
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker still runs")
