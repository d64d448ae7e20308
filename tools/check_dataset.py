#!/usr/bin/env python3
"""Checks a prepared data set: python tools/check_dataset.py loveda --data-root data.

Prints what is wrong or unusual and how often each class occurs, and saves a contact sheet to look at. Exit codes: 0,
also with warnings; 1 for errors in the data; 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.datasets import DATASETS, Description, describe
from segearth.datasets.check import SHEET, Report, check, contact_sheet, table
from segearth.errors import UserError
from segearth.outputs import run


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; wrong usage ends the program with code 2."""
    parser = argparse.ArgumentParser(
        description="Check a prepared data set.",
        epilog=f"Names: {', '.join(DATASETS)}",
    )
    parser.add_argument("name", help="the config's name without cfg_, such as loveda")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="the data folder (data)")
    parser.add_argument("--sheet", type=Path, help=f"where the contact sheet goes ({SHEET} in the set's folder)")
    return parser.parse_args(argv)


def save_sheet(of: Description, root: Path, chosen: Path | None, report: Report) -> None:
    """Saves the contact sheet; data that others own and that are read-only are no worse for it."""
    sheet = chosen or root / of.folder / SHEET
    try:
        contact_sheet(of, root, sheet)
    except UserError as error:
        if chosen:
            raise
        report.warnings.append(f"no contact sheet: {error}; --sheet FILE saves it elsewhere")
    else:
        print(f"contact sheet: {sheet}")


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = parse(argv)
    report = Report()

    def program() -> None:
        of = describe(args.name)
        root = args.data_root.expanduser()
        if not root.is_dir():
            raise UserError(f"no folder at --data-root {root}: give the folder that prepare_dataset.py wrote to")
        if args.sheet and args.sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise UserError(f"--sheet {args.sheet}: expected a name that ends in .jpg or .png")
        try:
            found = check(of, root)
            report.errors, report.warnings = found.errors, found.warnings
            print(f"{of.title}, {of.split}: {found.images} images")
            print(table(of, found))
            if not found.errors:
                save_sheet(of, root, args.sheet, report)
        except UserError as error:
            report.errors.append(str(error))
        for trap in of.traps:
            print(f"note: {trap}")

    code = run(program)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for error in report.errors:
        print(f"error: {error}", file=sys.stderr)
    return code or int(bool(report.errors))


if __name__ == "__main__":
    sys.exit(main())
