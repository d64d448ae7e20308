"""`segearth check`: what is wrong or unusual in a prepared data set, and a contact sheet to look at."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from segearth.cli.options import add_quiet
from segearth.datasets import DATASETS, Description, describe
from segearth.errors import UserError, command, option
from segearth.exits import OK, SOME_FAILED, say
from segearth.paths import user_path

if TYPE_CHECKING:
    from segearth.datasets.check import Report

HELP = "Check a prepared data set."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A set, the data folder, and where the contact sheet goes."""
    parser.epilog = (
        f"Names: {', '.join(DATASETS)}. Exit codes: 0, also with warnings; 1 for errors in the data; 2 for a wrong "
        "command line."
    )
    parser.add_argument("name", help="the config's name without cfg_, such as loveda")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="the data folder (data)")
    parser.add_argument(
        "--sheet", type=Path, help="where the contact sheet goes (contact_sheet.jpg in the set's folder)"
    )
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Checks, and prints what was found."""
    spec = describe(args.name)
    root = user_path(args.data_root, "folder of data")
    if not root.is_dir():
        raise UserError(f"no folder at {option('data_root', root)}: give the folder that {command('prepare')} wrote to")
    if args.sheet and args.sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise UserError(f"{option('sheet', args.sheet)}: expected a name that ends in .jpg or .png")

    from segearth.datasets.check import Report, check, table

    report = Report()
    try:
        report = check(spec, root, quiet=args.quiet)
        print(f"{spec.title}, {spec.split}: {report.images} images")
        print(table(spec, report))
        if not report.errors:
            save_sheet(spec, root, args.sheet, report)
    except UserError as error:
        report.errors.append(str(error))
    for note in spec.notes:
        print(f"note: {note}")
    for warning in report.warnings:
        say(f"warning: {warning}")
    for text in report.errors:
        say(f"error: {text}")
    return SOME_FAILED if report.errors else OK


def save_sheet(spec: Description, root: Path, path: Path | None, report: Report) -> None:
    """Saves the contact sheet; where none was asked for, a folder that cannot be written is a warning only."""
    from segearth.datasets.check import SHEET, contact_sheet

    sheet = path or root / spec.folder / SHEET
    try:
        contact_sheet(spec, root, sheet)
    except UserError as error:
        if path:
            raise
        report.warnings.append(f"no contact sheet: {error}; {option('sheet', 'FILE')} saves it elsewhere")
    else:
        print(f"contact sheet: {sheet}")
