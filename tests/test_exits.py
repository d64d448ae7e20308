"""How programs end: by signals, and by files that cannot be used."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from segearth import cli
from segearth.exits import reraise_if_ending, run, say
from segearth.outputs import atomic

FORK = multiprocessing.get_context("fork")


def ended(folder: Path, number: int, then: str = "") -> tuple[int | None, str]:
    """Exit code and words of a program that gets a signal while it writes a file."""
    began = FORK.Event()

    def program() -> None:
        try:
            with atomic(folder / "a.png") as part:
                part.write_text("half")
                began.set()
                time.sleep(60)
        finally:
            if then == "again":
                os.kill(os.getpid(), number)
            if then == "next":
                skipped()
            if then == "fails":
                raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated")

    def skipped() -> None:
        try:
            raise RuntimeError("KeyboardInterrupt: <EMPTY MESSAGE>")  # as C++ makes of one
        except RuntimeError as error:
            reraise_if_ending(error)
        time.sleep(60)

    def child() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
        if then == "ignored":
            signal.signal(number, signal.SIG_IGN)
        sys.stderr = (folder.parent / "said").open("w")
        code = run(program, interrupted="the same command goes on")
        sys.stderr.flush()
        os._exit(code)

    process = FORK.Process(target=child)
    process.start()
    assert began.wait(60)
    os.kill(process.pid or 0, number)
    if then == "ignored":
        time.sleep(0.2)
        os.kill(process.pid or 0, signal.SIGTERM)
    process.join(60)
    return process.exitcode, (folder.parent / "said").read_text()


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_signals_end_a_program_and_leave_nothing(tmp_path, number, code, word):
    (tmp_path / "out").mkdir()
    assert ended(tmp_path / "out", number) == (code, f"{word}: the same command goes on\n")
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("then", ["again", "fails", "next"])
def test_what_follows_a_signal_is_no_other_end(tmp_path, then):
    (tmp_path / "out").mkdir()
    assert ended(tmp_path / "out", signal.SIGTERM, then) == (143, "ended by SIGTERM: the same command goes on\n")


@pytest.mark.parametrize("then", ["fails", "next"])
def test_what_follows_ctrl_c_is_no_failure(tmp_path, then):
    (tmp_path / "out").mkdir()
    assert ended(tmp_path / "out", signal.SIGINT, then) == (130, "interrupted: the same command goes on\n")
    reraise_if_ending(ValueError())  # nobody asked this process


def test_what_nohup_ignores_stays_ignored(tmp_path):
    (tmp_path / "out").mkdir()
    assert ended(tmp_path / "out", signal.SIGHUP, "ignored")[0] == 143


def test_signals_are_as_before_after_a_program():
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    assert run(lambda: None) == 0
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_path_that_the_system_refuses(capsys):
    assert run(lambda: Path("a" * 300).stat() and None) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: cannot use aaa")
    assert "File name too long" in line
    with pytest.raises(OSError, match="no file"):
        run(lambda: (_ for _ in ()).throw(OSError("no file has to do with it")))


def test_control_characters_do_not_reach_the_terminal(capsys):
    say("class \x1b[31mred\x07 \u009b1m \udce9 é\nerror: x")
    assert capsys.readouterr().err == "class \\x1b[31mred\\x07 \\x9b1m \\xe9 é\\nerror: x\n"


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", LONG, "-c", "road"],
        ["predict", "a.png", "-c", f"{LONG}.txt"],
        ["predict", "a.png", "-c", "road", "--model", LONG],
        ["predict", "a.png", "-c", "road", "--model", LONG, "--architecture", "ViT-B-32"],
        ["predict", "a.png", "-c", "road", "--model", "a.pt", "--architecture", LONG],
        ["predict", "a.png", "-c", "road", "--model", "tiny", "--upsampler", LONG],
        ["predict", "a.png", "-c", "road", "--model", "tiny", "-o", LONG],
        ["demo", "--image", LONG, "--model", "tiny"],
        ["eval", LONG],
        ["eval", "loveda", "--data-root", LONG, "--model", "tiny"],
        ["eval-all", "-o", LONG],
        ["prepare", "loveda", LONG],
        ["prepare", "loveda", "a.png", "-o", LONG],
        ["check", "loveda", "--data-root", LONG],
        ["info", LONG],
        ["train-upsampler", "--model", "tiny", "--images", LONG, "-o", "a.ckpt"],
        ["train-upsampler", "--model", "tiny", "--images", ".", "-o", f"{LONG}.ckpt"],
        ["train-upsampler", "--model", "tiny", "--images", ".", "-o", "a.ckpt", "--init", LONG],
    ],
    ids=lambda arguments: " ".join(one[:9] for one in arguments),
)
def test_paths_that_are_too_long(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.pt"):
        Path(name).write_bytes(b"")
    assert cli.main(arguments) in (1, 2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert ": " in line
