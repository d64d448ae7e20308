"""`segearth predict IMAGE... -c CLASSES -o DIR`: maps of many images, with class names in words.

Of every picture it writes NAME.labels.png (class indices with a palette), NAME.overlay.png (the map over the image,
with a legend) and NAME.summary.json; of every scene NAME.labels.tif in place of the first one; and of all
summary.csv. Started again, it makes what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth import weights
from segearth.cli.formatting import count
from segearth.cli.key_value_options import add_colour, parse_colours
from segearth.cli.method_options import add_method_options, method_options
from segearth.cli.options import (
    DEFAULT_MODEL,
    add_max_memory,
    add_max_pixels,
    add_model_options,
    add_quiet,
    add_way,
    check_long_side,
    check_max_memory,
    check_max_pixels,
    check_model,
)
from segearth.cli.scene_options import add_scene_options, check_scene_options
from segearth.clips import resolve
from segearth.errors import UserError, option, printable
from segearth.exits import MISTAKE, OK, SOME_FAILED, quiet, say
from segearth.paths import user_path
from segearth.streams import input_lines
from segearth.vocabulary import Vocabulary, describe_settings

if TYPE_CHECKING:
    from segearth.cli.predict_pictures import Pictures
    from segearth.cli.predict_scenes import Scenes
    from segearth.jobs.shards import Shard

HELP = "Map images with class names in words."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds images, classes, and options of the maps."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help='files, folders, patterns such as "tiles/*.tif", addresses such as https:// and s3://; - reads a list',
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "-c", "--classes", help="class names: semicolons between classes, commas between synonyms; or a class file"
    )
    which.add_argument("--preset", metavar="NAME", help="prompts and threshold of a data set, such as loveda")
    parser.add_argument("-o", "--out", type=Path, default=Path("out"), help="folder for the results (%(default)s)")
    add_model_options(parser)
    add_method_options(parser)
    add_way(parser)
    parser.add_argument(
        "--long-side",
        type=int,
        metavar="N",
        help="resize to so many pixels; 0: the image's own size (pictures 448, scenes 0)",
    )
    parser.add_argument(
        "--threshold", type=float, metavar="T", help="pixels whose best score is below become the background (0)"
    )
    parser.add_argument(
        "--background",
        metavar="NAME",
        help="that class (one called background, clutter, other, ...; else unclassified)",
    )
    add_colour(parser)
    parser.add_argument("--opacity", type=float, default=0.5, help="of the map over the image, 0 to 1 (%(default)s)")
    parser.add_argument(
        "--outline", action=argparse.BooleanOptionalAction, default=True, help="lines along the borders of classes"
    )
    parser.add_argument("--scores", action="store_true", help="also NAME.scores.npz or .tif: the score of every class")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="make maps anew that are there")
    again.add_argument("--resume", action="store_true", help="make what is missing (the default)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    add_max_pixels(parser)
    add_max_memory(parser, "pictures 400, on a GPU up to 2000; scenes 1200")
    parser.add_argument(
        "--progress",
        choices=("auto", "bar", "json", "none"),
        default="auto",
        help="auto: a bar on a terminal; json: lines on stderr, among the remarks (%(default)s)",
    )
    parser.add_argument("--no-progress", dest="progress", action="store_const", const="none", help="as --progress none")
    add_quiet(parser)
    add_scene_options(parser)
    parser.set_defaults(interrupted="what is finished stays; the same command goes on")


def run(args: argparse.Namespace) -> int:
    """Checks the arguments, makes the maps, and prints the results."""
    tell: Callable[[str], None] = quiet if args.quiet else say
    vocabulary, threshold = _vocabulary(args, tell)
    _check(args)
    method = method_options(args)

    from segearth.batch.inputs import find_images
    from segearth.cli.predict_kinds import pictures_and_scenes
    from segearth.jobs.shards import WHOLE, parse_shard
    from segearth.outputs import writable_folder

    args.out = user_path(args.out, "output folder")
    shard = WHOLE if args.shard is None else parse_shard(args.shard)
    items = find_images(args.images, args.out, input_lines() if "-" in args.images else ())
    pictures, scenes = pictures_and_scenes(args, items, tell)
    if not args.dry_run:
        writable_folder(args.out)
    device = _device(args.device, shard)
    if args.precision == "auto":
        from segearth.compute import Compute

        args.precision = Compute.choose(device, "auto").precision
        tell(f"precision: {args.precision}")
    settings = {
        **_model_settings(args),
        **method,
        "classes": describe_settings(vocabulary),
        "background": vocabulary.background_name,
        "threshold": threshold,
    }
    ways: list[Pictures | Scenes] = []
    if pictures:
        from segearth.cli.predict_pictures import Pictures

        ways.append(Pictures(args, pictures, settings, len(vocabulary)))
    if scenes:
        from segearth.cli.predict_scenes import Scenes

        ways.append(Scenes(args, scenes, shard))
    for way in ways:
        tell(f"{way.first_line}, {count(len(vocabulary), 'class')}, model {args.model or DEFAULT_MODEL}")
    if args.dry_run:
        return _dry_run([line for way in ways for line in way.plans()])
    return _make(args, ways, vocabulary, threshold, device, method, tell)


def _make(
    args: argparse.Namespace,
    ways: Sequence[Pictures | Scenes],
    vocabulary: Vocabulary,
    threshold: float,
    device: str,
    method: dict[str, Any],
    tell: Callable[[str], None],
) -> int:
    """Makes the missing maps, and prints the results."""
    from segearth.batch.maps import write_table
    from segearth.cli.predict_outcome import Outcome, print_table

    number = sum(way.number for way in ways)
    for way in ways:
        way.check(alone=number == 1)
    out = printable(args.out)
    if all(way.done for way in ways):
        write_table(args.out)
        print(Outcome(there=number).line(out))
        return OK

    from segearth.loading import load_model
    from segearth.models.onednn import use_onednn

    use_onednn()
    predictor = load_model(
        args.model or DEFAULT_MODEL,
        vocabulary,
        device,
        args.precision,
        threshold=threshold,
        architecture=args.architecture,
        upsampler=args.upsampler or "default",
        **method,
    )
    outcome = Outcome.total([way.make(predictor, tell) for way in ways])
    if number == 1 and outcome.failed:
        raise UserError(outcome.failed[0])
    write_table(args.out)
    print_table(outcome, number == 1)
    for why in outcome.failed:
        say(f"failed: {why}")
    print(outcome.line(out))
    return outcome.code


def _device(device: str, shard: Shard) -> str:
    """The device; several shards on one machine use different GPUs."""
    if shard.local == 0 or device not in ("auto", "cuda"):
        return device
    import torch

    return f"cuda:{shard.local % torch.cuda.device_count()}" if torch.cuda.is_available() else device


def _vocabulary(args: argparse.Namespace, tell: Callable[[str], None]) -> tuple[Vocabulary, float]:
    """The classes and the threshold of the command line."""
    background = False if args.background == "none" else args.background
    threshold = args.threshold
    if args.preset is None:
        vocabulary = Vocabulary.of(args.classes, background)
    else:
        from segearth.config_files import configs_folder
        from segearth.datasets import describe

        dataset = describe(args.preset)
        background_index = dataset.bg_idx if dataset.prob_thd else None
        vocabulary = Vocabulary.from_file(configs_folder() / dataset.prompts, background_index)
        if background is not None:
            vocabulary = vocabulary.with_background(background)
        if threshold is None and dataset.prob_thd:
            threshold = dataset.prob_thd
            tell(
                f"note: the threshold {threshold} of {dataset.title} was tuned on its labels; other images may want "
                "another"
            )
    if args.background is None and vocabulary.background is not None and threshold:
        name = vocabulary.background_name
        tell(f"note: uncertain pixels become {name!r}; {option('background', 'none')} leaves them unclassified")
    return vocabulary.with_colours(parse_colours(args.colour)), threshold or 0.0


def _check(args: argparse.Namespace) -> None:
    """Checks the arguments before torch is imported."""
    check_model(args)
    if args.long_side is not None:
        check_long_side(args)
    check_max_pixels(args)
    for name, value in (("threshold", args.threshold), ("opacity", args.opacity)):
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"{option(name, value)}: expected a number from 0 to 1; change it")
    check_max_memory(args)
    check_scene_options(args)


def _model_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Settings of the model; downloads missing weights, except for a dry run."""
    from segearth.provenance import model_settings

    spec = resolve(args.model or DEFAULT_MODEL, args.architecture)
    if args.dry_run and any(weights.find(file) is None for file in spec.downloads):
        say(f"{spec.name} would be downloaded first ({spec.download_bytes / 1e6:.0f} MB)")
        return {"model": spec.name, "precision": args.precision}
    return model_settings(spec, args.upsampler or "default", args.precision)


def _dry_run(plans: Sequence[tuple[str, bool]]) -> int:
    """Prints a line for every image, without writing files."""
    for line, _ in plans:
        print(printable(line))
    if not any(fails for _, fails in plans):
        return OK
    return SOME_FAILED if len(plans) > 1 else MISTAKE
