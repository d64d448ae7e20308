"""Labels of xBD that are polygons in JSON files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from segearth.datasets.archives import Member
from segearth.errors import UserError
from segearth.json_files import parse_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_JSON = 64 << 20  # bytes; the largest of xBD's has 2 MB
_FAR = 100_000  # pixels from the image's corner: beyond, a drawing library's whole numbers may overflow
_EXPECTED = "expected features.xy with wkt, as in xBD's labels; extract it again"
_RING = re.compile(r"\(\(([^()]+)\)")  # the exterior ring; rings of holes begin with one bracket


def read_polygons(member: Member, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The buildings of one of xBD's JSON files: exterior rings, rounded to pixels and filled.

    Args:
        member: the file.
        size: (height, width) of its image.

    Returns:
        (H, W) uint8, 1 in buildings, else 0.

    Raises:
        UserError: no JSON, or no polygons with two finite coordinates a point.
    """
    content = member.read(MAX_JSON)
    try:
        shapes = [feature["wkt"] for feature in parse_json(content)["features"]["xy"]]
        rings = [[_point(text) for text in ring.split(",")] for shape in shapes for ring in _RING.findall(shape)]
    except ValueError as error:
        raise UserError(f"{member} has no polygons ({error}): {_EXPECTED}") from None
    except (LookupError, TypeError):
        raise UserError(f"{member} has no polygons: {_EXPECTED}") from None
    canvas = Image.new("L", (size[1], size[0]))
    for ring in rings:
        if len(ring) > 2:
            ImageDraw.Draw(canvas).polygon(ring, fill=1)
    return np.array(canvas)


def _point(text: str) -> tuple[int, int]:
    """(x, y) of a point in pixels, from "x y" or "x y z".

    Raises:
        ValueError: other than numbers, or far outside of the image.
    """
    numbers = text.split()
    if len(numbers) < 2:
        raise ValueError(f"a point {text.strip()!r} without two coordinates")
    x, y = float(numbers[0]), float(numbers[1])
    if not (abs(x) < _FAR and abs(y) < _FAR):
        raise ValueError(f"a point {text.strip()!r} is not in the image")
    return round(x), round(y)
