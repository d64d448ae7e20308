"""One attempt at a task; its answer is plain data that any process can read, also when the task fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from segearth.errors import UserError, called_as, first_line

Task: TypeAlias = Callable[[str], Any]


@dataclass(frozen=True)
class Answer:
    """The outcome of an attempt.

    No exception travels between processes: one that cannot be built again from its arguments breaks a pool.

    Attributes:
        value: what the task returned.
        why: it failed, as a phrase; None if it did not.
        ends: what to raise where no other key would fare better.
    """

    value: Any = None
    why: str | None = None
    ends: type[Exception] | None = None


@dataclass(frozen=True)
class Attempt:
    """Runs a task for a key.

    Attributes:
        task: see `segearth.jobs.executor.run_tasks`.
        program: the command that the user typed, whose options advice names; other processes do not know it.
    """

    task: Task
    program: str | None

    def __call__(self, key: str) -> Answer:
        """What became of it."""
        with nullcontext() if self.program is None else called_as(self.program):
            try:
                return Answer(self.task(key))
            except UserError as error:
                return Answer(why=str(error), ends=UserError)
            except Exception as error:
                return Answer(why=reason(error))


def reason(error: BaseException) -> str:
    """The reason of a failure in one line; errors of Python itself get their type in front."""
    line = first_line(error)
    bare = type(error).__module__ == "builtins" and not isinstance(error, OSError)
    return line if not bare or line == type(error).__name__ else f"{type(error).__name__}: {line}"
