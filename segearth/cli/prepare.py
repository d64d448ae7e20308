"""`segearth prepare`: from the download of a data set to the folder that its config reads."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from segearth.cli.options import add_quiet
from segearth.datasets import DATASETS, describe
from segearth.errors import UserError, command, option
from segearth.exits import OK, SOME_FAILED, say
from segearth.paths import user_path

HELP = "Convert the download of a data set to the folder that its config reads."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A set, its download, and the data folder."""
    parser.epilog = (
        f"Names: {', '.join(DATASETS)}. Where to get them: dataset_prepare.md. Sources are the archives or the "
        "extracted folder, at any level. Exit codes: 0, also with a warning that images are missing; 1 for a download "
        "that cannot be used; 2 for a wrong command line."
    )
    parser.add_argument("name", help="the config's name without cfg_, such as loveda")
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="archives, or the extracted folder")
    parser.add_argument("-o", "--out", "--data-root", type=Path, default=Path("data"), help="the data folder (data)")
    parser.add_argument("--strict", action="store_true", help="missing images and other warnings are errors")
    parser.add_argument("-j", "--jobs", type=int, default=min(os.cpu_count() or 1, 8), help="processes")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Converts and says what is there now."""
    spec = describe(args.name)
    for source in args.sources:
        if not user_path(source, "download").exists():
            raise UserError(f"no file or folder at {source}: give the download's archives, or the extracted folder")
    if args.jobs < 1:
        raise UserError(f"{option('jobs', args.jobs)}: expected at least 1 process")

    from segearth.datasets.manifest import shortfall
    from segearth.datasets.prepare import prepare

    try:
        out = user_path(args.out, "output folder")
        done = prepare(spec, args.sources, out, strict=args.strict, jobs=args.jobs, quiet=args.quiet)
    except UserError as error:
        say(f"error: {error}")
        return SOME_FAILED
    manifest = done.manifest
    for warning in manifest["warnings"]:
        say(f"warning: {warning}")
    if manifest["unknown_pixels"]:
        say(f"warning: {manifest['unknown_pixels']} pixels of unknown colours are ignored")
    if not manifest["complete"]:
        say(f"warning: {shortfall(spec, manifest)}; figures are not comparable. {spec.get}")
    print(f"{manifest['images']} images with labels in {done.folder}, listed in manifest.json")
    print(f"check them: {command('check')} {spec.name} --data-root {args.out}")
    return OK
