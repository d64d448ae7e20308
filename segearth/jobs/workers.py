"""Worker processes: freshly started, numbered, and ended with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, TypeAlias

from segearth.errors import UserError, option, program
from segearth.exits import show_only_notices
from segearth.jobs.attempt import Answer, Attempt

Initializer: TypeAlias = Callable[[int], object]

_CONTEXT = multiprocessing.get_context("spawn")  # forks of a process with threads may hang, and CUDA forbids them
_STILLBORN = 2  # generations of which no process began: one may be killed by chance
_ENDINGS = {getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}

_attempt: Attempt | None = None  # of this process, a worker
_problem: Answer | None = None  # why it cannot work


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_each(workers: int) -> int:
    """The number of threads for each of several workers on this machine, so that they share its cores."""
    return max(1, cores() // workers)


class Workers:
    """A process pool that can be started anew; a context manager, which ends its processes.

    When the block ends well, the processes end by themselves; else at once, in whatever they are. They also end at
    once when this process ends, however that ends.

    Args:
        count: of processes; each is started when there is work for it.
        initializer: called once in each with its number, from 0 to `count` - 1.
        attempt: what they run; sent once to each, so that a task may hold something of every key.
    """

    def __init__(self, count: int, initializer: Initializer | None, attempt: Attempt) -> None:
        self.ahead = count  # more would make suspects of keys that were not at work when a process died
        self._initializer, self._attempt = initializer, attempt
        self._stillborn = 0
        self._start()

    def _start(self) -> None:
        self._begun = _CONTEXT.Value("i", 0)
        lifeline, self._lifeline = _CONTEXT.Pipe(duplex=False)
        arguments = (self._begun, lifeline, self._initializer, self._attempt, program() is not None)
        self._pool = ProcessPoolExecutor(self.ahead, _CONTEXT, _begin, arguments)
        self._ours = lifeline  # sent to each process when that is started

    def submit(self, key: str) -> Future[Answer]:
        """Begins an attempt; at most `ahead` at a time.

        Raises:
            BrokenExecutor: a process died.
        """
        with signals_blocked():
            return self._pool.submit(_run, key)

    def renew(self, error: BrokenExecutor) -> None:
        """Starts new processes after one died.

        Raises:
            UserError: none came as far as to begin, also not the time before.
        """
        self._stillborn = self._stillborn + 1 if self._begun.get_obj().value == 0 else 0
        if self._stillborn == _STILLBORN:
            raise UserError(
                "worker processes ended before they began; what they said is above: expected a main module that can "
                'be imported, so put what a script does below if __name__ == "__main__":, or use '
                f"{option('workers', 1)}"
            ) from error
        self._stop(at_once=True)
        self._start()

    def _stop(self, *, at_once: bool) -> None:
        if at_once:
            self._lifeline.close()
        self._pool.shutdown(cancel_futures=True)
        self._lifeline.close()
        self._ours.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(at_once=error is not None)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Blocks signals while a process is started, which inherits that; see `_begin`.

    What a signal makes this process raise would else cut off what the new one is told; and that one, as long as it has
    not begun, would answer Ctrl-C with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *_ENDINGS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(begun: Any, lifeline: Connection, initializer: Initializer | None, attempt: Attempt, command: bool) -> None:
    """Sets up a worker process: number, initializer, task, and the end with its parent.

    The workers of a command say what it would say, and not each of them: the first one alone.
    """
    global _attempt, _problem
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent heeds it
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    _attempt = attempt
    with begun.get_lock():
        number = begun.value
        begun.value += 1
    if command:
        show_only_notices()
        if number:
            warnings.simplefilter("ignore")
    try:
        if initializer is not None:
            initializer(number)
    except UserError as error:
        _problem = Answer(why=str(error), ends=UserError)
    except Exception:
        _problem = Answer(why=f"a worker process could not begin:\n{traceback.format_exc()}", ends=RuntimeError)


def _end_with(lifeline: Connection) -> None:
    """Ends this process when the parent closes its end of the pipe or dies."""
    with suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(1)


def _run(key: str) -> Answer:
    """Runs an attempt in a worker."""
    assert _attempt is not None  # `_begin` ran before
    return _problem or _attempt(key)
