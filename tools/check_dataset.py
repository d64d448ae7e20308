#!/usr/bin/env python3
"""Checks a prepared data set: python tools/check_dataset.py loveda --data-root data.

Prints what is wrong or unusual and how often each class occurs, and saves a contact sheet to look at. Exit codes: 0,
also with warnings; 1 for errors in the data; 2 for a wrong command line.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.cli import run_script


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_script("check", argv)


if __name__ == "__main__":
    sys.exit(main())
