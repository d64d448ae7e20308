"""Options that are given as KEY=VALUE, once or several times."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from segearth.errors import UserError, option


def add_colour(parser: argparse.ArgumentParser) -> None:
    """The colours of classes."""
    parser.add_argument(
        "--colour", action="append", default=[], metavar="NAME=#RRGGBB", help="colour of a class; may be repeated"
    )


def colours(texts: Sequence[str]) -> dict[str, str]:
    """What `add_colour` took, as `Vocabulary.with_colours` does."""
    return pairs("colour", texts, "NAME=#RRGGBB, such as tree=#19732A")


def pairs(name: str, texts: Sequence[str], expected: str) -> dict[str, str]:
    """Keys and values.

    Args:
        name: of the option.
        texts: as they are given.
        expected: what they look like, for messages.

    Raises:
        UserError: no such pair, or a key that is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise UserError(f"{option(name, text)}: expected {expected}")
        if key in found:
            raise UserError(f"{option(name, text)}: {key!r} is given twice; leave one out")
        found[key] = value
    return found
