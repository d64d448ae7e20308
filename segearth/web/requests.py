"""Checks request bodies and queries, and converts them to settings of a map."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from starlette.datastructures import QueryParams

from segearth.errors import UserError, printable
from segearth.scenes.options import SceneOptions
from segearth.vocabulary import Vocabulary, check_threshold
from segearth.web.responses import RequestError

if TYPE_CHECKING:
    from segearth.web.state import WebImage

_KEYS = ("image", "classes", "threshold", "background", "scale", "gsd", "blend")
_MOST_TEXT = 100_000  # characters of the classes
_MOST_CLASSES = 254  # a tile has one byte for the class, with one value for unknown
_MOST_PIXELS = 4e10  # of the model's input
_RANGES = {"scale": (1e-4, 1e4), "gsd": (1e-4, 1e6)}  # values outside overflow or make useless maps


def job_settings(body: Mapping[str, Any], image: WebImage) -> tuple[Vocabulary, str, float, dict[str, Any]]:
    """Checks the settings of a new map.

    Args:
        body: body of the request.
        image: the image to map.

    Returns:
        The classes, their text, the threshold, and further `SceneOptions`.

    Raises:
        RequestError: an invalid setting.
    """
    for key in body:
        if key not in _KEYS:
            raise RequestError(
                400, f"{printable(key)[:100]} is no setting of a map: expected {', '.join(_KEYS)}; leave it out"
            )
    if image.state == "failed":
        raise RequestError(409, f"{image.name} cannot be mapped: {image.error}", "image")
    text, background = body.get("classes"), body.get("background")
    if not isinstance(text, str):
        raise RequestError(400, "there are no classes: expected a text such as road; tree,forest; give one", "classes")
    if len(text) > _MOST_TEXT:
        raise RequestError(
            400, f"the classes are longer than {_MOST_TEXT:,} characters: expected fewer; shorten", "classes"
        )
    if not (background is None or background is False or isinstance(background, str)):
        raise RequestError(
            400, "the background is no name: expected one of the classes, or false; correct it", "background"
        )
    try:
        vocabulary = _classes(text, None)
    except UserError as why:
        raise RequestError(400, str(why), "classes") from None
    if len(vocabulary) > _MOST_CLASSES:
        raise RequestError(
            400, f"there are {len(vocabulary)} classes: expected at most {_MOST_CLASSES}; use fewer", "classes"
        )
    try:
        vocabulary = vocabulary if background is None else vocabulary.with_background(background)
    except UserError as why:
        raise RequestError(400, str(why), "background") from None
    try:
        threshold = check_threshold(body.get("threshold") or 0)
    except UserError as why:
        raise RequestError(400, str(why), "threshold") from None
    return vocabulary, text, threshold, _scene_options(body, image)


def _classes(text: str, background: str | bool | None) -> Vocabulary:
    """Classes from a text, never from a file. Lines that begin with # are comments, as in class files."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return Vocabulary.from_string("\n".join(line.strip().rstrip(";") for line in lines), background)


def _scene_options(body: Mapping[str, Any], image: WebImage) -> dict[str, Any]:
    """Checks scale, gsd and blend of a map."""
    options: dict[str, Any] = {}
    for key, kind in (("scale", (int, float)), ("gsd", (int, float)), ("blend", (str,))):
        value = body.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, kind):
            what = "text" if kind == (str,) else "number"
            raise RequestError(400, f"{key} is {printable(value)[:100]}: expected a {what}; correct it", key)
        try:
            SceneOptions(**cast("dict[str, Any]", {key: value}))
        except UserError as why:
            raise RequestError(400, str(why), key) from None
        least, most = _RANGES.get(key, (-math.inf, math.inf))
        if not isinstance(value, str) and not least <= value <= most:
            raise RequestError(
                400, f"{key} is {printable(value)[:100]}: expected {least:g} to {most:g}; correct it", key
            )
        options[key] = value
    if len({"scale", "gsd"} & options.keys()) == 2:
        raise RequestError(400, "scale and gsd say one thing in two ways: expected one of them; leave one out", "gsd")
    metres, scale = image.facts["metres_per_pixel"], options.get("scale", 1.0)
    if "gsd" in options:
        if metres is None:
            raise RequestError(
                400, f"{image.name} has no size in metres: expected a scale; give that in place of gsd", "gsd"
            )
        scale = metres / options["gsd"]
    if scale > _RANGES["scale"][1] or scale**2 * image.facts["width"] * image.facts["height"] > _MOST_PIXELS:
        field = "gsd" if "gsd" in options else "scale"
        raise RequestError(400, "the model would see too many pixels: expected a smaller scale; take one", field)
    return options


def number_of(query: QueryParams, key: str) -> int:
    """An integer of a query.

    Raises:
        RequestError: missing or not an integer.
    """
    text = query.get(key, "")
    if not re.fullmatch(r"-?\d{1,12}", text, re.ASCII):
        raise RequestError(
            400, f"{key} is {printable(text)[:100] or 'missing'}: expected a whole number; give one", key
        )
    return int(text)


def threshold_of(query: QueryParams) -> float | None:
    """The threshold of a query, for all classes; None if it has none.

    Raises:
        RequestError: not a number from 0 to 1.
    """
    if (text := query.get("threshold", "")) == "":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise RequestError(400, f"threshold is {printable(text)[:100]}: expected 0 to 1; correct it", "threshold")
    return value


def colours_of(query: QueryParams, vocabulary: Vocabulary) -> dict[int, str]:
    """The colours of a query, "#rrggbb" by class index.

    Raises:
        RequestError: an invalid colour or index.
    """
    colours = {}
    for text in query.getlist("colour"):
        match = re.fullmatch(r"(\d{1,3}):#?([0-9A-Fa-f]{6})", text, re.ASCII)
        if match is None or int(match[1]) >= len(vocabulary):
            sentence = "expected the index of a class and six digits, such as 0:19732A; correct it"
            raise RequestError(400, f"colour is {printable(text)[:100]}: {sentence}", "colour")
        colours[int(match[1])] = f"#{match[2]}"
    return colours
