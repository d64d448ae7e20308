"""Maps images one after another, records failures, and writes a table of all maps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.batch.plan import Task
from segearth.errors import UserError, is_out_of_memory, option
from segearth.exits import reraise_if_ending
from segearth.jobs.locks import locked
from segearth.json_files import read_json
from segearth.outputs import atomic, check_room, writable_folder, write_all
from segearth.summary import csv_table, json_writer

if TYPE_CHECKING:
    from segearth.predictor import Predictor
    from segearth.result import Result

SUMMARY = "summary.csv"


@dataclass
class Outcome:
    """Results of tasks.

    Attributes:
        made: maps that were written.
        skipped: maps that existed.
        failed: image -> error message.
    """

    made: list[Task] = field(default_factory=list)
    skipped: list[Task] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Progress of the loop.

    Attributes:
        task: the current task.
        images: (done, total) maps to make.
        windows: (done, total) windows, likewise.
    """

    task: Task
    images: tuple[int, int]
    windows: tuple[int, int]


def make_maps(
    tasks: Sequence[Task],
    predictor: Predictor,
    windows: Mapping[Path, int],
    *,
    opacity: float,
    outline: bool,
    max_memory_mb: float | None,
    max_pixels: int | None,
    progress: Callable[[Step], None],
    say: Callable[[str], None],
) -> Outcome:
    """Makes the missing maps; an image that fails does not stop the others.

    On a GPU, `predict_many` maps several images at once; progress is then reported by image.

    Args:
        tasks: the result of `plan`.
        predictor: the model with its vocabulary.
        windows: number of windows of each image, for progress; 0 for missing images.
        opacity: opacity of overlays.
        outline: outlines of overlays.
        max_memory_mb: see `Predictor.predict`.
        max_pixels: see `Predictor.predict`.
        progress: called after every step.
        say: called with each remark on an image.

    Raises:
        UserError: results cannot be written.
    """
    outcome = Outcome(skipped=[task for task in tasks if task.done])
    todo = [task for task in tasks if not task.done]
    total, before = sum(windows.get(task.item.path, 0) for task in todo), 0
    batched: Iterator[Result] | None = None
    if predictor.joins_images and todo:
        common = todo[0].settings  # equal for all maps of a run, except the hash of the input
        batched = predictor.predict_many(
            [task.item.path for task in todo],
            common["long_side"],
            False,
            max_memory_mb,
            scores=common["scores"],
            max_pixels=max_pixels,
        )
    for number, task in enumerate(todo):

        def show(done: int, _: int, number: int = number, task: Task = task, before: int = before) -> None:
            progress(Step(task, (number, len(todo)), (before + done, total)))

        path, settings = task.item.path, task.settings
        try:
            if batched is not None:  # it reads ahead, and continues after an error
                result = next(batched)
            else:
                result = predictor.predict(
                    path,
                    settings["long_side"],
                    show,
                    max_memory_mb,
                    scores=settings["scores"],
                    max_pixels=max_pixels,
                )
            writable_folder(task.summary.parent)
        except (UserError, MemoryError, RuntimeError) as error:
            reraise_if_ending(error)
            if not isinstance(error, UserError) and not is_out_of_memory(error):
                raise
            smaller = f"not enough memory: use a smaller {option('long_side')} or {option('max_memory')}"
            outcome.failed[path] = str(error) if isinstance(error, UserError) else smaller
        else:
            for remark in result.remarks:
                say(f"note: {remark}")
            summary = result.summary() | {"image": task.item.image, "settings": settings}
            writers = {file: result.writer(file, opacity, outline) for file in task.files[:-1]}
            write_all(writers | {task.summary: json_writer(summary)})
            outcome.made.append(task)
        before += windows.get(path, 0)
        progress(Step(task, (number + 1, len(todo)), (before, total)))
    return outcome


def check_disk(tasks: Sequence[Task], pixels: Mapping[Path, int], classes: int, out: Path) -> None:
    """Checks the free disk space before work begins.

    Args:
        tasks: all tasks; finished ones need no space.
        pixels: number of pixels of the images, if known.
        classes: number of classes.
        out: the output folder.

    Raises:
        UserError: the results will probably not fit.
    """
    # labels are a palette PNG with large areas, overlays are photographs, scores hardly compress
    needed = sum(
        pixels.get(task.item.path, 0) * (0.2 + 2 + 3.6 * classes * task.settings["scores"])
        for task in tasks
        if not task.done
    )
    check_room(out, needed, "the maps need")


def write_table(out: Path) -> Path:
    """Writes `summary.csv` from the summaries of all maps in a folder, and returns its path.

    Raises:
        UserError: it cannot be written.
    """
    path = out / SUMMARY
    with locked(path):  # otherwise another process could overwrite it with an older table
        content = csv_table(_summaries(out)).encode(errors="backslashreplace")
        with atomic(path) as part:
            part.write_bytes(content)
    return path


def _summaries(out: Path) -> Iterator[dict[str, Any]]:
    """The summaries of maps in a folder and its subfolders."""
    for path in sorted(out.rglob("*.summary.json")):
        try:
            summary = read_json(path)
        except (OSError, ValueError):
            continue
        rows = summary.get("classes") if isinstance(summary, dict) and "image" in summary else None
        if isinstance(rows, list) and all(isinstance(row, dict) and "name" in row for row in rows):
            if "transform" in summary:  # of a scene, with its name but without its folder
                summary["image"] = (path.parent.relative_to(out) / str(summary["image"])).as_posix()
            yield summary


class TimeLeft:
    """Estimates the remaining seconds from the pace so far."""

    def __init__(self) -> None:
        self.started: float | None = None
        self.first = 0

    def __call__(self, done: int, total: int) -> float | None:
        """Remaining seconds; None before the first step is done."""
        now = time.monotonic()
        if self.started is None:
            self.started, self.first = now, done
        if done <= self.first:
            return None
        return (now - self.started) / (done - self.first) * (total - done)
