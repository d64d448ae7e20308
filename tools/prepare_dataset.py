#!/usr/bin/env python3
"""Converts the download of a data set to the folder that its config reads.

    python tools/prepare_dataset.py loveda ~/Downloads/Val.zip
    python tools/prepare_dataset.py potsdam 2_Ortho_RGB.zip 5_Labels_all_noBoundary.zip -o data

The names are those of the configs without cfg_. Sources are the archives or the extracted folder, at any level. Exit
codes: 0, also with a warning that images are missing; 1 for a download that cannot be used; 2 for a wrong command line.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.cli import run_script


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_script("prepare", argv)


if __name__ == "__main__":
    sys.exit(main())
