"""`segearth sample-data`: small drawn samples of the data sets, in the layout of their downloads.

They are drawings, to try the way from a download to a figure without a download. They contain nothing of the real sets
and never pass for them: every folder says so in DRAWN_NOT_REAL.txt, and the manifests of what is prepared from them say
that they are not complete.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from segearth.datasets import DATASETS, describe
from segearth.errors import command
from segearth.exits import OK
from segearth.paths import user_path

HELP = "Draw small samples of the data sets, in the layout of their downloads. Not the real data."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which sets, and where they go."""
    parser.epilog = f"Names: {', '.join(DATASETS)}"
    parser.add_argument("names", nargs="*", metavar="NAME", help="configs' names without cfg_ (all 17)")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="each set goes to DIR/NAME")
    parser.add_argument("--seed", type=int, default=0, help="other numbers draw other images (0)")
    parser.add_argument("--extracted", action="store_true", help="folders instead of archives")


def run(args: argparse.Namespace) -> int:
    """Draws them."""
    sets = [describe(name) for name in args.names or DATASETS]
    out = user_path(args.out, "output folder")

    from segearth.datasets.samples import draw_sample

    for of in sets:
        pairs = draw_sample(of, out / of.name, seed=args.seed, extracted=args.extracted)
        print(f"{of.title}: {len(pairs)} drawn images in {out / of.name}")
    print("These are drawings in the layouts of the downloads, not the data sets: figures on them mean nothing.")
    print(f"next: {command('prepare')} {sets[0].name} {out / sets[0].name} -o data")
    return OK
