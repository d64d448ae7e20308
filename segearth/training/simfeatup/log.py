"""What a person watches: a line now and then, a table to plot, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from segearth.errors import UserError, option
from segearth.outputs import atomic

SHOW_EVERY = 10.0  # seconds between lines
SMOOTHING = 0.9  # of the seconds a step: the last ten or so count


class Row(NamedTuple):
    """A step in the table.

    Attributes:
        step: counted from 1.
        loss: what is minimised.
        reconstruction: of the features; may be negative.
        image: reconstruction of the image before its weight of 0.1; 0 where it is left out.
        gradient_norm: before clipping.
        seconds: of this step.
    """

    step: int
    loss: float
    reconstruction: float
    image: float
    gradient_norm: float
    seconds: float


class Log:
    """Writes the log of a run; a resumed one continues its table."""

    def __init__(self, table: Path, board: Path, steps: int, done: int, say: Callable[[str], None]) -> None:
        """Opens the table.

        Args:
            table: the CSV file.
            board: TensorBoard's folder.
            steps: of the whole run.
            done: steps before this start; later rows of an interrupted run are dropped.
            say: shows a line.

        Raises:
            UserError: the table cannot be written.
        """
        self.steps, self.say = steps, say
        self.pace: float | None = None
        self.shown = -float("inf")
        kept = _rows_until(table, done) if done else []
        with atomic(table) as part:
            part.write_text(_lines([Row._fields, *kept]), encoding="utf-8")
        self.table = table
        self.board = _board(board, done)

    def add(self, row: Row) -> None:
        """Notes a step.

        Raises:
            UserError: the disk is full.
        """
        try:
            with self.table.open("a", encoding="utf-8") as file:
                file.write(_lines([[row.step, *(f"{value:.6g}" for value in row[1:])]]))
        except OSError as error:
            raise UserError(
                f"cannot write {self.table} ({error.strerror or error}): free some space; {option('resume', True)} "
                "goes on from the last checkpoint, if one was written"
            ) from None
        if self.board is not None:
            for name, value in row._asdict().items():
                if name != "step":
                    self.board.add_scalar(name, value, row.step)
        self.pace = row.seconds if self.pace is None else SMOOTHING * self.pace + (1 - SMOOTHING) * row.seconds
        now = time.monotonic()
        if now - self.shown >= SHOW_EVERY or row.step == self.steps:
            self.shown = now
            self.say(self.line(row))

    def line(self, row: Row) -> str:
        """A step for display, with the time left."""
        pace = row.seconds if self.pace is None else self.pace
        return (
            f"step {row.step}/{self.steps}  loss {row.loss:.4f}  features {row.reconstruction:.4f}  "
            f"image {row.image:.4f}  {pace:.2f} s/step  {duration(pace * (self.steps - row.step))} left"
        )

    def close(self) -> None:
        """Closes TensorBoard's file."""
        if self.board is not None:
            self.board.close()


def is_log(path: Path) -> bool:
    """Whether a file is the table of a run."""
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        return file.readline() == _lines([Row._fields])
    return False


def duration(seconds: float) -> str:
    """As `12 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _rows_until(table: Path, done: int) -> list[list[str]]:
    """The rows of the steps up to `done` of an earlier table, as they are."""
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.reader(file))
    return [row for row in rows if len(row) == len(Row._fields) and row[0].isdigit() and int(row[0]) <= done]


def _lines(rows: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _board(folder: Path, done: int) -> Any:
    """TensorBoard's writer, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=done + 1 if done else None)
