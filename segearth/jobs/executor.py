"""Runs a task for each of many keys: in this process, in worker processes, or through any executor."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

from segearth.errors import UserError, first_line, option, program
from segearth.jobs.attempt import Answer, Attempt, Task, reason
from segearth.jobs.workers import Initializer, Workers

_HEED_S = 1.0  # on Windows, Ctrl-C is heeded only between two waits
_DIED = "its process died, often of too little memory"


@dataclass(frozen=True)
class Outcome:
    """The outcome of all keys.

    Attributes:
        done: key -> what its task returned, in this run or before it, in the order of the keys.
        failed: key -> why, as a phrase, in the order of the keys.
    """

    done: dict[str, Any]
    failed: dict[str, str]


def run_tasks(
    keys: Iterable[str],
    task: Task,
    *,
    executor: Executor | None = None,
    workers: int = 1,
    initializer: Initializer | None = None,
    done: Mapping[str, Any] | None = None,
    keep: Callable[[str, Any], object] | None = None,
    retries: int = 1,
    progress: Callable[[Collection[str], Collection[str]], object] | None = None,
) -> Outcome:
    """Runs a task for each key that is not done.

    A key whose task raises is tried again after the others. A worker process that dies loses nothing that was
    finished: the workers are started anew, and the keys that were at work in that moment run alone next, so that one
    that kills its process takes no others with it. A key that fails more often than `retries` is listed, and the rest
    goes on; but a `UserError` of a task ends the run, because all other keys would meet the same full disk or
    missing file. Ctrl-C, and whatever else ends this function early, ends the workers at once: tasks write their files
    whole or not at all.

    Args:
        keys: each once; a second time is passed over.
        task: gets a key and returns a small value that JSON can hold; for workers and executors it must be picklable,
            a function of a module or a `functools.partial` of one.
        executor: runs the tasks, such as that of a dask client or `mpi4py.futures.MPIPoolExecutor`; whoever made it
            shuts it down.
        workers: processes to start, each fresh ("spawn"); 1 computes in this process. With an executor, how many tasks
            it runs at a time.
        initializer: called once in each process of ours with its number, from 0 to `workers` - 1: to choose a GPU and
            the number of threads. Not called in this process, nor by executors, which have ways of their own.
        done: what earlier runs have finished.
        keep: called here with each key that is finished and its value, at once, such as to write them to a ledger.
        retries: how often a key that failed is tried again.
        progress: called here with the keys that are done or given up so far, and with all: at the beginning and after
            every one.

    Raises:
        UserError: there are less than one workers, a task raised one, or the executor broke.
    """
    check_workers(workers)
    known, every = done or {}, list(dict.fromkeys(keys))
    run = _Run(every, {key: known[key] for key in every if key in known}, retries, keep, progress)
    todo = deque(key for key in every if key not in run.done)
    run.show()
    attempt = Attempt(task, program())
    if executor is not None:
        _run_in(_GivenExecutor(executor, attempt, 2 * workers), todo, run)
    elif workers == 1:
        while todo:
            run.settle(key := todo.popleft(), attempt(key), todo)
    elif todo:
        with Workers(min(workers, len(todo)), initializer, attempt) as pool:
            _run_in(pool, todo, run)
    return run.outcome()


def check_workers(workers: int) -> None:
    """Refuses a number of processes below 1.

    Raises:
        UserError: there are less than one.
    """
    if workers < 1:
        raise UserError(f"{option('workers')} is {workers}: expected at least 1; 1 computes in this process")


@dataclass
class _Run:
    """The state of the keys while they run."""

    keys: list[str]
    done: dict[str, Any]
    retries: int
    keep: Callable[[str, Any], object] | None
    progress: Callable[[Collection[str], Collection[str]], object] | None
    failed: dict[str, str] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)

    def settle(self, key: str, answer: Answer, again: deque[str]) -> None:
        """Records the answer of an attempt; a key that is to be tried again goes to the end of `again`.

        Raises:
            UserError: nothing else would end better.
        """
        if answer.ends is not None:
            raise answer.ends(answer.why)
        if answer.why is None:
            self.done[key] = answer.value
            if self.keep is not None:
                self.keep(key, answer.value)
        else:
            self.failures[key] += 1
            if self.failures[key] <= self.retries:
                again.append(key)
                return
            self.failed[key] = answer.why
        self.show()

    def show(self) -> None:
        """Reports the progress."""
        if self.progress is not None:
            self.progress([*self.done, *self.failed], self.keys)

    def outcome(self) -> Outcome:
        """The outcome, in the order of the keys."""
        done, failed = ({key: part[key] for key in self.keys if key in part} for part in (self.done, self.failed))
        return Outcome(done, failed)


class _Pool(Protocol):
    """Runs attempts in other processes.

    Attributes:
        ahead: how many attempts it is given at a time. Few, so that it ends quickly when it is to end.
    """

    ahead: int

    def submit(self, key: str) -> Future[Answer]:
        """Begins an attempt, now or when a process is free."""
        ...

    def renew(self, error: BrokenExecutor) -> None:
        """Makes it work again after a process died."""
        ...


class _GivenExecutor:
    """An executor that the caller made."""

    def __init__(self, executor: Executor, attempt: Attempt, ahead: int) -> None:
        self._executor, self._attempt = executor, attempt
        self.ahead = ahead

    def submit(self, key: str) -> Future[Answer]:
        """Begins an attempt."""
        return self._executor.submit(self._attempt, key)

    def renew(self, error: BrokenExecutor) -> None:
        """Raises: only the caller can make the executor anew.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"the executor {type(self._executor).__name__} broke ({first_line(error)}): expected one that outlives its "
            f"processes; start again with a new one, or with {option('workers', 2)}: what was finished is kept"
        )


