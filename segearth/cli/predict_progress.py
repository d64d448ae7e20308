"""Progress of `segearth predict`: a bar, or lines of JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.batch.maps import TimeLeft
from segearth.errors import printable
from segearth.progress import Progress, wants_bar

if TYPE_CHECKING:
    from segearth.batch.inputs import Item
    from segearth.batch.maps import Step
    from segearth.scenes.options import SceneProgress

    Tell = Callable[[str], None]

_SCENE = "{desc}: {percentage:3.0f}%|{bar}| {n:.3g}/{total:.3g} megapixels [{elapsed}{postfix}]"
_LONGEST = 40  # characters of a name in the title of a bar


@contextmanager
def picture_progress(args: argparse.Namespace, tell: Tell) -> Iterator[tuple[Callable[[Step], None], Tell]]:
    """Yields a progress callback for pictures, and a function that prints remarks beside the bar."""
    if args.progress == "json":
        left = TimeLeft()

        def line(step: Step) -> None:
            _json(
                image=str(step.task.item.path),
                images_done=step.images[0],
                images=step.images[1],
                windows_done=step.windows[0],
                windows=step.windows[1],
                seconds_left=_rounded(left(*step.windows)),
            )

        yield line, tell
        return
    if not _wants_bar(args):
        yield (lambda _: None), tell
        return
    from tqdm.auto import tqdm

    with tqdm(unit="window", dynamic_ncols=True) as bar:

        def move(step: Step) -> None:
            bar.total = step.windows[1]
            bar.set_description(_title(*step.images, step.task.item), refresh=False)
            bar.update(step.windows[0] - bar.n)

        yield move, lambda text: bar.write(text, file=sys.stderr)


@contextmanager
def scene_progress(
    args: argparse.Namespace, tell: Tell, item: Item, number: int, total: int
) -> Iterator[Callable[[SceneProgress], None]]:
    """Yields a progress callback for a scene, which first prints its remarks.

    Args:
        args: arguments of the command.
        tell: prints remarks.
        item: the scene.
        number: index of the scene, from 0.
        total: number of scenes.
    """
    with ExitStack() as bars:
        show: Callable[[SceneProgress], None] | None = None

        def begin(step: SceneProgress) -> Callable[[SceneProgress], None]:
            for remark in step.remarks:
                tell(f"note: {remark}")
            if args.progress == "json":
                return partial(_scene_line, item, number, total)
            if not _wants_bar(args):
                return lambda _: None
            from tqdm.auto import tqdm

            title = _title(number + 1, total, item)
            bar = bars.enter_context(
                tqdm(total=step.megapixels_total, dynamic_ncols=True, bar_format=_SCENE, desc=title)
            )
            bars.callback(bar.set_postfix_str, "")
            return partial(_update_bar, bar)

        def report(step: SceneProgress) -> None:
            nonlocal show
            show = show or begin(step)  # nothing is printed for an existing map
            show(step)

        yield report


def _scene_line(item: Item, number: int, total: int, step: SceneProgress) -> None:
    """Prints the progress of a scene as JSON."""
    _json(
        scene=item.shown,
        scenes_done=number,
        scenes=total,
        blocks_done=step.done,
        blocks=step.total,
        megapixels_done=_rounded(step.megapixels, 3),
        megapixels=_rounded(step.megapixels_total, 3),
        megapixels_per_second=_rounded(step.megapixels_per_second, 4),
        seconds_left=_rounded(step.seconds_left),
    )


def polygon_progress(args: argparse.Namespace, item: Item, number: int, total: int) -> Progress:
    """The progress option for the polygons of a scene; for the arguments see `scene_progress`."""
    if args.progress == "json":
        return lambda done, tiles: _json(
            scene=item.shown, scenes_done=number, scenes=total, tiles_done=done, tiles=tiles
        )
    return None if args.progress in ("auto", "bar") and not args.quiet else False


def report_files(args: argparse.Namespace, item: Item, number: int, total: int, files: Sequence[Path]) -> None:
    """Prints the files of a finished scene as JSON; for the other arguments see `scene_progress`."""
    if args.progress == "json":
        paths = [str(path.absolute()) for path in files]
        _json(scene=item.shown, scenes_done=number + 1, scenes=total, files=paths)


def _update_bar(bar: Any, step: SceneProgress) -> None:
    """Shows the progress of a scene on a bar."""
    bar.n = step.megapixels
    pace, left = step.megapixels_per_second, step.seconds_left
    if step.done == step.total:
        bar.set_postfix_str("putting the map together", refresh=False)
    elif pace is not None and left is not None:
        bar.set_postfix_str(f"{pace:.3g} a second, {bar.format_interval(left)} left", refresh=False)
    bar.refresh()


def _wants_bar(args: argparse.Namespace) -> bool:
    if args.progress == "none" or args.quiet:
        return False
    return wants_bar(True if args.progress == "bar" else None)


def _title(number: int, total: int, item: Item) -> str:
    """The title of a bar."""
    name = Path(item.name).name
    return printable(name if total == 1 else f"{number}/{total} {name}")[:_LONGEST]


def _json(**event: Any) -> None:
    """Prints a line of JSON on stderr, in ASCII, as names may contain any characters."""
    print(json.dumps(event, allow_nan=False), file=sys.stderr, flush=True)


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
