"""Standard input, output and error as programs are given them: closed, in ASCII, or with nobody who reads to the end.

What a program computes is worth more than what it says: words that cannot be shown, or that nobody takes, end nothing.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Patient(io.FileIO):
    """The end of a standard stream: what cannot be written is dropped, and why is kept."""

    problem: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Writes, or drops, all of it."""
        try:
            return super().write(data)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):  # whoever reads, such as head, has enough: nothing is wrong
                self.problem = error
            return memoryview(data).nbytes


def open_streams() -> None:
    """Makes the standard streams take whatever is written to them; may be called again.

    Characters that their encoding lacks become escapes of Python. Streams that somebody else has put in their
    place, as notebooks do, keep their ways.
    """
    for number in range(3):  # else a file of results could be the one that libraries write their warnings to
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 (for the whole program)
    sys.stdout = _taking_all(sys.stdout, sys.__stdout__)
    sys.stderr = _taking_all(sys.stderr, sys.__stderr__)


def problem_of_output() -> str | None:
    """Why some of the standard output is lost, where nobody wanted that: a full disk."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    problem = raw.problem if isinstance(raw, _Patient) else None
    return None if problem is None else problem.strerror or str(problem)


def input_lines() -> Iterator[str]:
    """Lines of the standard input without their ends, as the names of files are written: any bytes will do."""
    source = getattr(sys.stdin, "buffer", None) or sys.stdin
    for line in source:
        yield (os.fsdecode(line) if isinstance(line, bytes) else line).rstrip("\r\n")


def _taking_all(stream: TextIO | None, original: TextIO | None) -> TextIO:
    """A stream in place of a standard one."""
    if stream is None:  # closed by whoever started the program
        return Path(os.devnull).open("w", encoding="utf-8")
    if stream is original and sys.platform != "win32":  # consoles of Windows have ways of their own
        with suppress(OSError, ValueError, AttributeError):
            return io.TextIOWrapper(
                io.BufferedWriter(_Patient(stream.fileno(), "w", closefd=False)),
                encoding=stream.encoding,
                errors="backslashreplace",
                # without a buffer is with lines: what is behind this one has a buffer of its own
                line_buffering=getattr(stream, "line_buffering", False) or getattr(stream, "write_through", False),
            )
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
