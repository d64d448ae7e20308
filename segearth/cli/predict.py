"""`segearth predict IMAGE... -c CLASSES -o DIR`: maps of many images, with class names in words.

Of every image it writes NAME.labels.png (class indices with a palette), NAME.overlay.png (the map over the image,
with a legend) and NAME.summary.json, and of all summary.csv. Started again, it makes what is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth import weights
from segearth.cli.options import (
    add_max_pixels,
    add_model_options,
    add_quiet,
    check_long_side,
    check_max_pixels,
    check_model,
)
from segearth.errors import UserError, option, printable
from segearth.exits import MISTAKE, OK, SOME_FAILED, quiet, say
from segearth.paths import user_path
from segearth.streams import input_lines
from segearth.vocabulary import Vocabulary, describe_settings

if TYPE_CHECKING:
    from segearth.batch.maps import Step
    from segearth.batch.plan import Task

HELP = "Map images with class names in words."
MODEL = "clip-vit-b16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Images, classes, and what the maps look like."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help='files, folders, patterns such as "tiles/*.tif"; - reads a list'
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "-c", "--classes", help="class names: semicolons between classes, commas between synonyms; or a class file"
    )
    which.add_argument("--preset", metavar="NAME", help="prompts and threshold of a data set, such as loveda")
    parser.add_argument("-o", "--out", type=Path, default=Path("out"), help="folder for the results (%(default)s)")
    add_model_options(parser, MODEL)
    parser.add_argument(
        "--long-side",
        type=int,
        default=448,
        metavar="N",
        help="resize to so many pixels; 0: the image's own size (448)",
    )
    parser.add_argument(
        "--threshold", type=float, metavar="T", help="pixels whose best score is below become the background (0)"
    )
    parser.add_argument(
        "--background",
        metavar="NAME",
        help="that class (one called background, clutter, other, ...; else unclassified)",
    )
    parser.add_argument(
        "--colour", action="append", default=[], metavar="NAME=#RRGGBB", help="colour of a class; may be repeated"
    )
    parser.add_argument("--opacity", type=float, default=0.5, help="of the map over the image, 0 to 1 (%(default)s)")
    parser.add_argument(
        "--outline", action=argparse.BooleanOptionalAction, default=True, help="lines along the borders of classes"
    )
    parser.add_argument("--scores", action="store_true", help="also NAME.scores.npz: the score of every class")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="make maps anew that are there")
    again.add_argument("--resume", action="store_true", help="make what is missing (the default)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    add_max_pixels(parser)
    parser.add_argument("--max-memory", type=float, metavar="MB", help="working memory (400; on CUDA up to 2000)")
    parser.add_argument(
        "--progress",
        choices=("auto", "bar", "json", "none"),
        default="auto",
        help="auto: a bar on a terminal; json: lines on stderr, among the remarks (%(default)s)",
    )
    parser.add_argument("--no-progress", dest="progress", action="store_const", const="none", help="as --progress none")
    add_quiet(parser)
    parser.set_defaults(interrupted="maps that are written stay; the same command goes on")


def run(args: argparse.Namespace) -> int:
    """Checks all that can be checked at once, makes the maps, says what became of them."""
    tell: Callable[[str], None] = quiet if args.quiet else say
    vocabulary, threshold = _vocabulary(args, tell)
    _check(args)

    from segearth.batch.inputs import find_images
    from segearth.batch.maps import SUMMARY, check_disk, make_maps, write_table
    from segearth.batch.plan import plan
    from segearth.outputs import writable_folder

    args.out = user_path(args.out, "output folder")
    items = find_images(args.images, args.out, input_lines() if "-" in args.images else ())
    if not args.dry_run:
        writable_folder(args.out)
    if args.precision == "auto":
        from segearth.compute import Compute

        args.precision = Compute.choose(args.device, "auto").precision
        tell(f"precision: {args.precision}")
    common = {
        **_model_settings(args),
        "classes": describe_settings(vocabulary),
        "background": vocabulary.background_name,
        "threshold": threshold,
        "long_side": args.long_side or None,
        "opacity": args.opacity,
        "outline": args.outline,
        "scores": args.scores,
    }
    tasks = plan(items, args.out, common, overwrite=args.overwrite)
    sizes, unreadable = _sizes(tasks, args.max_pixels)
    windows = {path: _windows(size, args.long_side) for path, size in sizes.items()}
    tell(_first_line(args, tasks, vocabulary, windows))
    if args.dry_run:
        return _dry_run(tasks, sizes, windows, unreadable)
    if unreadable and len(items) == 1:
        raise UserError(next(iter(unreadable.values())))
    check_disk(tasks, {path: h * w for path, (h, w) in sizes.items()}, len(vocabulary), args.out)

    if all(task.done for task in tasks):
        write_table(args.out)
        print(f"all {len(tasks)} maps are in {printable(args.out)} already")
        return OK

    from segearth.loading import load_model

    predictor = load_model(
        args.model or MODEL,
        vocabulary,
        args.device,
        args.precision,
        threshold=threshold,
        architecture=args.architecture,
        upsampler=args.upsampler or "default",
    )
    with _progress(args, tell) as (progress, tell):
        outcome = make_maps(
            tasks,
            predictor,
            windows,
            opacity=args.opacity,
            outline=args.outline,
            max_memory_mb=args.max_memory,
            max_pixels=args.max_pixels,
            progress=progress,
            say=tell,
        )
    if outcome.failed and len(items) == 1:
        raise UserError(next(iter(outcome.failed.values())))
    write_table(args.out)
    if len(outcome.made) == 1 and len(tasks) == 1:
        from segearth.json_files import read_json
        from segearth.summary import text_table

        print(text_table(read_json(outcome.made[0].summary)["classes"]) + "\n")
    for why in outcome.failed.values():
        say(f"failed: {why}")
    already = f", {len(outcome.skipped)} were there" if outcome.skipped else ""
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    made = f"{_count(len(outcome.made), 'map')} written to {printable(args.out)}"
    print(f"{made}{already}{failed}; all in figures: {SUMMARY}")
    return SOME_FAILED if outcome.failed else OK


def _vocabulary(args: argparse.Namespace, tell: Callable[[str], None]) -> tuple[Vocabulary, float]:
    """The classes and the threshold, with all that the command line changes in them."""
    background = False if args.background == "none" else args.background
    threshold = args.threshold
    if args.preset is None:
        vocabulary = Vocabulary.of(args.classes, background)
    else:
        from segearth.config_files import configs_folder
        from segearth.datasets import describe

        of = describe(args.preset)
        vocabulary = Vocabulary.from_file(configs_folder() / of.prompts, of.bg_idx if of.prob_thd else None)
        if background is not None:
            vocabulary = vocabulary.with_background(background)
        if threshold is None and of.prob_thd:
            threshold = of.prob_thd
            tell(
                f"note: the threshold {threshold} of {of.title} was tuned on its labels; other images may want another"
            )
    colours = {}
    for text in args.colour:
        name, equals, colour = text.rpartition("=")
        if not equals:
            raise UserError(f"--colour {text}: expected NAME=#RRGGBB, such as tree=#19732A")
        colours[name] = colour
    if args.background is None and vocabulary.background is not None and threshold:
        name = vocabulary.background_name
        tell(f"note: uncertain pixels become {name!r}; {option('background', 'none')} leaves them unclassified")
    return vocabulary.with_colours(colours), threshold or 0.0


def _check(args: argparse.Namespace) -> None:
    """Refuses what cannot be, before torch is imported."""
    check_model(args)
    check_long_side(args)
    check_max_pixels(args)
    for name, value in (("threshold", args.threshold), ("opacity", args.opacity)):
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"{option(name, value)}: expected a number from 0 to 1")
    if args.max_memory is not None and not 0 < args.max_memory < math.inf:
        raise UserError(f"{option('max_memory', args.max_memory)}: expected a number of megabytes, such as 400")


def _model_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Which weights are used; downloads those that are not here, except for a dry run."""
    from segearth.provenance import model_settings

    model = args.model or MODEL
    row = weights.MODELS.get(model)
    if args.dry_run and row is not None and any(weights.find(file) is None for file in row.downloads):
        say(f"{model} would be downloaded first ({row.download_bytes / 1e6:.0f} MB)")
        return {"model": model, "precision": args.precision}
    return model_settings(model, args.architecture, args.upsampler or "default", args.precision)


