"""`segearth eval-all`: all data sets, and their numbers beside the paper's.

Killed and started again, it goes on where it stopped; a set that fails does not stop the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from segearth.cli.options import add_evaluation_options, check_evaluation_options, evaluation_changes
from segearth.errors import UserError, option
from segearth.exits import OK, SOME_FAILED, quiet, say
from segearth.jobs.launchers import launch_name, launched_shard, one_message
from segearth.jobs.team import Team
from segearth.outputs import writable_folder
from segearth.paper.columns import dataset_order, own_columns, select_columns
from segearth.paper.sweep import Settings, plan, sweep
from segearth.paper.table_rows import GROUPS, ROWS, select_rows
from segearth.paths import user_path

HELP = "Evaluate SegEarth on all data sets, beside the paper's numbers."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which sets with which methods, where their data are, and where the tables go."""
    parser.epilog = f"Data sets: {', '.join(dataset_order())}. Methods: {', '.join(ROWS)}; groups: {', '.join(GROUPS)}."
    parser.add_argument(
        "--datasets",
        nargs="*",
        metavar="NAME",
        help="configs without cfg_ (those of the method's table: all 17, or 3 for plug-and-play and ablation); without "
        "a name: none of them, beside --config",
    )
    parser.add_argument(
        "--config",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH",
        help="configs of your own data sets, which join the tables under the names of these files",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["segearth-ov"],
        metavar="NAME",
        help="rows of the paper's tables, or beyond it (segearth-ov)",
    )
    parser.add_argument(
        "-o",
        "--out",
        "--work-dir",
        "--workdir",
        type=Path,
        default=Path("work_dirs/all"),
        help="folder for results (%(default)s)",
    )
    parser.add_argument("--upsamplers", type=Path, metavar="DIR", help="your own upsamplers, for rows of the ablation")
    parser.add_argument("--pictures", type=int, default=2, metavar="N", help="in the report, of each set (%(default)s)")
    parser.add_argument("--tables-only", action="store_true", help="make the tables anew from what is in --out")
    add_evaluation_options(parser, "all configs")


def run(args: argparse.Namespace) -> int:
    """Evaluates, as one of several processes if a launcher started them."""
    shard = launched_shard(args.launcher)
    with one_message(shard):
        return SOME_FAILED if evaluate_all(args, Team(shard, launch_name(args.launcher))) else OK


def evaluate_all(args: argparse.Namespace, team: Team) -> dict[str, list[str]]:
    """Checks what can be checked at once, evaluates, writes and prints the tables; gives the reasons of failures."""
    columns = None if args.datasets is None else select_columns(args.datasets)
    pairs = plan(select_rows(args.methods), columns, own_columns(args.config))
    if not pairs:
        raise UserError(
            f"{option('datasets')} without a name: expected a data set; give one, or {option('config')} with the "
            "config of your own"
        )
    check_evaluation_options(args)
    if args.pictures < 0:
        raise UserError(f"{option('pictures', args.pictures)}: expected 0 or more")
    if args.upsamplers is not None and not user_path(args.upsamplers, "folder").is_dir():
        raise UserError(f"no folder at {option('upsamplers', args.upsamplers)}: give an existing one")
    if args.tables_only and not args.out.is_dir():
        raise UserError(f"no folder at {option('work_dir', args.out)}: give that of an earlier run")
    if args.cfg_options and not args.tables_only:  # what no config can hold would fail for every set
        from segearth.openmmlab.config import read_config

        read_config(pairs[0][1].path, args.cfg_options)
    work_dir = writable_folder(args.out)

    from segearth.models.onednn import use_onednn
    from segearth.paper.tables import FILES, results_text, write_tables

    failures: dict[str, list[str]] = {}
    if not args.tables_only:
        use_onednn()
        team.gather(work_dir)
        settings = Settings(
            work_dir,
            changes=evaluation_changes(args),
            upsamplers=args.upsamplers,
            limit=args.limit,
            pictures=args.pictures,
            quiet=args.quiet,
        )
        failures = sweep(
            pairs,
            settings,
            team=team,
            say=quiet if args.quiet else say,
            after=lambda: write_tables(work_dir),
        )
    if team.is_main:
        print(results_text(write_tables(work_dir)))
        for reason, names in failures.items():
            print(f"failed: {'; '.join(names)}: {reason}")
        print(f"\nwritten to {work_dir}: {', '.join(FILES)}")
    if team.has_met:
        team.gather(work_dir)  # a launcher ends all processes with the first one that reports a failure
    return failures
