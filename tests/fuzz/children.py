"""Cases in children that are forked from one warm parent: limited, watched, and judged."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import random
import resource
import select
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fuzz.watch import Case, Watch
from segearth.errors import UserError, without_warnings

CPU_SECONDS = 20
WALL_SECONDS = 60  # of which a busy machine takes its share
MEMORY = 2 << 30  # bytes above what the parent has
FILE_SIZE = 512 << 20


class Kind(Protocol):
    """Cases of one kind. What all of them need is made once, in the parent."""

    name: str

    def prepare(self, case: Case) -> Callable[[], object]:
        """Writes the inputs of a case; the function that is returned is the attack."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        name: such as "images/17".
        verdict: "accepted", "refused", or what is wrong.
        detail: the sentence, or the traceback.
        seconds: of the CPU.
        wall_seconds: by the clock.
        memory: bytes above what the parent has, at most.
    """

    name: str
    verdict: str
    detail: str = ""
    seconds: float = 0.0
    wall_seconds: float = 0.0
    memory: int = 0

    @property
    def is_finding(self) -> bool:
        return self.verdict not in ("accepted", "refused")


def run(kind: Kind, number: int, seed: int, folder: Path) -> Outcome:
    """Runs a case in a child.

    Args:
        kind: of the case.
        number: of the case.
        seed: with the number it decides everything.
        folder: for its files, which are removed.
    """
    name = f"{kind.name}/{number}"
    case = new_case(kind, number, seed, folder)
    reading, writing = os.pipe()
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "w", encoding="utf-8", errors="backslashreplace") as report:
                json.dump(_in_child(kind, case), report)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as report:
        told = b""
        while select.select([report], [], [], max(0, WALL_SECONDS - (time.monotonic() - begun)))[0]:
            if not (block := os.read(report.fileno(), 1 << 16)):
                break
            told += block
        else:
            os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    spent, cpu = time.monotonic() - begun, usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hung = number == signal.SIGXCPU or spent >= WALL_SECONDS
        verdict = "hang" if hung else f"died of {signal.Signals(number).name}"
        outcome = Outcome(name, verdict, case.trace.read_text(), cpu, spent)
    else:
        outcome = Outcome(name, **json.loads(told), seconds=cpu, wall_seconds=spent)
    if not outcome.is_finding and (case.marker.exists() or _listing(case.root, case) != _EMPTY):
        outcome = Outcome(name, "written outside", str(_listing(case.root, case)))
    _remove(case.root)
    case.trace.unlink(missing_ok=True)
    return outcome


_EMPTY = {"a": "folder", "a/b": "folder", "secret.txt": "file"}


def new_case(kind: Kind, number: int, seed: int, folder: Path) -> Case:
    """The case and its folders."""
    root = folder / f"{kind.name}-{number}"
    _remove(root)
    case = Case(random.Random(f"{seed}/{kind.name}/{number}"), root)
    for one in (case.inputs, case.target, case.temporary):
        one.mkdir(parents=True)
    case.secret.write_text("nobody reads this")
    return case


def _in_child(kind: Kind, case: Case) -> dict[str, Any]:
    """Runs the case; its verdict, detail and memory."""
    gc.freeze()  # what the parent left to be freed would be counted as memory that the case gave back
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    sys.dont_write_bytecode = True
    tempfile.tempdir = str(case.temporary)
    try:
        attack = kind.prepare(case)
    except Exception:
        return {"verdict": "cannot be prepared", "detail": traceback.format_exc()}
    before = _listing(case.inputs)
    watch = Watch(case)
    sys.addaudithook(watch)
    pages, resident = (int(n) * resource.getpagesize() for n in Path("/proc/self/statm").read_text().split()[:2])
    trace = case.trace.open("w")
    faulthandler.enable(trace)
    faulthandler.register(signal.SIGXCPU, trace, chain=True)
    faulthandler.dump_traceback_later(WALL_SECONDS - 2, file=trace)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, resource.RLIM_INFINITY))
    watch.active = True
    verdict, detail = judged(attack)
    watch.active = False
    if watch.seen:
        verdict, detail = "forbidden", "; ".join(watch.seen)
    elif (after := _listing(case.inputs)) != before:
        verdict, detail = "inputs changed", str({k: v for k, v in after.items() if before.get(k) != v})
    elif left := list(case.temporary.iterdir()):
        verdict, detail = "left behind", str(left)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - resident
    return {"verdict": verdict, "detail": detail, "memory": max(0, peak)}


def judged(attack: Callable[[], object]) -> tuple[str, str]:
    """Runs an attack: the verdict and its detail."""
    try:
        with without_warnings():
            attack()
    except UserError as error:
        text = str(error)
        if not text.replace("\n", " ").isprintable():
            return "unprintable sentence", repr(text)
        if "not enough memory" in text:
            return "out of memory", text
        return "refused", text
    except BaseException:
        return "traceback", traceback.format_exc()
    return "accepted", ""


def _listing(folder: Path, case: Case | None = None) -> dict[str, str]:
    """What lies in a folder; of a case's root, without the folders that it may write to and read from."""
    own = {case.inputs, case.target, case.temporary} if case is not None else set()
    found = {}
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(where, name) not in own]
        for name in (*folders, *files):
            path = Path(where, name)
            status = path.lstat()
            plain = "folder" if stat.S_ISDIR(status.st_mode) else "file"
            told = plain if case is not None else f"{plain} {status.st_mode} {status.st_size} {status.st_mtime_ns}"
            found[str(path.relative_to(folder))] = told
    return found


def _remove(folder: Path) -> None:
    """Removes a folder, also where rights in it are missing."""
    if folder.exists():
        for where, folders, _ in os.walk(folder):
            for name in folders:
                if not Path(where, name).is_symlink():
                    Path(where, name).chmod(0o700)
        shutil.rmtree(folder)
