#!/usr/bin/env python3
"""Evaluates all data sets and puts the numbers beside the paper's: python eval_all.py --data-root ~/data.

Writes results.xlsx, .csv, .json, .md and report.html to --work-dir. Killed and started again, it goes on where it
stopped; a set that fails does not stop the others. Exit code 0; 1 if a set failed; 2 for a wrong command line.
With several processes: ./dist_test.sh all 4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segearth import weights
from segearth.distributed.launch import LAUNCHERS, joined
from segearth.distributed.ranks import Ranks
from segearth.errors import UserError
from segearth.outputs import run, writable_folder
from segearth.paper.methods import GROUPS, METHODS, select_methods
from segearth.paper.sweep import Settings, dataset_order, select_datasets, sweep

CONFIGS = Path(__file__).resolve().parent / "configs"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; wrong usage ends the program with code 2."""
    parser = argparse.ArgumentParser(
        description="Evaluate SegEarth on all data sets, beside the paper's numbers.",
        epilog=f"Data sets: {', '.join(dataset_order())}. Methods: {', '.join(METHODS)}; groups: {', '.join(GROUPS)}.",
    )
    parser.add_argument(
        "--datasets",
        nargs="+",
        default=[],
        metavar="NAME",
        help="configs without cfg_ (those of the method's table: all 17, or 3 for plug-and-play and ablation)",
    )
    parser.add_argument(
        "--methods", nargs="+", default=["segearth-ov"], metavar="NAME", help="rows of the paper's tables (segearth-ov)"
    )
    parser.add_argument("--data-root", type=Path, help="a folder that stands for the leading data/ of data paths")
    parser.add_argument(
        "--work-dir", "--workdir", type=Path, default=Path("work_dirs/all"), help="folder for results (%(default)s)"
    )
    parser.add_argument("--model", help=f"{' or '.join(weights.MODELS)}: replaces the configs' CLIP and upsampler")
    parser.add_argument("--upsamplers", type=Path, metavar="DIR", help="your own upsamplers, for rows of the ablation")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images of each set")
    parser.add_argument("--pictures", type=int, default=2, metavar="N", help="in the report, of each set (%(default)s)")
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes to every config"
    )
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="what starts several processes")
    parser.add_argument("--tables-only", action="store_true", help="make the tables anew from what is in --work-dir")
    return parser.parse_args(argv)


def evaluate_all(args: argparse.Namespace, ranks: Ranks) -> list[str]:
    """Checks what can be checked at once, evaluates, writes and prints the tables; gives what failed."""
    methods, datasets = select_methods(args.methods), select_datasets(args.datasets, CONFIGS)
    if args.model is not None:
        weights.model(args.model)
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit {args.limit}: expected at least 1 image")
    if args.pictures < 0:
        raise UserError(f"--pictures {args.pictures}: expected 0 or more")
    if wrong := [option for option in args.cfg_options if "=" not in option]:
        raise UserError(f"--cfg-options {wrong[0]}: expected key=value, for example test_dataloader.num_workers=4")
    for option, folder in (("--data-root", args.data_root), ("--upsamplers", args.upsamplers)):
        if folder is not None and not folder.expanduser().is_dir():
            raise UserError(f"no folder at {option} {folder}: give an existing one")
    if args.tables_only and not args.work_dir.is_dir():
        raise UserError(f"no folder at --work-dir {args.work_dir}: give that of an earlier run")
    work_dir = writable_folder(args.work_dir)

    from segearth.paper.tables import FILES, write_tables
    from segearth.paper.text import plain

    failures: list[str] = []
    if not args.tables_only:
        settings = Settings(
            CONFIGS,
            work_dir,
            data_root=args.data_root,
            model=args.model,
            upsamplers=args.upsamplers,
            options=tuple(args.cfg_options),
            limit=args.limit,
            pictures=args.pictures,
        )
        failures = sweep(
            datasets,
            methods,
            settings,
            ranks=ranks,
            say=lambda line: print(line, file=sys.stderr, flush=True),
            after=lambda: write_tables(work_dir),
        )
    if ranks.is_main:
        print(plain(write_tables(work_dir).rows))
        for failure in failures:
            print(f"failed: {failure}")
        print(f"\nwritten to {work_dir}: {', '.join(FILES)}")
    return failures


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = parse(argv)
    failures: list[str] = []

    def program() -> None:
        with joined(args.launcher) as ranks:
            failures.extend(evaluate_all(args, ranks))

    return run(program) or int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
