"""The processes of one launch: they exchange values through files in a shared folder.

They exchange small values through files, so that they need neither a network nor torch. What they compute goes into
the ledger of a job (`segearth.jobs.folder`), which outlives them.
"""

from __future__ import annotations

import math
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from segearth.errors import UserError, is_out_of_memory, notice
from segearth.jobs.attempt import reason
from segearth.jobs.shards import WHOLE, Shard
from segearth.json_files import read_json, schema_error, write_json
from segearth.outputs import atomic

MEETING_S = 180.0  # until all processes have reached the shared folder for the first time; imports take up to a minute
_NOTICE_S = 60.0  # of waiting, before it is said
_POLL_S, _SLOW_POLL_S = 0.05, 1.0

NOT_MADE = "another launch has ended this run and made its record: expected one at a time; start again"

T = TypeVar("T")


class TeamError(UserError):
    """A process cannot exchange values with the others, and has to end."""


class Team:
    """The processes of one launch, as one of them sees them.

    Every process calls the same methods in the same order, with the same folders.

    Args:
        shard: of this process.
        launch: a name that only these processes have; others may use the same folder at the same time.
    """

    def __init__(self, shard: Shard = WHOLE, launch: str = "") -> None:
        self.shard, self._launch = shard, launch
        self._meetings = 0

    @property
    def is_main(self) -> bool:
        """Whether this process speaks for all."""
        return self.shard.index == 0

    @property
    def has_met(self) -> bool:
        """Whether all processes have used a shared folder before."""
        return self.shard.count == 1 or self._meetings > 0

    def gather(self, folder: Path, value: Any = None) -> list[Any]:
        """The values of all processes, by rank; waits until every process has given its value.

        Each process writes a file with a number that it draws, and notes the numbers that it has read from the others.
        A file that has this process's number in it was written after it, so that files of an earlier launch, which
        was killed, count for nothing.

        Args:
            folder: an existing folder, the same for all processes.
            value: what JSON can hold.

        Raises:
            TeamError: at the first call, another process does not come: the folder is not shared; or it cannot be
                written.
        """
        if self.shard.count == 1:
            return [value]
        self._meetings += 1
        meeting = folder / f".processes{self._launch}" / str(self._meetings)
        patience = MEETING_S if self._meetings == 1 else math.inf
        me, number, started, noticed = self.shard.index, secrets.token_hex(8), time.monotonic(), False
        numbers: dict[int, str] = {me: number}
        written: dict[int, str] = {}
        wait = _POLL_S
        while True:
            if written != numbers or wait == _SLOW_POLL_S:  # a disk of a network shows new files after one's own write
                self._write(meeting, {"number": number, "value": value, "read": list(numbers.values())})
                written = dict(numbers)
            others = {rank: _read(meeting / f"{rank}.json") for rank in range(self.shard.count) if rank != me}
            numbers |= {rank: other["number"] for rank, other in others.items() if other is not None}
            missing = [rank for rank, other in others.items() if other is None or number not in other["read"]]
            if not missing and written == numbers:
                break
            waited = time.monotonic() - started
            if waited > patience:
                raise TeamError(
                    f"process {me} of {self.shard.count} does not find process {missing[0]} in {folder}: expected all "
                    f"processes to use one folder within {patience:.0f} s; on several machines, give a folder on a "
                    "shared disk"
                )
            if waited > _NOTICE_S and not noticed and self.is_main:
                notice(f"waiting for process {missing[0]} of {self.shard.count}")
                noticed = True
            wait = _POLL_S if waited < _NOTICE_S else _SLOW_POLL_S
            time.sleep(wait)
        self._leave(meeting, numbers)
        values = {rank: other["value"] for rank, other in others.items() if other is not None} | {me: value}
        return [values[rank] for rank in range(self.shard.count)]

    def run_on_all_ranks(self, folder: Path, work: Callable[[], T]) -> T:
        """Does something in every process, and waits for the others.

        Returns:
            This process's result.

        Raises:
            Exception: it failed here.
            UserError: it failed in another process; so it fails in all of them.
            MemoryError: another process had too little memory.
        """
        if self.shard.count == 1:
            return work()
        try:
            result = work()
        except Exception as error:
            memory = is_out_of_memory(error)
            text = str(error) if isinstance(error, UserError) else reason(error)
            with suppress(UserError):  # this error is the one to report
                self.gather(folder, {"error": text, "memory": memory})
            raise
        for failure in filter(None, self.gather(folder)):
            raise (MemoryError if failure["memory"] else UserError)(failure["error"])
        return result

    def _write(self, meeting: Path, content: dict[str, Any]) -> None:
        """Shows the others what this process has to say, and whom it has heard."""
        try:
            meeting.mkdir(parents=True, exist_ok=True)
            with atomic(meeting / f"{self.shard.index}.json") as part:
                write_json(part, content)
        except UserError as error:
            raise TeamError(str(error)) from None
        except OSError as error:
            raise TeamError(
                f"cannot make the folder {meeting} ({error.strerror}): expected one that can be written; give another "
                "folder for results"
            ) from None

    def _leave(self, meeting: Path, numbers: dict[int, str]) -> None:
        """Removes the files of a meeting, if all other processes have read them."""
        with suppress(OSError):
            (meeting / f"{numbers[self.shard.index]}.left").touch()
            if {path.stem for path in meeting.glob("*.left")} >= set(numbers.values()):
                shutil.rmtree(meeting)
                meeting.parent.rmdir()


def _read(file: Path) -> dict[str, Any] | None:
    """What another process has written; None if there is nothing yet, or only a part."""
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return None
    return content if schema_error(content, {"number": str, "value": object, "read": list}) is None else None


ALONE = Team()
