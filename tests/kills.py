"""Ending a program at a point of its own work, so that no test depends on how fast a machine is.

A point is the n-th time that the program opens, moves, makes or removes something in a folder. Programs run in copies
of the test's process: nothing is imported again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from processes import forked

EVENTS = ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ENDS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}  # exit codes


def run(work: Callable[[], object], folder: Path, point: int | None = None, number: int = 0) -> tuple[int, int, str]:
    """Runs work in a copy of this process, and sends it a signal at a point.

    Args:
        work: gives its exit code.
        folder: existing, absolute; in which points are counted.
        point: counted from 0; None for none.
        number: of the signal.

    Returns:
        How many points there were before its end, its exit code, and its words.
    """
    counted = multiprocessing.get_context("fork").Value("i", 0)
    log = folder.with_name(f"{folder.name}.log")

    def watched() -> object:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main = os.getpid()

        def count(event: str, arguments: tuple[object, ...]) -> None:
            if event in EVENTS and str(arguments[0]).startswith(str(folder)):
                counted.value += 1
                if counted.value - 1 == point:
                    os.kill(main, number)

        sys.addaudithook(count)
        return work()

    process = forked(watched, log)
    process.join(300)
    return counted.value, process.exitcode if process.exitcode is not None else -1, log.read_text()


def hidden(folder: Path) -> list[str]:
    """What a killed program may leave: temporary files and locks."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]
