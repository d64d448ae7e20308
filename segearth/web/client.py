"""The server's end of the process that computes: starts it, hands tasks to it, and starts it anew when it dies."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from segearth.errors import UserError
from segearth.jobs.workers import undisturbed
from segearth.web.worker import MapTask, ModelSetup, work

_CONTEXT = multiprocessing.get_context("spawn")  # as of segearth.jobs.workers
_DIED = "the process that computes ended, often of too little memory: take a smaller image or scale; others go on"

Listener = Callable[[str, str, dict[str, Any]], object]  # ("progress" or "ended", job, what is told)


class WorkerClient:
    """Runs tasks one after another in a process of its own.

    Args:
        setup: of the model.

    Attributes:
        facts: what the process told of itself when the model was loaded.
    """

    def __init__(self, setup: ModelSetup) -> None:
        self._setup = setup
        self._lock = threading.Lock()
        self._current: str | None = None
        self._closed = False
        self._listener: Listener = lambda *_: None
        self._reading = False
        self._connection, self._process = self._start()
        self.facts = self._await()

    def listen(self, listener: Listener) -> None:
        """From now on, tells what the process tells, in a thread of its own; in place of whoever listened before."""
        self._listener = listener
        with self._lock:
            begun, self._reading = self._reading, True
        if not begun:  # two threads would take parts of one message each
            threading.Thread(target=self._read, daemon=True).start()

    def submit(self, task: MapTask) -> None:
        """Begins a task; the one before has ended."""
        with self._lock:
            self._current = task.job
            with suppress(OSError):  # it has died, which the reader is about to notice
                self._connection.send(task)

    def cancel(self, job: str) -> None:
        """Ends a task soon, if it is at work."""
        with self._lock, suppress(OSError):
            self._connection.send(("cancel", job))

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._closed = True
            self._process.kill()
        self._process.join()
        self._connection.close()

    def _start(self) -> tuple[Connection, Any]:
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=work, args=(theirs, self._setup), daemon=True)
        with undisturbed():
            process.start()
        theirs.close()
        return ours, process

    def _await(self) -> dict[str, Any]:
        """Waits until the model is loaded.

        Raises:
            UserError: it cannot be.
        """
        try:
            what, told = self._connection.recv()
        except (EOFError, OSError):
            what, told = (
                "unready",
                "the process that computes ended while it loaded the model, often of too little memory",
            )
        except BaseException:  # Ctrl-C
            self._process.kill()
            raise
        if what == "unready":
            self._process.join()
            raise UserError(told)
        facts: dict[str, Any] = told
        return facts

    def _read(self) -> None:
        """Tells what the process tells, until the server ends."""
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                if not self._renew():
                    return
                continue
            if message[0] == "ended":
                with self._lock:
                    self._current = None
            self._listener(*message)

    def _renew(self) -> bool:
        """After the process died: starts another one, and tells that its task failed; False when all ends."""
        with self._lock:
            if self._closed:
                return False
            self._process.join()
            self._connection.close()
            why = _DIED
            self._connection, self._process = self._start()
            lost = self._current
        try:
            self._await()
        except UserError as error:
            why = f"{_DIED}; it could not be started again: {error}"
            with self._lock:
                lost = self._current
        if lost is not None:
            with self._lock:
                self._current = None
            self._listener("ended", lost, {"state": "failed", "error": why})
        return True
