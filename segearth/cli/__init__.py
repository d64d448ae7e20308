"""The command `segearth`: one module per verb, each with HELP, `add_arguments(parser)` and `run(args)`.

    segearth predict scene.jpg -c "road; tree,forest; water" -o out
    segearth eval loveda --data-root ~/data

The modules import torch, numpy and PIL only in `run`, so that help and wrong usage are fast.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import segearth
from segearth.errors import SCRIPTS, printable
from segearth.exits import MISTAKE, run
from segearth.streams import open_streams

VERBS = (
    "predict",
    "relabel",
    "vectorize",
    "web",
    "qgis-script",
    "demo",
    "eval",
    "eval-all",
    "calibrate",
    "prepare",
    "check",
    "sample-data",
    "train-upsampler",
    "weights",
    "doctor",
    "info",
)


class Parser(argparse.ArgumentParser):
    """An argument parser: wrong usage is one sentence and exit code 2; suggests similar options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # also a list: --bbox -1,50,2,51

    def error(self, message: str) -> NoReturn:
        """Prints the error and exits."""
        self.exit(MISTAKE, printable(f"error: {message}; {self.prog} --help tells all options") + "\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parses all arguments; refuses unknown ones here, where similar options are known."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            hint = _suggestion(unknown[0], self._option_string_actions)
            self.error(f"{self.prog} does not know {unknown[0]}{hint}")
        return parsed, []


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `segearth`; returns the exit code."""
    open_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog="segearth", description="Open-vocabulary segmentation of aerial and satellite images.")
    parser.add_argument("--version", action="version", version=f"segearth {segearth.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb in VERBS:
        module = _module(verb)
        module.add_arguments(verbs.add_parser(verb, help=module.HELP, description=module.HELP))
    if arguments and not arguments[0].startswith("-") and (verb := arguments[0]) not in VERBS:
        parser.error(f"segearth has no verb {verb!r}{_suggestion(verb, VERBS)}: expected {', '.join(VERBS)}")
    args = parser.parse_args(arguments)
    if args.verb is None:
        parser.print_help(sys.stderr)
        return MISTAKE
    return _run(_module(args.verb), args, f"segearth {args.verb}")


def run_script(verb: str, argv: Sequence[str] | None) -> int:
    """Runs a verb from its script of a checkout; returns the exit code.

    Args:
        verb: a key of `segearth.errors.SCRIPTS`.
        argv: arguments of the script; None: those of the command line.
    """
    open_streams()
    module, name = _module(verb), SCRIPTS[verb]
    parser = Parser(prog=name, description=module.HELP)
    module.add_arguments(parser)
    return _run(module, parser.parse_args(argv), name)


def verb_parser(verb: str) -> argparse.ArgumentParser:
    """The argument parser of a single verb."""
    module = _module(verb)
    parser = Parser(prog=f"segearth {verb}", description=module.HELP)
    module.add_arguments(parser)
    return parser


def _module(verb: str) -> Any:
    """The module of a verb."""
    return import_module(f"segearth.cli.{verb.replace('-', '_')}")


def _run(module: Any, args: argparse.Namespace, name: str) -> int:
    """Runs a verb, with the messages that its `add_arguments` set for too little memory and Ctrl-C."""
    advice = {key: getattr(args, key) for key in ("less_memory", "interrupted") if hasattr(args, key)}
    return run(lambda: int(module.run(args)), name=name, **advice)


def _suggestion(word: str, known: Any) -> str:
    """A question that names the most similar known word; empty if none is similar."""
    close = difflib.get_close_matches(word.partition("=")[0], known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
