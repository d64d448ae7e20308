"""`segearth vectorize LABELS.tif...`: polygons of label maps, with areas, for GIS programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from segearth.cli.options import add_quiet
from segearth.cli.vector_options import add_vector_options, polygons_told
from segearth.errors import UserError, option
from segearth.exits import OK, SOME_FAILED, go_on_unless_ending, say
from segearth.paths import user_path

HELP = "Make polygons of label maps, with classes and areas."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which maps, and what the polygons are like."""
    parser.add_argument(
        "labels", nargs="+", type=Path, metavar="LABELS", help="label maps, such as NAME.labels.tif of predict"
    )
    parser.add_argument("-o", "--out", type=Path, help="folder for the results (that of each map)")
    parser.add_argument("--vector", default="gpkg", metavar="FORMAT", help="gpkg, fgb or geojson (%(default)s)")
    add_vector_options(parser)
    parser.add_argument(
        "--simplify",
        type=float,
        default=0.0,
        metavar="METRES",
        help="simpler borders, which neighbours still share; in pixels without coordinate system (0)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CLASS,CLASS",
        help="only these classes, by any of their names or by value; may be repeated",
    )
    parser.add_argument("--dissolve", action="store_true", help="one multipolygon for each class")
    parser.add_argument("--force", action="store_true", help="write more than two million polygons, too")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="write files anew that are there")
    again.add_argument("--resume", action="store_true", help="write what is missing (the default)")
    add_quiet(parser)
    parser.set_defaults(
        interrupted="files that are complete stay; the same command writes the others",
        less_memory="use a larger --min-area",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the polygons of each map, and says what there is."""
    paths = [user_path(path, "label map") for path in args.labels]
    if missing := next((path for path in paths if not path.exists()), None):
        raise UserError(f"no file at {missing}: expected a NAME.labels.tif of segearth predict; correct the path")

    from segearth.vectors.options import VectorOptions
    from segearth.vectors.vectorize import vectorize

    options = VectorOptions(
        args.vector, args.min_area or 0.0, args.simplify, tuple(args.only), args.dissolve, args.force
    )
    out = None if args.out is None else user_path(args.out, "output folder")
    _refuse_one_name(paths, out)
    failed = []
    for path in paths:
        try:
            done = vectorize(path, out, options, overwrite=args.overwrite, progress=False if args.quiet else None)
        except UserError as error:
            go_on_unless_ending(error)
            if len(paths) == 1:
                raise
            failed.append(str(error))
        else:
            print(polygons_told(done))
    for why in failed:
        say(f"failed: {why}")
    return SOME_FAILED if failed else OK


def _refuse_one_name(paths: Sequence[Path], out: Path | None) -> None:
    """Refuses maps whose polygons would be in one file.

    Raises:
        UserError: there are two.
    """
    from segearth.vectors.label_map import base_name

    seen: dict[Path, Path] = {}
    for path in paths:
        place = (path.parent if out is None else out) / base_name(path)
        if (other := seen.setdefault(place, path)) is not path:
            raise UserError(
                f"{other} and {path} would both become {place.name}.polygons: expected maps of different names; give "
                f"them one by one, each with a folder of its own ({option('out')})"
            )
