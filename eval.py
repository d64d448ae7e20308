#!/usr/bin/env python3
"""Evaluates a config on its data set: python eval.py --config configs/cfg_loveda.py --data-root ~/data.

Prints IoU and accuracy of every class, and adds a row to results.json and results.xlsx in --work-dir. A run that
was killed goes on when it is started again. On several GPUs or machines: ./dist_test.sh configs/cfg_loveda.py
"""

from __future__ import annotations

import sys

from segearth.cli import run_script


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_script("eval", argv)


if __name__ == "__main__":
    sys.exit(main())
