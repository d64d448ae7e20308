"""The server's side of the worker process: starts it, submits tasks, and restarts it when it dies."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from segearth.errors import UserError
from segearth.jobs.workers import signals_blocked
from segearth.web.worker import MapTask, ModelSetup, run_worker

_CONTEXT = multiprocessing.get_context("spawn")  # as in segearth.jobs.workers
_DIED = "the process that computes ended, often of too little memory: take a smaller image or scale; others go on"

Listener = Callable[[str, str, dict[str, Any]], object]  # ("progress" or "ended", job id, fields)


class WorkerClient:
    """Runs tasks one after another in a worker process.

    Args:
        setup: the model to load.

    Attributes:
        facts: model and device, reported by the worker when the model was loaded.
    """

    def __init__(self, setup: ModelSetup) -> None:
        self._setup = setup
        self._lock = threading.Lock()
        self._current: str | None = None
        self._closed = False
        self._listener: Listener = lambda *_: None
        self._reading = False
        self._connection, self._process = self._start()
        self.facts = self._wait_until_ready()

    def listen(self, listener: Listener) -> None:
        """Sets the listener that receives the messages of the worker in a thread; replaces the earlier one."""
        self._listener = listener
        with self._lock:
            reading, self._reading = self._reading, True
        if not reading:  # two threads would receive parts of the same message
            threading.Thread(target=self._read, daemon=True).start()

    def submit(self, task: MapTask) -> None:
        """Starts a task; the previous one must have ended."""
        with self._lock:
            self._current = task.job
            with suppress(OSError):  # the worker has died, which the reading thread will notice
                self._connection.send(task)

    def cancel(self, job: str) -> None:
        """Asks the worker to stop a task, if it is running."""
        with self._lock, suppress(OSError):
            self._connection.send(("cancel", job))

    @property
    def pid(self) -> int | None:
        """Process id of the worker."""
        return self._process.pid

    def close(self) -> None:
        """Kills the worker."""
        with self._lock:
            self._closed = True
            self._process.kill()
        self._process.join()
        self._connection.close()

    def _start(self) -> tuple[Connection, Any]:
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=run_worker, args=(theirs, self._setup), daemon=True)
        with signals_blocked():
            process.start()
        theirs.close()
        return ours, process

    def _wait_until_ready(self) -> dict[str, Any]:
        """Waits until the worker has loaded the model.

        Raises:
            UserError: it cannot be loaded.
        """
        try:
            kind, content = self._connection.recv()
        except (EOFError, OSError):
            kind, content = (
                "unready",
                "the process that computes ended while it loaded the model, often of too little memory",
            )
        except BaseException:  # Ctrl-C
            self._process.kill()
            raise
        if kind == "unready":
            self._process.join()
            raise UserError(content)
        facts: dict[str, Any] = content
        return facts

    def _read(self) -> None:
        """Passes messages of the worker to the listener until the server ends."""
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                if not self._restart():
                    return
                continue
            if message[0] == "ended":
                with self._lock:
                    self._current = None
            self._listener(*message)

    def _restart(self) -> bool:
        """Restarts a dead worker and reports its task as failed; False when the server is closing."""
        with self._lock:
            if self._closed:
                return False
            self._process.join()
            self._connection.close()
            why = _DIED
            self._connection, self._process = self._start()
            lost = self._current
        try:
            self._wait_until_ready()
        except UserError as error:
            why = f"{_DIED}; it could not be started again: {error}"
            with self._lock:
                lost = self._current
        if lost is not None:
            with self._lock:
                self._current = None
            self._listener("ended", lost, {"state": "failed", "error": why})
        return True