def _sizes(tasks: list[Task], max_pixels: int | None) -> tuple[dict[Path, tuple[int, int]], dict[Path, str]]:
    """The (height, width) of the images that are to be mapped, by their headers; and why others cannot be read."""
    from segearth.images import check_image

    sizes, unreadable = {}, {}
    for task in tasks:
        if not task.done:
            try:
                sizes[task.item.path] = check_image(task.item.path, max_pixels)
            except UserError as error:
                unreadable[task.item.path] = str(error)
    return sizes, unreadable


def _windows(size: tuple[int, int], long_side: int) -> int:
    """How many windows an image has."""
    from segearth.resizing import resized_size
    from segearth.windows import CROP, STRIDE, sliding_windows

    height, width = resized_size(*size, long_side) if long_side else size
    return len(sliding_windows(height, width, CROP, STRIDE))


def _first_line(args: argparse.Namespace, tasks: list[Task], vocabulary: Vocabulary, windows: dict[Path, int]) -> str:
    """What is going to be done, in a line."""
    done = sum(task.done for task in tasks)
    already = f" ({done} done already)" if done else ""
    scale = f"long side {args.long_side}" if args.long_side else "own size"
    return (
        f"{_count(len(tasks), 'picture')}{already}, {scale}, {_count(sum(windows.values()), 'window')}, "
        f"{_count(len(vocabulary), 'class')}, model {args.model or MODEL}"
    )


