#!/usr/bin/env python3
"""Converts the download of a data set to the folder that its config reads.

    python tools/prepare_dataset.py loveda ~/Downloads/Val.zip
    python tools/prepare_dataset.py potsdam 2_Ortho_RGB.zip 5_Labels_all_noBoundary.zip -o data

The names are those of the configs without cfg_. Sources are the archives or the extracted folder, at any level. Exit
codes: 0, also with a warning that images are missing; 1 for a download that cannot be used; 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.datasets import DATASETS, describe
from segearth.datasets.prepare import prepare, shortfall
from segearth.errors import UserError
from segearth.outputs import run


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; wrong usage ends the program with code 2."""
    parser = argparse.ArgumentParser(
        description="Convert the download of a data set to the folder that its config reads.",
        epilog=f"Names: {', '.join(DATASETS)}. Where to get them: dataset_prepare.md",
    )
    parser.add_argument("name", help="the config's name without cfg_, such as loveda")
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="archives, or the extracted folder")
    parser.add_argument("-o", "--out", type=Path, default=Path("data"), help="the data folder (data)")
    parser.add_argument("--strict", action="store_true", help="missing images and other warnings are errors")
    parser.add_argument("-j", "--jobs", type=int, default=min(os.cpu_count() or 1, 8), help="processes")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = parse(argv)
    unusable: list[str] = []

    def program() -> None:
        of = describe(args.name)
        for source in args.sources:
            if not source.expanduser().exists():
                raise UserError(f"no file or folder at {source}: give the download's archives, or the extracted folder")
        if args.jobs < 1:
            raise UserError(f"--jobs {args.jobs}: expected at least 1 process")
        try:
            done = prepare(of, args.sources, args.out.expanduser(), strict=args.strict, jobs=args.jobs)
        except UserError as error:
            unusable.append(str(error))
            return
        manifest = done.manifest
        for warning in manifest["warnings"]:
            print(f"warning: {warning}", file=sys.stderr)
        if manifest["unknown_pixels"]:
            print(f"warning: {manifest['unknown_pixels']} pixels of unknown colours are ignored", file=sys.stderr)
        if not manifest["complete"]:
            print(f"warning: {shortfall(of, manifest)}; figures are not comparable. {of.get}", file=sys.stderr)
        print(f"{manifest['images']} images with labels in {done.folder}, listed in manifest.json")
        print(f"check them: python tools/check_dataset.py {of.name} --data-root {args.out}")

    code = run(program)
    for error in unusable:
        print(f"error: {error}", file=sys.stderr)
    return code or int(bool(unusable))


if __name__ == "__main__":
    sys.exit(main())
