#!/usr/bin/env python3
"""Evaluates all data sets and puts the numbers beside the paper's: python eval_all.py --data-root ~/data.

Writes results.xlsx, .csv, .json, .md and report.html to --work-dir. Killed and started again, it goes on where it
stopped; a set that fails does not stop the others. Exit code 0; 1 if a set failed; 2 for a wrong command line.
With several processes: ./dist_test.sh all 4
"""

from __future__ import annotations

import sys

from segearth.cli import run_script


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_script("eval-all", argv)


if __name__ == "__main__":
    sys.exit(main())
