"""Standard streams that are closed, full, in ASCII or read by nobody: results are written all the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segearth import cli

ROOT = Path(__file__).parents[1]


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Runs `segearth` as SEGEARTH in a shell."""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SEGEARTH_OFFLINE": "1"} | environment
    command = command.replace("SEGEARTH", f"{sys.executable} -m segearth")
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=folder, env=variables, capture_output=True, check=False
    )


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        (">&-", 0, b""),
        ("2>&-", 0, b""),
        ("<&- >&- 2>&-", 0, b""),
        ("2>/dev/full", 0, b""),
        ("| true", 0, b""),
        ("2>&1 | true", 0, b""),
        (">/dev/full", 2, b"error: the standard output could not be written to its end (No space left on device)"),
    ],
)
def test_words_that_nobody_takes(tmp_path, redirected, code, said):
    done = shell(f"SEGEARTH weights list {redirected}", tmp_path)
    assert (done.returncode, done.stderr[: len(said) or None]) == (code, said)


def test_a_program_without_buffers_tells_at_once(tmp_path):
    """As in containers: what is printed must not wait for more."""
    code = "from segearth.streams import open_streams; import os; open_streams(); print('said'); os._exit(0)"
    done = shell(f"{sys.executable} -c {shlex.quote(code)}", tmp_path, PYTHONUNBUFFERED="1")
    assert done.stdout == b"said\n"


@pytest.mark.parametrize("verb", ["info", "predict", "eval-all", "train-upsampler"])
def test_help_and_mistakes_in_ascii(tmp_path, verb):
    done = shell(f"SEGEARTH {verb} --help && SEGEARTH {verb} --x \xd7", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert b"usage: segearth" in done.stdout
    assert b"Traceback" not in done.stderr


def broken_pipe() -> int:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def predict(folder: Path, out: str, stdout: int | None, stderr: int | None, encoding: str) -> int | None:
    """Exit code of `segearth predict` with these streams, None for closed ones, in a copy of this process."""

    def child() -> None:
        os.chdir(folder)
        for number, name, source in ((1, "stdout", stdout), (2, "stderr", stderr)):
            os.close(number) if source is None else os.dup2(source, number)
            stream = None if source is None else open(number, "w", encoding=encoding, closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        code = cli.main(["predict", "in", "-c", "straße; tree", "--model", "tiny", "--long-side", "64", "-o", out])
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    return process.exitcode


def test_maps_are_written_whoever_listens(tmp_path):
    (tmp_path / "in").mkdir()
    pixels = np.zeros((40, 60, 3), np.uint8)
    name = os.fsdecode("é".encode() + b"\xe9")  # the second byte is no UTF-8
    Image.fromarray(pixels).save(tmp_path / "in" / f"{name}.png")
    said = os.open(tmp_path / "said", os.O_RDWR | os.O_CREAT)
    for out, stdout, stderr, encoding in (
        ("ascii", said, said, "ascii"),
        ("utf-8", said, said, "utf-8"),
        ("pipe", broken_pipe(), broken_pipe(), "utf-8"),
        ("closed", None, None, "utf-8"),
    ):
        assert predict(tmp_path, out, stdout, stderr, encoding) == 0, (tmp_path / "said").read_bytes()
        made = [f"{name}.{end}" for end in ("labels.png", "overlay.png", "summary.json")]
        assert sorted(os.listdir(tmp_path / out)) == sorted(["summary.csv", *made])
        assert json.loads((tmp_path / out / made[-1]).read_bytes())["image"] == r"é\xe9.png"
        assert r"é\xe9.png,straße".encode() in (tmp_path / out / "summary.csv").read_bytes()
    words = (tmp_path / "said").read_bytes()
    assert b"stra\\xdfe" in words
    assert "straße".encode() in words
    assert b"Traceback" not in words
