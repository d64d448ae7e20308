"""`segearth predict`."""

from __future__ import annotations

import argparse

from segearth.errors import UserError

HELP = "Map images with class names in words."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="picture files")


def run(args: argparse.Namespace) -> int:  # noqa: ARG001
    """Maps them."""
    raise UserError("segearth predict is not here yet: use segearth demo")
