"""The command `segearth`: one file a verb, each with HELP, `add_arguments(parser)` and `run(args)`.

    segearth predict scene.jpg -c "road; tree,forest; water" -o out
    segearth eval loveda --data-root ~/data

The files of the verbs import torch, numpy and PIL in `run` only, so that help and mistakes cost no seconds.
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
    """Wrong usage is one sentence and exit code 2; an unknown option names the near one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # also of several: --bbox -1,50,2,51

    def error(self, message: str) -> NoReturn:
        """Says it and ends the program."""
        self.exit(MISTAKE, printable(f"error: {message}; {self.prog} --help tells all options") + "\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parses all: what is not known is refused here, by the parser that knows the near ones."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            near = _near(unknown[0], self._option_string_actions)
            self.error(f"{self.prog} does not know {unknown[0]}{near}")
        return parsed, []


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `segearth`; returns the exit code."""
    open_streams()
    given = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog="segearth", description="Open-vocabulary segmentation of aerial and satellite images.")
    parser.add_argument("--version", action="version", version=f"segearth {segearth.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb in VERBS:
        module = _module(verb)
        own = verbs.add_parser(verb, help=module.HELP, description=module.HELP)
        module.add_arguments(own)
    if given and not given[0].startswith("-") and given[0] not in VERBS:
        parser.error(f"segearth has no verb {given[0]!r}{_near(given[0], VERBS)}: expected {', '.join(VERBS)}")
    args = parser.parse_args(given)
    if args.verb is None:
        parser.print_help(sys.stderr)
        return MISTAKE
    return _run(_module(args.verb), args, f"segearth {args.verb}")


def run_script(verb: str, argv: Sequence[str] | None) -> int:
    """Runs a verb as the script of a checkout that does the same; returns the exit code.

    Args:
        verb: a key of `segearth.errors.SCRIPTS`.
        argv: the script's arguments; None takes those of the command line.
    """
    open_streams()
    module, name = _module(verb), SCRIPTS[verb]
    parser = Parser(prog=name, description=module.HELP)
    module.add_arguments(parser)
    return _run(module, parser.parse_args(argv), name)


def verb_parser(verb: str) -> argparse.ArgumentParser:
    """The parser of a verb's arguments alone."""
    module = _module(verb)
    parser = Parser(prog=f"segearth {verb}", description=module.HELP)
    module.add_arguments(parser)
    return parser


def _module(verb: str) -> Any:
    """The file of a verb."""
    return import_module(f"segearth.cli.{verb.replace('-', '_')}")


def _run(module: Any, args: argparse.Namespace, name: str) -> int:
    """Runs a verb; `add_arguments` may have set what is said where memory is not enough, or after Ctrl-C."""
    advice = {key: getattr(args, key) for key in ("less_memory", "interrupted") if hasattr(args, key)}
    return run(lambda: int(module.run(args)), name=name, **advice)


def _near(word: str, known: Any) -> str:
    """A question that names what was probably meant; nothing where no name is near."""
    close = difflib.get_close_matches(word.partition("=")[0], known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
