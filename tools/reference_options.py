#!/usr/bin/env python3
"""Writes the options of every verb into docs/reference.md, from the command line's own parsers.

    python tools/reference_options.py

replaces the table between the marks `<!-- options: VERB -->` and `<!-- end -->` of each verb.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.cli import verb_parser

REFERENCE = Path(__file__).parents[1] / "docs" / "reference.md"
_MARKED = re.compile(r"(<!-- options: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def updated(text: str) -> str:
    """The page with the present options in its tables."""
    return _MARKED.sub(lambda mark: f"{mark[1]}\n{options(verb_parser(mark[2]))}\n{mark[3]}", text)


def options(parser: argparse.ArgumentParser) -> str:
    """The arguments and options of a parser as a table."""
    rows = [f"| {spelled} | {explained} |\n" for spelled, explained in _rows(parser)]
    return "| option | meaning |\n|---|---|\n" + "".join(rows)


def _rows(parser: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, str]]:
    """Spelling and meaning of each argument, those of commands within the verb after the command's name."""
    formatter = parser.formatter_class(prog=parser.prog)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield f"`{choice.dest}`", choice.help or ""
                yield from _rows(action.choices[choice.dest], f"{choice.dest} ")
        elif not isinstance(action, argparse._HelpAction):
            value = "" if action.nargs == 0 else formatter._format_args(action, _placeholder(action))
            names = ", ".join(action.option_strings)
            explained = re.sub(r" \(default: .*\)$", "", formatter._expand_help(action))  # of some versions of Python
            yield f"`{before}{f'{names} {value}'.strip()}`", explained.replace("|", "\\|")


def _placeholder(action: argparse.Action) -> str:
    """What stands for the value of an option."""
    if action.metavar is None and action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))


if __name__ == "__main__":
    REFERENCE.write_text(updated(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
