"""The workers of a dask cluster (SLURM, Kubernetes, clouds) as an executor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from segearth.errors import UserError, first_line, notice, option, printable
from segearth.json_files import read_json, schema_error

TIMEOUT_S = 30  # until a scheduler answers
_PAUSE_S = 0.1
_LEAST = 16  # tasks that are ready for workers which are still to come, as those of a queue are

T = TypeVar("T")


class DaskExecutor(Executor):
    """Runs what is submitted on a cluster; made by `dask_executor`.

    Attributes:
        workers: how many tasks it can run at a time, as far as that is known.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        # A task of ours is never the same as an earlier one; one whose worker died twice may be what killed it.
        self._executor: Executor = client.get_executor(pure=False, retries=2)
        threads = client.nthreads()
        self.workers = max(_LEAST, sum(threads.values()))
        if several := {number for number in threads.values() if number > 1}:
            notice(
                f"workers of the dask cluster run up to {max(several)} tasks at a time, each with its own memory: "
                "start them with --nthreads 1"
            )

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Begins a task.

        Raises:
            BrokenExecutor: the scheduler is gone.
        """
        if self._client.status != "running":
            raise BrokenExecutor(f"the connection to the scheduler is {self._client.status}")
        return self._executor.submit(fn, *args, **kwargs)


@contextmanager
def dask_executor(scheduler: str) -> Iterator[DaskExecutor]:
    """Connects to a cluster while the block runs; neither its scheduler nor its workers are ended.

    Its workers need segearth of the same version, and must find input, output and the model's weights at the same
    paths.

    Args:
        scheduler: its address, such as tcp://10.0.0.1:8786; or the path of its file, which ends in .json.

    Raises:
        UserError: nothing answers there.
        ModuleNotFoundError: dask's `distributed` is not installed.
    """
    from distributed import Client

    try:
        client = Client(_address(scheduler), timeout=TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"no dask scheduler answers at {option('scheduler', printable(scheduler))} ({first_line(error)}): expected "
            "its address, such as tcp://10.0.0.1:8786, or its file; start one by dask scheduler, dask-jobqueue or "
            "dask-kubernetes"
        ) from None
    with _without_its_log(), client:
        yield DaskExecutor(client)


def _address(scheduler: str) -> str:
    """The scheduler's address; waits for the scheduler's file where that is given.

    Raises:
        OSError: there is no such file.
        ValueError: it is another one.
    """
    if not scheduler.endswith(".json"):
        return scheduler
    file, latest = Path(scheduler), time.monotonic() + TIMEOUT_S
    while not file.exists() and time.monotonic() < latest:
        time.sleep(_PAUSE_S)
    content = read_json(file)
    if (problem := schema_error(content, {"address": str})) is not None:
        raise ValueError(f"{file} {problem}")
    return str(content["address"])


@contextmanager
def _without_its_log() -> Iterator[None]:
    """Silences dask's tracebacks about a lost scheduler, which is reported in one sentence."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
