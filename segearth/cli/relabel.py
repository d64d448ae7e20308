"""`segearth relabel SCORES.tif -o DIR`: another map from the scores of a finished one, without the model."""

from __future__ import annotations

import argparse
from pathlib import Path

from segearth.cli.options import add_quiet
from segearth.errors import UserError, option, printable
from segearth.exits import OK, SOME_FAILED, go_on_unless_ending, quiet, say
from segearth.paths import user_path

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
    parser.add_argument("--colour", action="append", default=[], metavar="NAME=#RRGGBB", help="colour of a class")
    parser.add_argument("--background", metavar="NAME", help="the class that uncertain pixels get; none: unclassified")
    parser.add_argument("--confidence", action="store_true", help="write NAME.confidence.tif, too")
    parser.add_argument("--overwrite", action="store_true", help="replace maps of other settings")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Makes the maps."""
    from segearth.scenes.reclassify import LabelChanges
    from segearth.scenes.relabel import relabel_scene

    thresholds = _pairs("class_threshold", args.class_threshold, "NAME=T, such as water=0.4")
    merged = _pairs("merge", args.merge, "NEW=A,B, such as vegetation=tree,grass")
    changes = LabelChanges(
        args.threshold,
        {name: _number(name, text) for name, text in thresholds.items()},
        {new: [name.strip() for name in names.split(",")] for new, names in merged.items()},
        args.drop,
        _pairs("rename", args.rename, "OLD=NEW, such as tree=forest"),
        _pairs("colour", args.colour, "NAME=#RRGGBB, such as tree=#19732A"),
        False if args.background == "none" else args.background,
    )
    paths = [user_path(text, "raster of scores") for text in args.scores]
    _check_paths(paths)
    tell = quiet if args.quiet else say
    failed = 0
    for path in paths:
        try:
            result = relabel_scene(
                path,
                user_path(args.out, "output folder"),
                changes,
                confidence=args.confidence,
                overwrite=args.overwrite,
            )
        except UserError as error:
            go_on_unless_ending(error)
            if len(paths) == 1:
                raise
            failed += 1
            say(f"failed: {error}")
            continue
        tell(printable(f"{result.labels}: " + ", ".join(_shares(result.summary["classes"]))))
    return SOME_FAILED if failed else OK


def _check_paths(paths: list[Path]) -> None:
    """Refuses what is not there, and maps of one name, before anything is made."""
    seen: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            raise UserError(
                f"no file at {path}: expected a NAME.scores.tif of segearth predict --scores; correct the path"
            )
        if path.name in seen:
            raise UserError(
                f"{seen[path.name]} and {path} would both become one map: expected maps of different names; give them "
                f"one by one, each with a folder of its own ({option('out')})"
            )
        seen[path.name] = path


def _shares(rows: list[dict[str, object]]) -> list[str]:
    return [f"{row['name']} {row['percent']} %" for row in rows]


def _pairs(name: str, texts: list[str], expected: str) -> dict[str, str]:
    """What is given as KEY=VALUE, once or several times."""
    found = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise UserError(f"{option(name, text)}: expected {expected}")
        if key in found:
            raise UserError(f"{option(name, text)}: {key!r} is given twice; leave one out")
        found[key] = value
    return found


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{option('class_threshold', f'{name}={text}')}: expected a number from 0 to 1") from None
