"""The options of polygons that `predict` and `vectorize` share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from segearth.cli.columns import count
from segearth.errors import printable

if TYPE_CHECKING:
    from segearth.vectors.options import VectorResult


def add_vector_options(group: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """How small pieces may be.

    Args:
        group: of the parser.
    """
    group.add_argument(
        "--min-area",
        type=float,
        metavar="M2",
        help="add smaller pieces of the polygons to their neighbours; in pixels without coordinate system (0)",
    )


def polygons_told(done: VectorResult) -> str:
    """What became of a map's polygons, in a line."""
    from segearth.summary import hectares

    area = done.summary["area_m2"]
    size = f"{done.summary['pixels']:,} pixels" if area is None else f"{hectares(area)} ha"
    line = f"{count(done.summary['polygons'], 'polygon')} of {size} in {printable(done.path)}"
    return f"{line} already" if done.was_there else line
