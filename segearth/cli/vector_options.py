"""Options for polygons that `predict` and `vectorize` share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from segearth.cli.formatting import count
from segearth.errors import printable

if TYPE_CHECKING:
    from segearth.vectors.options import VectorResult


def add_vector_options(group: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Adds the option for the minimum area of polygons.

    Args:
        group: the parser, or a group of its options.
    """
    group.add_argument(
        "--min-area",
        type=float,
        metavar="M2",
        help="add smaller pieces of the polygons to their neighbours; in pixels without coordinate system (0)",
    )


def polygon_line(done: VectorResult) -> str:
    """The written polygons of a map, in one line."""
    from segearth.summary import hectares

    area = done.summary["area_m2"]
    size = f"{done.summary['pixels']:,} pixels" if area is None else f"{hectares(area)} ha"
    line = f"{count(done.summary['polygons'], 'polygon')} of {size} in {printable(done.path)}"
    return f"{line} already" if done.was_there else line
