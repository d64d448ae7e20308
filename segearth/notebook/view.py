"""The content of a notebook view: two images of the same extent, and statistics of the classes."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image, features

from segearth.summary import hectares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.result import Result

LONGEST = 1024  # longest side of an image in a notebook
Bounds: TypeAlias = "tuple[tuple[float, float], tuple[float, float]]"


@dataclass(frozen=True)
class View:
    """A map for a notebook.

    Attributes:
        colours: (h, w, 4) uint8 RGBA, the colours of the classes, transparent where there is none.
        picture: (h, w, 4) uint8 RGBA, the image of the same extent; None if unavailable.
        bounds: south-west and north-east, in latitude and longitude, or in pixels upwards and to the right.
        is_on_earth: whether bounds are latitudes and longitudes; the images are then in Web Mercator.
        rows: statistics of the classes, see `segearth.summary.result_rows`.
        title: the name of the map.
    """

    colours: NDArray[np.uint8]
    picture: NDArray[np.uint8] | None
    bounds: Bounds
    is_on_earth: bool
    rows: Sequence[Mapping[str, Any]]
    title: str


def pixel_view(result: Result, rows: Sequence[Mapping[str, Any]]) -> View:
    """The view of a map without coordinates, in pixels of the image."""
    height, width = result.labels.shape
    step = -(-max(height, width) // LONGEST)
    picture = Image.fromarray(result.pixels).reduce(step)
    down = np.minimum(np.arange(picture.height) * step + step // 2, height - 1)
    right = np.minimum(np.arange(picture.width) * step + step // 2, width - 1)
    colours = class_colours(result.labels[np.ix_(down, right)], result.palette)
    # each pixel of the picture is `step` pixels of the image, also at the right and lower edge with fewer pixels
    bounds = (float(height - step * picture.height), 0.0), (float(height), float(step * picture.width))
    return View(colours, _opaque(np.asarray(picture)), bounds, False, rows, result.name)


def class_colours(labels: NDArray[np.integer], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (h, w) as RGBA (h, w, 4) in the colours (C, 3) of their classes, transparent without a class."""
    table = np.zeros((len(palette) + 1, 4), np.uint8)
    table[:-1, :3], table[:-1, 3] = palette, 255
    return table[np.minimum(labels, len(palette))]


def _opaque(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def picture_uri(pixels: NDArray[np.uint8]) -> str:
    """An image (h, w, 4) as a data URI: WebP if Pillow supports it, a tenth of the size of PNG."""
    if features.check("webp"):
        return _uri(Image.fromarray(pixels), "webp", quality=85)
    return flat_uri(pixels)


def flat_uri(pixels: NDArray[np.uint8]) -> str:
    """An image (h, w, 4) of few colours as a lossless data URI."""
    return _uri(Image.fromarray(pixels), "png")


def _uri(image: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return png_uri(file.getvalue(), kind)


def png_uri(content: bytes, kind: str = "png") -> str:
    """The content of an image file as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def html_picture(content: bytes, about: str) -> str:
    """A PNG as an HTML element.

    Args:
        content: content of the file.
        about: alternative text.
    """
    return f'<img alt="{html.escape(about)}" style="max-width:100%" src="{png_uri(content)}">'


def html_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """`result_rows` as an HTML table, the largest class first; with hectares if rows have areas."""
    areas = any(row.get("area_m2") is not None for row in rows)
    names = ("", "label", "class", "pixels", "percent", "confidence", *(["ha"] if areas else []))
    head = "".join(f"<th>{name}</th>" for name in names)
    lines = "".join(_html_row(row, areas) for row in sorted(rows, key=lambda row: -row["pixels"]))
    return f'<table style="text-align:right;border-spacing:.6em .1em"><tr>{head}</tr>{lines}</table>'


def _html_row(row: Mapping[str, Any], areas: bool) -> str:
    confidence = "-" if row["mean_confidence"] is None else f"{row['mean_confidence']:.2f}"
    swatch = f'<td style="background:{css_colour(row)};width:1.5em"></td>'
    name = f'<td style="text-align:left">{html.escape(row["name"])}</td>'
    numbers = (f"{row['pixels']:,}", f"{row['percent']:.2f}", confidence, *([area_text(row)] if areas else []))
    return f"<tr>{swatch}<td>{row['label']}</td>{name}{''.join(f'<td>{number}</td>' for number in numbers)}</tr>"


def css_colour(row: Mapping[str, Any]) -> str:
    """The colour of a class in CSS."""
    return f"rgb({','.join(str(int(part)) for part in row['colour'])})"


def area_text(row: Mapping[str, Any]) -> str:
    """The area of a class in hectares; empty if unknown."""
    return "" if row.get("area_m2") is None else hectares(row["area_m2"])
