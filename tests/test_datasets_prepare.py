"""The result is whole or not there: several processes, kills, a full disk, files of others."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path

import kills
import numpy as np
import pytest
from dying import Dying
from PIL import Image
from preparing import CHECK, PREPARE, ROOT, made, tree

from segearth.datasets import convert, manifest, prepare
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


@pytest.mark.parametrize("killed_after", [None, "images", "labels"])
def test_a_result_inside_the_download_is_no_part_of_it(sample, tmp_path, killed_after, monkeypatch):
    """Its files have the names of the download's, and other bytes."""
    source = Path(shutil.copytree(sample("whu_aerial")[0], tmp_path / "dl"))
    made("whu_aerial", source, tmp_path / "elsewhere")
    move = Path.rename

    def interrupted(path, target):
        move(path, target)
        if path.name == killed_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt) if killed_after else nullcontext():
            made("whu_aerial", source, source / "data")
    made("whu_aerial", source, source / "data")
    assert tree(source / "data") == tree(tmp_path / "elsewhere")


def test_what_may_not_be_read_is_said(small, tmp_path, monkeypatch):
    """A folder that were passed over would give a smaller set without a word."""
    scan = os.scandir

    def closed(folder):
        if str(folder).endswith("Urban"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match=r"Urban cannot be read \(Permission denied\).*chmod"):
        made("loveda", small, tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("seed", range(9))
def test_ended_at_a_random_point_and_started_again(small, tmp_path, seed):
    number, jobs = kills.SIGNALS[seed % 3], 1 + seed % 2

    def work(out):
        out.mkdir(exist_ok=True)
        return lambda: PREPARE.main(["loveda", str(small), "-o", str(out), "-q", "-j", str(jobs)])

    whole, out = tmp_path / "whole", tmp_path / "ended"
    points, code, words = kills.run(work(whole), whole)
    assert code == 0, words
    _, code, words = kills.run(work(out), out, random.Random(seed).randrange(points), number)
    assert code == kills.ENDS[number], words
    assert "Traceback" not in words
    made("loveda", small, out)
    assert tree(out) == tree(whole)
    assert kills.hidden(out) == []


@pytest.mark.parametrize("moved", ["images", "labels", "manifest.json"])
def test_killed_while_the_result_is_moved_in_place(small, tmp_path, moved):
    """Few of the random points lie there, and what is in place then is listed in the hidden folder alone."""
    made("loveda", small, tmp_path / "whole")
    code = (
        "import os, pathlib, sys\nfrom segearth.datasets import DATASETS, prepare\n"
        "def hook(event, args):\n"
        "    if event == 'os.rename' and str(args[0]).endswith('.part/' + sys.argv[3]): os.kill(os.getpid(), 9)\n"
        "sys.addaudithook(hook)\n"
        "prepare.prepare(DATASETS['loveda'], [pathlib.Path(sys.argv[1])], pathlib.Path(sys.argv[2]), quiet=True)\n"
    )
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", code, small, out, moved], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    made("loveda", small, out)
    assert tree(out) == tree(tmp_path / "whole")


def interrupted(small, out, monkeypatch, after):
    """Stops as Ctrl-C does when some pairs are done; the hidden folder stays."""
    real, done = convert.convert, []

    def stopping(pair, *where):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(pair.key)
        return real(pair, *where)

    with monkeypatch.context() as patch:
        patch.setattr(convert, "convert", stopping)
        with pytest.raises(KeyboardInterrupt):
            made("loveda", small, out)
    return done


def converted(monkeypatch, small, out):
    """The keys of the pairs that a run converts."""
    real, keys = convert.convert, []
    with monkeypatch.context() as patch:
        patch.setattr(convert, "convert", lambda pair, *where: keys.append(pair.key) or real(pair, *where))
        made("loveda", small, out)
    return keys


def test_goes_on_where_it_was(small, tmp_path, monkeypatch):
    """Pairs that are done are not done again; what a kill cut off, and strays of a late worker, do no harm."""
    made("loveda", small, tmp_path / "whole")
    done = interrupted(small, tmp_path / "out", monkeypatch, 2)
    staging = tmp_path / "out/LoveDA/.loveda.part"
    (ledger,) = (staging / "ledger").iterdir()
    with ledger.open("a") as file:
        file.write('["35')
    for name in (".2522.1.part.png", "stray.png"):
        (staging / "images" / name).write_bytes(b"cut off")
    again = converted(monkeypatch, small, tmp_path / "out")
    assert (len(done), len(again), set(done) & set(again)) == (2, 1, set())
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_file_that_is_gone_is_made_again(small, tmp_path, monkeypatch, kind):
    made("loveda", small, tmp_path / "whole")
    done = interrupted(small, tmp_path / "out", monkeypatch, 2)
    (tmp_path / f"out/LoveDA/.loveda.part/{kind}/{done[0]}.png").unlink()
    assert set(converted(monkeypatch, small, tmp_path / "out")).intersection(done) == {done[0]}
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_pair_that_changed_in_the_download_is_converted_again(small, tmp_path, monkeypatch):
    done = interrupted(small, tmp_path / "out", monkeypatch, 2)
    (path,) = small.glob(f"Val/*/masks_png/{done[0]}.png")
    Image.fromarray(np.full_like(np.asarray(Image.open(path)), 3)).save(path)
    made("loveda", small, tmp_path / "whole")
    assert set(converted(monkeypatch, small, tmp_path / "out")).intersection(done) == {done[0]}
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_process_that_dies(small, tmp_path, monkeypatch):
    """It costs nothing but its pair, which another run converts."""
    made("loveda", small, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(prepare, "Conversion", Dying)
        with pytest.raises(UserError, match=r"1 of 3 pairs were not converted.*its process died.*again with jobs=1"):
            made("loveda", small, tmp_path / "out", jobs=2)
    assert list((tmp_path / "out/LoveDA").iterdir()) == [tmp_path / "out/LoveDA/.loveda.part"]
    assert len(converted(monkeypatch, small, tmp_path / "out")) == 1
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"stems": [NaN]}', "NaN is no number"),
        ('{"stems": "\\u001b[31m"}', r'has "\\u001b\[31m" as stems'),
        ('{"stems": []}', "has no images"),
    ],
)
def test_a_manifest_that_somebody_edited(tmp_path, text, phrase):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=phrase):
        manifest.read_manifest(tmp_path)
