"""Reads the labels of xBD that are polygons in JSON files."""

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

MAX_JSON = 16 << 20  # bytes, which need 29 times as many in memory; the largest of xBD's has 2 MB
_FAR = 100_000  # pixels from the image's corner: beyond, a drawing library's whole numbers may overflow
_EXPECTED = "expected features.xy with wkt, as in xBD's labels; extract it again"
# Well-known text whose spaces are single ones; nothing in it can be matched in two ways, so it takes linear time.
_RINGS = r"\( ?\([^()]*\)(?: ?, ?\([^()]*\))* ?\)"
_SHAPE = re.compile(
    rf" ?(?:POLYGON ?(?:ZM? ?|M ?)?(?:EMPTY|{_RINGS})"
    rf"|MULTIPOLYGON ?(?:ZM? ?|M ?)?(?:EMPTY|\( ?{_RINGS}(?: ?, ?{_RINGS})* ?\))) ?",
    re.IGNORECASE,
)
_EXTERIOR = re.compile(r"\( ?\(([^()]*)\)")  # rings of holes begin with one bracket
_SHOWN = 40  # characters of a bad shape or point in a message


def read_polygons(member: Member, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draws the building polygons of a JSON file of xBD: exterior rings, rounded to pixels and filled.

    Args:
        member: the file.
        size: (height, width) of its image.

    Returns:
        (H, W) uint8, 1 in buildings, else 0.

    Raises:
        UserError: no JSON, or other than polygons with three points or more a ring and two numbers or more a point.
    """
    content = member.read(MAX_JSON)
    try:
        shapes = [feature["wkt"] for feature in parse_json(content)["features"]["xy"]]
        rings = [ring for shape in shapes for ring in _exteriors(shape)]
    except ValueError as error:
        raise UserError(f"{member} has no polygons ({error}): {_EXPECTED}") from None
    except (LookupError, TypeError):
        raise UserError(f"{member} has no polygons: {_EXPECTED}") from None
    canvas = Image.new("L", (size[1], size[0]))
    for ring in rings:
        ImageDraw.Draw(canvas).polygon(ring, fill=1)
    return np.array(canvas)


def _exteriors(shape: str) -> list[list[tuple[int, int]]]:
    """The exterior rings of a polygon or of several, in pixels.

    Raises:
        ValueError: any other text; a label without its buildings would look like one of an empty place.
        TypeError: no text.
    """
    text = " ".join(str.split(shape))
    if not _SHAPE.fullmatch(text):
        raise ValueError(f"a shape {_shown(shape)} is no polygon")
    rings = [[_point(point) for point in ring.split(",")] for ring in _EXTERIOR.findall(text)]
    if any(len(ring) < 3 for ring in rings):
        raise ValueError(f"a ring of fewer than three points in {_shown(shape)}")
    return rings


def _point(text: str) -> tuple[int, int]:
    """(x, y) of a point in pixels, from "x y" or "x y z".

    Raises:
        ValueError: other than numbers, or far outside of the image.
    """
    try:
        x, y = (float(number.replace("_", "?")) for number in text.split()[:2])  # Python alone reads 1_0 as 10
    except ValueError:
        raise ValueError(f"a point {_shown(text)} without two coordinates") from None
    if not (abs(x) < _FAR and abs(y) < _FAR):
        raise ValueError(f"a point {_shown(text)} is not in the image")
    return round(x), round(y)


def _shown(text: str) -> str:
    return repr(text.strip()[:_SHOWN])