def _run_in(pool: _Pool, todo: deque[str], run: _Run) -> None:
    """Runs attempts in a pool until each key has succeeded or failed."""
    alone: deque[str] = deque()  # were at work when a process died
    pending: dict[Future[Answer], str] = {}
    try:
        while todo or alone or pending:
            broken = _submit(pool, alone or todo, 1 if alone else pool.ahead, pending)
            settled = wait(pending, _HEED_S, FIRST_COMPLETED).done
            broken = next(filter(None, map(_break, settled)), broken)
            if broken is not None:
                settled = wait(pending).done  # a pool that broke fails all that it had, within a moment
            ended = [future for future in pending if future in settled]  # as they were submitted
            ends = {pending.pop(future): (_answer(future), alone if _break(future) else todo) for future in ended}
            for key, (answer, again) in sorted(ends.items(), key=lambda end: end[1][0].ends is not None):
                run.settle(key, answer, again)
            if broken is not None:
                pool.renew(broken)
    finally:
        for future in pending:
            future.cancel()


def _submit(pool: _Pool, queue: deque[str], ahead: int, pending: dict[Future[Answer], str]) -> BrokenExecutor | None:
    """Submits attempts to a pool as long as it takes more; returns the error if the pool broke."""
    while queue and len(pending) < ahead:
        try:
            future = pool.submit(queue[0])
        except BrokenExecutor as error:
            return error
        pending[future] = queue.popleft()
    return None


def _break(future: Future[Answer]) -> BrokenExecutor | None:
    """The error of an attempt whose pool broke; None if it did not."""
    error = None if future.cancelled() else future.exception()
    return error if isinstance(error, BrokenExecutor) else None


def _answer(future: Future[Answer]) -> Answer:
    """The answer of an attempt that has ended."""
    if future.cancelled():
        return Answer(why="the executor cancelled it")
    if (error := future.exception()) is None:
        return future.result()
    return Answer(why=_DIED if isinstance(error, BrokenExecutor) else reason(error))
