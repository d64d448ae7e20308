"""Options of the form KEY=VALUE, which may be repeated."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from segearth.errors import UserError, option


def add_colour(parser: argparse.ArgumentParser) -> None:
    """Adds the option for the colours of classes."""
    parser.add_argument(
        "--colour", action="append", default=[], metavar="NAME=#RRGGBB", help="colour of a class; may be repeated"
    )


def parse_colours(texts: Sequence[str]) -> dict[str, str]:
    """Parses the values of `add_colour`, for `Vocabulary.with_colours`."""
    return parse_pairs("colour", texts, "NAME=#RRGGBB, such as tree=#19732A")


def parse_pairs(name: str, texts: Sequence[str], expected: str) -> dict[str, str]:
    """Parses KEY=VALUE texts to a dict.

    Args:
        name: name of the option.
        texts: the values of the option.
        expected: their form, for messages.

    Raises:
        UserError: not KEY=VALUE, or a repeated key.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise UserError(f"{option(name, text)}: expected {expected}; correct it")
        if key in pairs:
            raise UserError(f"{option(name, text)}: {key!r} is given twice, expected once; leave one out")
        pairs[key] = value
    return pairs
