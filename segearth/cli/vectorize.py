"""`segearth vectorize LABELS.tif...`: polygons of label maps, with areas, for GIS programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from segearth.cli.finished_maps import map_paths, process_each, refuse_equal_outputs
from segearth.cli.options import add_quiet
from segearth.cli.vector_options import add_vector_options, polygon_line
from segearth.errors import UserError
from segearth.exits import OK, SOME_FAILED, say
from segearth.paths import user_path

HELP = "Make polygons of label maps, with classes and areas."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which maps, and what the polygons are like."""
    parser.add_argument(
        "labels", nargs="*", type=Path, metavar="LABELS", help="label maps, such as NAME.labels.tif of predict"
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
        nargs="+",
        action="extend",
        default=[],
        metavar="CLASS",
        help="only these classes, by any of their names or by value, also with commas between",
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
    _take_labels(args)
    paths = map_paths(args.labels, "label map", "NAME.labels.tif of segearth predict")

    from segearth.vectors.label_map import base_name
    from segearth.vectors.options import VectorOptions
    from segearth.vectors.vectorize import vectorize

    options = VectorOptions(
        args.vector, args.min_area or 0.0, args.simplify, tuple(args.only), args.dissolve, args.force
    )
    out = None if args.out is None else user_path(args.out, "output folder")
    refuse_equal_outputs(
        [(path.parent if out is None else out) / f"{base_name(path)}.polygons" for path in paths], paths
    )

    def make(path: Path) -> None:
        progress = False if args.quiet else None
        print(polygon_line(vectorize(path, out, options, overwrite=args.overwrite, progress=progress)))

    failed = process_each(paths, make)
    for reason in failed:
        say(f"failed: {reason}")
    return SOME_FAILED if failed else OK


def _take_labels(args: argparse.Namespace) -> None:
    """Takes the label maps from behind the classes of `--only`, where argparse took them for more classes.

    Raises:
        UserError: no label map at all.
    """
    if not args.labels:
        while args.only and Path(args.only[-1]).is_file():
            args.labels.insert(0, Path(args.only.pop()))
    if not args.labels:
        raise UserError("no LABELS: expected label maps, such as NAME.labels.tif of segearth predict; give one")
