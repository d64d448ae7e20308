"""`segearth relabel SCORES.tif -o DIR`: another map from the scores of a finished one, without the model."""

from __future__ import annotations

import argparse
from pathlib import Path

from segearth.cli.finished_maps import map_paths, process_each, refuse_equal_outputs
from segearth.cli.key_value_options import add_colour, parse_colours, parse_pairs
from segearth.cli.options import add_quiet
from segearth.errors import UserError, option, printable
from segearth.exits import quiet, say
from segearth.paths import user_path
from segearth.progress import window_progress

HELP = "Make another map from the scores of a finished one: thresholds, merged classes, colours."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which maps, and what is to be other in them."""
    parser.epilog = (
        "Classes are called by any of their names. Without changes the map stays as it is. Exit code 1: some of "
        "several maps could not be made."
    )
    parser.add_argument(
        "scores", nargs="+", metavar="SCORES", help="NAME.scores.tif of segearth predict --scores, with its companions"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results, another one")
    parser.add_argument("--threshold", type=float, metavar="T", help="of all classes without one of their own")
    parser.add_argument(
        "--class-threshold",
        action="append",
        default=[],
        metavar="NAME=T",
        help="of one class, 0 to 1; may be repeated, as all that follow",
    )
    parser.add_argument(
        "--merge", action="append", default=[], metavar="NEW=A,B", help="classes that become one: the best score counts"
    )
    parser.add_argument("--drop", action="append", default=[], metavar="NAME", help="a class that no pixel gets")
    parser.add_argument("--rename", action="append", default=[], metavar="OLD=NEW", help="another name for a class")
    add_colour(parser)
    parser.add_argument("--background", metavar="NAME", help="the class that uncertain pixels get; none: unclassified")
    parser.add_argument("--confidence", action="store_true", help="write NAME.confidence.tif, too")
    parser.add_argument("--image", metavar="IMAGE", help="the scene of the map, for its overlay (the map alone)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="make maps anew that are there")
    again.add_argument("--resume", action="store_true", help="make what is missing (the default)")
    add_quiet(parser)
    parser.set_defaults(interrupted="maps that are complete stay; the same command makes the others")


def run(args: argparse.Namespace) -> int:
    """Makes the maps, and says what became of them."""
    from segearth.batch.maps import write_table
    from segearth.cli.predict_outcome import Outcome, print_table, scene_cells
    from segearth.scenes.reclassify import LabelChanges
    from segearth.scenes.relabel import SCORES, relabel_scene

    thresholds = parse_pairs("class_threshold", args.class_threshold, "NAME=T, such as water=0.4")
    merged = parse_pairs("merge", args.merge, "NEW=A,B, such as vegetation=tree,grass")
    changes = LabelChanges(
        args.threshold,
        {name: _number(name, text) for name, text in thresholds.items()},
        {new: [name.strip() for name in names.split(",")] for new, names in merged.items()},
        args.drop,
        parse_pairs("rename", args.rename, "OLD=NEW, such as tree=forest"),
        parse_colours(args.colour),
        False if args.background == "none" else args.background,
    )
    paths = map_paths(args.scores, "raster of scores", "NAME.scores.tif of segearth predict --scores")
    out = user_path(args.out, "output folder")
    refuse_equal_outputs([out / path.name.removesuffix(SCORES) for path in paths], paths)
    if args.image is not None and len(paths) > 1:
        raise UserError(f"{option('image', args.image)} is of one map: expected one SCORES; give them one by one")
    tell, outcome = quiet if args.quiet else say, Outcome()

    def make(path: Path) -> None:
        begun = False
        with window_progress(False if args.quiet else None, "blocks") as show:

            def step(done: int, total: int) -> None:
                nonlocal begun
                begun = True
                if show is not None:
                    show(done, total)

            result = relabel_scene(
                path,
                out,
                changes,
                confidence=args.confidence,
                overlay=True,
                image=args.image,
                overwrite=args.overwrite,
                progress=step,
            )
        for remark in result.summary["remarks"]:
            tell(f"note: {remark}")
        name = result.summary["image"]
        if begun:
            outcome.made.append(out / f"{name}.summary.json")
        else:
            outcome.there += 1
        outcome.rows.append((name, "written" if begun else "was there", *scene_cells(result.summary)))

    outcome.failed += process_each(paths, make)
    if out.is_dir():
        write_table(out)
    print_table(outcome, len(paths) == 1)
    for reason in outcome.failed:
        say(f"failed: {reason}")
    print(outcome.line(printable(out)))
    return outcome.code


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{option('class_threshold', f'{name}={text}')}: expected a number from 0 to 1") from None
