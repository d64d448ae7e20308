#!/usr/bin/env python3
"""Draws small samples of the data sets, in the layout of their downloads: python tools/make_sample_data.py -o DIR.

    python tools/make_sample_data.py loveda potsdam -o samples
    python tools/prepare_dataset.py loveda samples/loveda -o data

They are drawings, to try the way from a download to a figure without a download. They contain nothing of the real sets
and never pass for them: every folder says so in DRAWN_NOT_REAL.txt, and the manifests of what is prepared from them say
that they are not complete. Exit code 2 for a wrong command line or a folder that cannot be written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.datasets import DATASETS, describe
from segearth.datasets.samples import draw_sample
from segearth.outputs import run


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; wrong usage ends the program with code 2."""
    parser = argparse.ArgumentParser(
        description="Draw small samples of the data sets, in the layout of their downloads. Not the real data.",
        epilog=f"Names: {', '.join(DATASETS)}",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="configs' names without cfg_ (all 17)")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="each set goes to DIR/NAME")
    parser.add_argument("--seed", type=int, default=0, help="other numbers draw other images (0)")
    parser.add_argument("--extracted", action="store_true", help="folders instead of archives")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = parse(argv)

    def program() -> None:
        sets = [describe(name) for name in args.names or DATASETS]
        out = args.out.expanduser()
        for of in sets:
            pairs = draw_sample(of, out / of.name, seed=args.seed, extracted=args.extracted)
            print(f"{of.title}: {len(pairs)} drawn images in {out / of.name}")
        print("These are drawings in the layouts of the downloads, not the data sets: figures on them mean nothing.")
        print(f"next: python tools/prepare_dataset.py {sets[0].name} {out / sets[0].name} -o data")

    return run(program)


if __name__ == "__main__":
    sys.exit(main())
