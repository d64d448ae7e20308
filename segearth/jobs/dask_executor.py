"""The workers of a dask cluster as an executor: SLURM, Kubernetes and clouds, by whatever started the cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from typing import Any, TypeVar

from segearth.errors import UserError, first_line, notice, option, printable

TIMEOUT_S = 30  # until a scheduler answers
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

    place = {"scheduler_file" if scheduler.endswith(".json") else "address": scheduler}
    try:
        client = Client(**place, timeout=TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"no dask scheduler answers at {option('scheduler', printable(scheduler))} ({first_line(error)}): expected "
            "its address, such as tcp://10.0.0.1:8786, or its file; start one by dask scheduler, dask-jobqueue or "
            "dask-kubernetes"
        ) from None
    with _without_its_log(), client:
        yield DaskExecutor(client)


@contextmanager
def _without_its_log() -> Iterator[None]:
    """Keeps dask from saying in tracebacks that its scheduler is gone, which we say in a sentence."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
