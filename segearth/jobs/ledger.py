"""A record on disk of what a job has finished, so that a killed job goes on instead of beginning again."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from segearth.errors import UserError
from segearth.json_files import json_line, parse_json


class Ledger:
    """Finished items of a job, by key, in a folder of their own.

    Every process that works on the job appends lines to a file that nobody else writes, so that neither a kill nor
    a second process can damage what is there: a line that was cut off is no JSON, and is as if it were not there.

    Args:
        folder: of this very job; another job, or the same with other settings, has another one.
        advice: what to do where it cannot be written; the end of a sentence.
    """

    def __init__(self, folder: Path, advice: str = "free some space") -> None:
        self.folder = folder
        self._advice = advice
        self._file: Any = None

    def read(self) -> dict[str, Any]:
        """All finished items, of all processes that wrote to this folder.

        Of several lines of a key, the last one in the file that was begun last counts.

        Raises:
            UserError: a file cannot be read.
        """
        found: dict[str, Any] = {}
        for path in sorted(self.folder.glob("*.jsonl"), key=_made):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise UserError(
                    f"cannot read {path} ({error.strerror}), what an earlier run has finished: make it readable, or "
                    "delete it to begin again"
                ) from None
            for line in text.splitlines():
                try:
                    key, value = parse_json(line)
                except (ValueError, TypeError):
                    continue
                if isinstance(key, str):
                    found[key] = value
        return found

    def begun(self) -> int:
        """When the first of its files was made, in nanoseconds since 1970; 0 if there is none."""
        return min((made for path in self.folder.glob("*.jsonl") if (made := _made(path)[0])), default=0)

    def add(self, entries: Sequence[tuple[str, Any]]) -> None:
        """Writes finished items; they are safe from a kill when this returns.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        try:
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                name = f"{platform.node()}-{os.getpid()}-{time.time_ns()}.jsonl"
                self._file = (self.folder / name).open("x", encoding="utf-8")
            self._file.write("".join(json_line(entry) for entry in entries))
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"cannot write to {self.folder} ({error.strerror}), where a job keeps what it has finished: "
                f"{self._advice}; what was finished is kept"
            ) from None

    def close(self) -> None:
        """Closes this process's file, if it wrote anything."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _made(path: Path) -> tuple[int, str]:
    """When a file was made, in nanoseconds since 1970 (0 if its name has no time), and its name."""
    text = path.stem.rpartition("-")[2]
    return int(text) if text.isdecimal() else 0, path.name
