"""`segearth predict` for pictures, which are mapped in one piece."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.batch.inputs import Item
from segearth.batch.maps import check_disk, make_maps
from segearth.batch.plan import plan
from segearth.cli.formatting import count
from segearth.cli.predict_outcome import Outcome
from segearth.cli.predict_progress import picture_progress
from segearth.errors import UserError, printable
from segearth.images import check_image
from segearth.images.resizing import resized_size
from segearth.windows import CROP, LONG_SIDE, STRIDE, sliding_windows

if TYPE_CHECKING:
    from segearth.predictor import Predictor


class Pictures:
    """Pictures to map.

    Args:
        args: arguments of the command.
        items: the pictures, at least one.
        settings: settings of all maps.
        classes: number of classes.

    Attributes:
        number: number of pictures.
        done: whether all maps exist.
    """

    def __init__(self, args: argparse.Namespace, items: Sequence[Item], settings: dict[str, Any], classes: int) -> None:
        self._args, self._classes = args, classes
        self._long_side = LONG_SIDE if args.long_side is None else args.long_side
        more = {"long_side": self._long_side or None, "opacity": args.opacity, "outline": args.outline}
        self._tasks = plan(list(items), args.out, {**settings, **more, "scores": args.scores}, overwrite=args.overwrite)
        self._sizes: dict[Path, tuple[int, int]] = {}
        self._unreadable: dict[Path, str] = {}
        for task in self._tasks:
            if not task.done:
                try:
                    self._sizes[task.item.path] = check_image(task.item.path, args.max_pixels)
                except UserError as error:
                    self._unreadable[task.item.path] = str(error)
        self._windows = {path: self._windows_of(size) for path, size in self._sizes.items()}
        self.number = len(self._tasks)
        self.done = all(task.done for task in self._tasks)

    def _windows_of(self, size: tuple[int, int]) -> int:
        """Number of windows of an image."""
        height, width = resized_size(*size, self._long_side) if self._long_side else size
        return len(sliding_windows(height, width, CROP, STRIDE))

    @property
    def first_line(self) -> str:
        """A summary of the work to do."""
        done = sum(task.done for task in self._tasks)
        already = f" ({done} done already)" if done else ""
        scale = f"long side {self._long_side}" if self._long_side else "own size"
        windows = count(sum(self._windows.values()), "window")
        return f"{count(len(self._tasks), 'picture')}{already}, {scale}, {windows}"

    def plans(self) -> list[tuple[str, bool]]:
        """For every picture a line on what would be done, and whether it would fail."""
        lines = []
        for task in self._tasks:
            path = task.item.path
            if task.done:
                line = f"{path}: done already, {task.summary.parent / Path(task.item.name).name}.*"
            elif path in self._unreadable:
                line = f"{path}: fails: {self._unreadable[path]}"
            else:
                height, width = self._sizes[path]
                files = " ".join(str(file) for file in task.files)
                line = f"{path}: {width} × {height} pixels, {count(self._windows[path], 'window')} -> {files}"
            lines.append((printable(line), path in self._unreadable))
        return lines

    def check(self, *, alone: bool) -> None:
        """Checks that the work can begin.

        Args:
            alone: whether there is only one map to make.

        Raises:
            UserError: the only picture cannot be read, or the disk is too full.
        """
        if alone and self._unreadable:
            raise UserError(next(iter(self._unreadable.values())))
        pixels = {path: height * width for path, (height, width) in self._sizes.items()}
        check_disk(self._tasks, pixels, self._classes, self._args.out)

    def make(self, predictor: Predictor, tell: Callable[[str], None]) -> Outcome:
        """Makes the missing maps."""
        args = self._args
        with picture_progress(args, tell) as (progress, tell):
            made = make_maps(
                self._tasks,
                predictor,
                self._windows,
                opacity=args.opacity,
                outline=args.outline,
                max_memory_mb=args.max_memory,
                max_pixels=args.max_pixels,
                progress=progress,
                say=tell,
            )
        return Outcome([task.summary for task in made.made], len(made.skipped), list(made.failed.values()))
