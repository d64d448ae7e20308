"""Attacks on everything that reads files; `SEGEARTH_FUZZ_CASES=3000` makes more than a few, and so does tests/fuzz."""

import ctypes
import gc
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("children are forked, limited and watched as Linux does it", allow_module_level=True)

from fuzz.campaign import figures, kinds, run_cases
from fuzz.children import new_case, run

from segearth.errors import UserError

CASES = int(os.environ.get("SEGEARTH_FUZZ_CASES", "240"))
SEED = int(os.environ.get("SEGEARTH_FUZZ_SEED", "0"))


def test_files_of_any_content_are_read_or_told(tmp_path):
    """No traceback, hang, or use of much memory; nothing runs, and nothing is written where it should not be."""
    outcomes = run_cases(kinds(tmp_path), CASES, SEED, tmp_path)
    print(figures(outcomes))
    assert len(outcomes) == CASES
    for kind in ("images", "checkpoints", "class_lists", "archives"):  # none is only refused, or only accepted
        verdicts = {one.verdict for one in outcomes if one.name.startswith(kind)}
        assert {"accepted", "refused"} <= verdicts
    findings = [f"{one.name} (seed {SEED}): {one.verdict}\n{one.detail}" for one in outcomes if one.is_finding]
    assert not findings, "\n".join(findings)


class Naughty:
    """A case that does what it is told."""

    name = "naughty"

    def __init__(self, act):
        self.act = act

    def prepare(self, case):
        (case.inputs / "a.txt").write_text("a")
        return lambda: self.act(case)


def refuse(_):
    raise UserError("a sentence")


def tell_escape_codes(_):
    error = UserError("a sentence")
    error.args = ("\x1b[2J",)
    raise error


def swallow(act):
    """As code that catches everything would do it."""

    def quiet(case):
        try:
            act(case)
        except Exception:
            raise UserError("all is well") from None

    return quiet


def want_memory(_):
    try:
        bytearray(3 << 30)
    except MemoryError:
        raise UserError("there is not enough memory for it") from None


def remove_relative_to_a_folder(case):
    descriptor = os.open(case.root, os.O_RDONLY)
    os.remove("secret.txt", dir_fd=descriptor)


def through_a_link(case):
    (case.target / "link").symlink_to(case.root)
    (case.target / "link" / "evil.txt").write_text("evil")


ACTS = {
    "accepted": [
        lambda case: (case.target / "a.png").write_text("a"),
        lambda case: (case.inputs / "a.txt").read_text(),
    ],
    "refused": [refuse],
    "traceback": [lambda case: 1 / 0, lambda case: sys.exit(3)],
    "unprintable sentence": [tell_escape_codes],
    "forbidden": [
        lambda case: (case.root / "evil.txt").write_text("evil"),
        lambda case: (case.target / "../../evil.txt").write_text("evil"),
        lambda case: (case.inputs / "a.txt").unlink(),
        lambda case: (case.target / "a").rename(case.root / "a"),
        lambda case: case.secret.read_text(),
        lambda case: os.system(f"touch {case.marker}"),
        lambda case: subprocess.run(["touch", case.marker], check=False),
        lambda case: os.execv("/bin/true", ["true"]),
        lambda case: os.fork(),
        lambda case: socket.create_connection(("127.0.0.1", 9)),
        remove_relative_to_a_folder,
        through_a_link,
    ],
    "left behind": [lambda case: (case.temporary / "a").write_text("a")],
    "inputs changed": [lambda case: os.utime(os.open(case.inputs / "a.txt", os.O_RDONLY), (1, 1))],
    "out of memory": [want_memory],
    "died of SIGSEGV": [lambda case: ctypes.string_at(0)],
}


@pytest.mark.parametrize(("verdict", "number"), [(name, i) for name, acts in ACTS.items() for i in range(len(acts))])
def test_what_a_case_must_not_do_is_seen(tmp_path, verdict, number):
    outcome = run(Naughty(ACTS[verdict][number]), 0, 0, tmp_path)
    assert (outcome.verdict, outcome.is_finding) == (verdict, verdict not in ("accepted", "refused")), outcome.detail
    assert list(tmp_path.iterdir()) == []
    if verdict == "forbidden":  # nobody can hide it
        assert run(Naughty(swallow(ACTS[verdict][number])), 0, 0, tmp_path).verdict == "forbidden"


def test_memory_is_limited_and_measured(tmp_path):
    outcome = run(Naughty(lambda case: bytearray(200 << 20)), 0, 0, tmp_path)
    assert outcome.verdict == "accepted"
    assert 190 << 20 < outcome.memory < 260 << 20
    outcome = run(Naughty(lambda case: bytearray(3 << 30)), 0, 0, tmp_path)
    assert (outcome.verdict, "MemoryError" in outcome.detail) == ("traceback", True)


def test_what_the_parent_left_to_be_freed_is_not_given_back_by_a_case(tmp_path):
    ring = [bytearray(b"x" * (300 << 20))]
    ring.append(ring)
    gc.disable()
    try:
        del ring
        outcome = run(Naughty(lambda case: (gc.collect(), bytearray(200 << 20))), 0, 0, tmp_path)
    finally:
        gc.enable()
        gc.collect()
    assert 190 << 20 < outcome.memory < 260 << 20


@pytest.mark.parametrize("hang", [lambda case: time.sleep(30), lambda case: [None for _ in iter(int, 1)]])
def test_hangs_end(tmp_path, monkeypatch, hang):
    monkeypatch.setattr("fuzz.children.WALL_SECONDS", 3)
    monkeypatch.setattr("fuzz.children.CPU_SECONDS", 1)
    outcome = run(Naughty(hang), 0, 0, tmp_path)
    assert outcome.verdict == "hang"
    assert Path(__file__).name in outcome.detail  # where it stood


def test_a_case_is_decided_by_its_number_and_seed(tmp_path):
    def draw(number, seed):
        return new_case(Naughty(refuse), number, seed, tmp_path).random.random()

    assert draw(1, 0) == draw(1, 0)
    assert len({draw(number, seed) for number in (1, 2) for seed in (0, 1)}) == 4
