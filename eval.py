#!/usr/bin/env python3
"""Evaluates a config on its data set: python eval.py --config configs/cfg_loveda.py --data-root ~/data.

Prints IoU and accuracy of every class, and adds a row to results.json and results.xlsx in --work-dir. A run that
was killed goes on when it is started again. On several GPUs or machines: ./dist_test.sh configs/cfg_loveda.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segearth import weights
from segearth.distributed.launch import LAUNCHERS, joined
from segearth.distributed.ranks import Ranks
from segearth.errors import UserError
from segearth.outputs import run


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; wrong usage ends the program with code 2."""
    parser = argparse.ArgumentParser(description="Evaluate SegEarth on a data set with labels.")
    parser.add_argument("--config", required=True, help="a config file, such as configs/cfg_loveda.py")
    parser.add_argument("--work-dir", "--workdir", help="folder for the results (work_dirs/ and the config's name)")
    parser.add_argument("--data-root", help="a folder that stands for the leading data/ of the config's data paths")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="what starts several processes")
    parser.add_argument("--show-dir", help="folder for pictures: image, label, prediction")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="changes to the config, nested keys with dots: model.prob_thd=0.2 test_dataloader.num_workers=4",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    parser.add_argument(
        "--model",
        help=f"{' or '.join(weights.MODELS)}: replaces the config's CLIP and upsampler; tiny needs no download",
    )
    return parser.parse_args(argv)


def evaluate(args: argparse.Namespace, ranks: Ranks) -> None:
    """Checks what can be checked at once, evaluates, prints."""
    if not Path(args.config).is_file():
        raise UserError(f"no config at {args.config}: give a config file, such as configs/cfg_loveda.py")
    if args.model is not None:
        weights.model(args.model)
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit {args.limit}: expected at least 1 image")
    if wrong := [option for option in args.cfg_options if "=" not in option]:
        raise UserError(f"--cfg-options {wrong[0]}: expected key=value, for example model.prob_thd=0.2")
    for option, folder in (("--work-dir", args.work_dir), ("--show-dir", args.show_dir)):
        if folder is not None and Path(folder).is_file():
            raise UserError(f"{option} {folder} is a file: give a folder")
    if args.data_root is not None and not Path(args.data_root).expanduser().is_dir():
        raise UserError(f"no folder at --data-root {args.data_root}: give the folder that stands for data/")

    from segearth.openmmlab import runner
    from segearth.results import table

    row, folder = runner.evaluate(
        args.config,
        args.work_dir,
        data_root=args.data_root,
        ranks=ranks,
        show_dir=args.show_dir,
        options=args.cfg_options,
        limit=args.limit,
        model=args.model,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    if not ranks.is_main:
        return
    print("\n" + table(row))
    print(f"\nwritten to {folder}: results.json, results.xlsx")
    if args.show_dir is not None:
        print(f"pictures in {args.show_dir}")


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = parse(argv)

    def program() -> None:
        with joined(args.launcher) as ranks:
            evaluate(args, ranks)

    return run(program)


if __name__ == "__main__":
    sys.exit(main())