def _dry_run(
    tasks: list[Task],
    sizes: dict[Path, tuple[int, int]],
    windows: dict[Path, int],
    unreadable: dict[Path, str],
) -> int:
    """Prints a line for every image; nothing is written."""
    for task in tasks:
        path = task.item.path
        if task.done:
            line = f"{path}: done already, {task.summary.parent / Path(task.item.name).name}.*"
        elif path in unreadable:
            line = f"{path}: fails: {unreadable[path]}"
        else:
            height, width = sizes[path]
            files = " ".join(str(file) for file in task.files)
            line = f"{path}: {width} × {height} pixels, {_count(windows[path], 'window')} -> {files}"
        print(printable(line))
    return OK if not unreadable else SOME_FAILED if len(tasks) > 1 else MISTAKE


@contextmanager
def _progress(
    args: argparse.Namespace, tell: Callable[[str], None]
) -> Iterator[tuple[Callable[[Step], None], Callable[[str], None]]]:
    """What is told how far the work is (a bar over all windows, lines of JSON on stderr, or nothing), and remarks."""
    from segearth.batch.maps import TimeLeft
    from segearth.progress import wants_bar

    if args.progress == "json":
        left = TimeLeft()

        def line(step: Step) -> None:
            seconds = left(*step.windows)
            event = {
                "image": str(step.task.item.path),
                "images_done": step.images[0],
                "images": step.images[1],
                "windows_done": step.windows[0],
                "windows": step.windows[1],
                "seconds_left": None if seconds is None else round(seconds, 1),
            }
            print(json.dumps(event, allow_nan=False), file=sys.stderr, flush=True)  # ASCII: names may be anything

        yield line, tell
        return
    if args.progress == "none" or args.quiet or not wants_bar(True if args.progress == "bar" else None):
        yield (lambda _: None), tell
        return
    from tqdm.auto import tqdm

    with tqdm(unit="window", dynamic_ncols=True) as bar:

        def move(step: Step) -> None:
            bar.total = step.windows[1]
            bar.set_description(
                printable(f"{step.images[0]}/{step.images[1]} {Path(step.task.item.name).name}")[:40], refresh=False
            )
            bar.update(step.windows[0] - bar.n)

        yield move, lambda text: bar.write(text, file=sys.stderr)


def _count(number: int, noun: str) -> str:
    """A number with its noun."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"
