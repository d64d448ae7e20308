"""`segearth sample-data`: small drawn samples of the data sets, in the layout of their downloads, and drawn scenes.

They are drawings, to try preparation and evaluation without a download. They contain nothing of the real data sets and
are marked: every folder has DRAWN_NOT_REAL.txt, and the manifests of data prepared from them say that they are not
complete.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from segearth.datasets import DATASETS, describe
from segearth.errors import UserError, command, option
from segearth.exits import OK
from segearth.paths import user_path

HELP = "Draw small samples of the data sets, in the layout of their downloads, or a scene of any size. Not real data."
SCENE = "scene"
SIZE = 6000  # pixels of a scene's side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds names, output folder, and options of the drawing."""
    parser.epilog = f"Names: {', '.join(DATASETS)}; {SCENE}"
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"configs' names without cfg_ (all {len(DATASETS)}), or {SCENE}"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"each set goes to DIR/NAME, a scene to DIR/{SCENE}.tif and DIR/{SCENE}.labels.tif",
    )
    parser.add_argument("--seed", type=int, default=0, help="other numbers draw other images (0)")
    parser.add_argument("--extracted", action="store_true", help="folders instead of archives")
    parser.add_argument("--size", type=int, metavar="N", help=f"pixels of a scene's side ({SIZE}), of 0.25 m each")


def run(args: argparse.Namespace) -> int:
    """Draws the samples."""
    names = args.names or list(DATASETS)
    sets = [describe(name) for name in names if name != SCENE]
    out = user_path(args.out, "output folder")
    if args.seed < 0:
        raise UserError(f"{option('seed', args.seed)}: expected a whole number of at least 0; change it")
    if args.size is not None and SCENE not in names:
        raise UserError(f"{option('size', args.size)} is of a scene: expected the name {SCENE}; or leave it out")
    if SCENE in names:
        _draw_scene(out, SIZE if args.size is None else args.size, args.seed)
    if not sets:
        return OK

    from segearth.datasets.samples import draw_sample

    for dataset in sets:
        pairs = draw_sample(dataset, out / dataset.name, seed=args.seed, extracted=args.extracted)
        print(f"{dataset.title}: {len(pairs)} drawn images in {out / dataset.name}")
    print("These are drawings in the layouts of the downloads, not the data sets: figures on them mean nothing.")
    print(f"next: {command('prepare')} {sets[0].name} {out / sets[0].name} -o data")
    return OK


def _draw_scene(out: Path, size: int, seed: int) -> None:
    """Draws a scene and prints the next command."""
    from segearth.scenes.sample_scene import DRAWN_TILE, PIXEL_M, write_sample_scene
    from segearth.vocabulary import LAND_COVER

    picture, labels = write_sample_scene(out, size, seed)
    print(f"a drawn scene of {size:,} × {size:,} pixels of {PIXEL_M} m: {picture}, and its classes: {labels}")
    tile = f"{DRAWN_TILE} × {DRAWN_TILE} pixels"
    print(f"It is a patchwork of drawings of {tile}: it shows how a map looks, not how good it is.")
    classes = shlex.quote("; ".join(",".join(names) for names in LAND_COVER))
    options = f"-o {shlex.quote(str(out / 'map'))} --model tiny"
    print(f"next: segearth predict {shlex.quote(str(picture))} -c {classes} {options}")
