"""Runs as processes: their words, the memory of all of them, and how they are killed. For Linux."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from scene_checks.run import Run

ROOT = Path(__file__).parents[2]
SAMPLE_S = 0.25  # memory is looked at so often


class Process:
    """A run that has begun; a context manager, which ends it with all its workers.

    Attributes:
        peak_mb: the most that all its processes had together so far, as PSS.
    """

    def __init__(self, run: Run) -> None:
        self.peak_mb = 0.0
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed at the end)
        paths = [str(ROOT), str(ROOT / "tools"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            run.command(),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,  # of which all its workers are
        )
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._errors.close()

    @property
    def members(self) -> list[int]:
        """Its processes, the first one first."""
        return members(self._process.pid)

    def words(self) -> Iterator[dict[str, Any]]:
        """What it says, line by line, until it ends.

        Raises:
            RuntimeError: it ended as it should not.
        """
        assert self._process.stdout is not None  # a pipe
        for line in self._process.stdout:
            yield json.loads(line)
        if (code := self._process.wait()) != 0:
            self._errors.seek(0)
            raise RuntimeError(f"ended with {code}: {self._errors.read()[-3000:]}")

    def is_running(self) -> bool:
        """Whether its first process runs."""
        return self._process.poll() is None

    def kill(self, *, alone: bool = False) -> None:
        """Kills it, with its workers or alone, and waits until all are gone."""
        for pid in {self._process.pid, *([] if alone else self.members)}:
            _kill(pid)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        while self.members:
            time.sleep(0.02)

    def kill_worker(self) -> None:
        """Kills one of its workers."""
        _kill(next(pid for pid in self.members if "spawn_main" in _read(pid, "cmdline")))

    def _watch(self) -> None:
        while self._process.poll() is None:
            self.peak_mb = max(self.peak_mb, sum(map(pss_mb, self.members)))
            time.sleep(SAMPLE_S)


def members(session: int) -> list[int]:
    """The processes of a session, the oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (status := _read(int(entry.name), "stat")):
            state, _, _, own = status.rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                found.append(int(entry.name))
    return sorted(found)


def pss_mb(pid: int) -> float:
    """Memory of a process in MB, each page that several share divided by their number; 0 if it has ended."""
    for line in _read(pid, "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except (OSError, ProcessLookupError):
        return ""


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
