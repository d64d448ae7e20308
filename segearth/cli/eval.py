"""`segearth eval`: a config on its data set; figures of every class.

A run that was killed goes on when it is started again. On several GPUs or machines: dist_test.sh of a checkout, or
torchrun -m segearth eval.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from segearth.cli.method_options import add_method_options, method_changes
from segearth.cli.options import add_evaluation_options, check_evaluation_options, evaluation_changes
from segearth.config_files import find_config
from segearth.errors import UserError, option
from segearth.exits import OK, quiet, say
from segearth.jobs.launchers import launch_name, launched_shard, one_message
from segearth.jobs.team import NOT_MADE, Team

HELP = "Evaluate SegEarth on a data set with labels."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A config, where its data are, and where the figures go."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="CONFIG",
        help="the path of a config file, or the name of one of ours, such as loveda",
    )
    parser.add_argument("--config", help="the same, as an option")
    parser.add_argument(
        "-o", "--out", "--work-dir", "--workdir", help="folder for the results (work_dirs/ and the config's name)"
    )
    parser.add_argument("--show-dir", help="folder for pictures: image, label, prediction")
    add_method_options(parser, "the config's")
    add_evaluation_options(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates, as one of several processes if a launcher started them."""
    shard = launched_shard(args.launcher)
    with one_message(shard):
        evaluate_config(args, Team(shard, launch_name(args.launcher)))
    return OK


def evaluate_config(args: argparse.Namespace, team: Team) -> None:
    """Checks what can be checked at once, evaluates, prints."""
    if (args.name is None) == (args.config is None):
        raise UserError(
            f"{'two configs' if args.name else 'no config'} given: expected one; give the path of a config file, or "
            "the name of one of ours, such as loveda"
        )
    config = find_config(args.name or args.config)
    check_evaluation_options(args)
    changes = evaluation_changes(args, method_changes(args))
    for name, folder in (("work_dir", args.out), ("show_dir", args.show_dir)):
        if folder is not None and Path(folder).is_file():
            raise UserError(f"{option(name, folder)} is a file: give a folder")

    from segearth.models.onednn import use_onednn
    from segearth.openmmlab.evaluate import evaluate
    from segearth.results.folder import run_text

    use_onednn()
    run, folder = evaluate(
        config,
        args.out,
        changes,
        limit=args.limit,
        show_dir=args.show_dir,
        team=team,
        say=quiet if args.quiet else say,
        quiet=args.quiet,
    )
    if not any(team.gather(folder, run is not None)):
        raise UserError(NOT_MADE)
    if run is None:  # another process has made it
        return
    print("\n" + run_text(run))
    print(f"\nwritten to {folder}: results.json, results.xlsx")
    if args.show_dir is not None:
        print(f"pictures in {args.show_dir}")
