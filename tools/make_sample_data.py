#!/usr/bin/env python3
"""Draws small samples of the data sets, in the layout of their downloads: python tools/make_sample_data.py -o DIR.

    python tools/make_sample_data.py loveda potsdam -o samples
    python tools/prepare_dataset.py loveda samples/loveda -o data

They are drawings, to try the way from a download to a figure without a download. They contain nothing of the real sets
and never pass for them: every folder says so in DRAWN_NOT_REAL.txt, and the manifests of what is prepared from them say
that they are not complete. Exit code 2 for a wrong command line or a folder that cannot be written.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.cli import run_script


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_script("sample-data", argv)


if __name__ == "__main__":
    sys.exit(main())
