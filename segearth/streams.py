"""Robust standard streams: they may be closed, in ASCII, or have a reader that stops early.

Output that cannot be encoded or written must not end a program that computes.
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


class _DroppingFile(io.FileIO):
    """The raw file of a standard stream: drops output that cannot be written, and keeps the reason."""

    problem: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Writes all bytes, or drops them."""
        try:
            return super().write(data)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):  # the reader, such as head, has stopped: no error
                self.problem = error
            return memoryview(data).nbytes


def open_streams() -> None:
    """Makes the standard streams accept all output; may be called repeatedly.

    Characters that their encoding lacks become Python escapes. Streams that were replaced, as in notebooks, are only
    reconfigured.
    """
    for number in range(3):  # else a result file could get the descriptor of stderr, and the warnings of libraries
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 (for the whole program)
    sys.stdout = _robust(sys.stdout, sys.__stdout__)
    sys.stderr = _robust(sys.stderr, sys.__stderr__)


def problem_of_output() -> str | None:
    """Why a part of the standard output was lost, such as a full disk; None if nothing was lost."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    problem = raw.problem if isinstance(raw, _DroppingFile) else None
    return None if problem is None else problem.strerror or str(problem)


def input_lines() -> Iterator[str]:
    """Lines of the standard input without line ends, decoded as file names: any bytes are accepted."""
    source = getattr(sys.stdin, "buffer", None) or sys.stdin
    for line in source:
        yield (os.fsdecode(line) if isinstance(line, bytes) else line).rstrip("\r\n")


def _robust(stream: TextIO | None, original: TextIO | None) -> TextIO:
    """A robust stream in place of a standard one."""
    if stream is None:  # closed when the program was started
        return Path(os.devnull).open("w", encoding="utf-8")
    if stream is original and sys.platform != "win32":  # Windows consoles are different
        with suppress(OSError, ValueError, AttributeError):
            return io.TextIOWrapper(
                io.BufferedWriter(_DroppingFile(stream.fileno(), "w", closefd=False)),
                encoding=stream.encoding,
                errors="backslashreplace",
                # an unbuffered stream becomes line-buffered: the writer below has a buffer
                line_buffering=getattr(stream, "line_buffering", False) or getattr(stream, "write_through", False),
            )
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
