"""Overlay of a map: a small picture of the scene with the map on it, legend, scale bar and north arrow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segearth.drawing import INK, OPACITY, PAPER, blend, enlarged, text_size, with_legend
from segearth.errors import UserError
from segearth.scenes.aoi import Area
from segearth.scenes.assemble import open_map
from segearth.scenes.georeference import Georeference
from segearth.scenes.raster import Raster, ReadFailed
from segearth.summary import hectares
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.scenes.resampling import Pixels
    from segearth.vocabulary import Vocabulary

MAX_SIDE = 2048  # maximum side of a picture
_READ_SIDE = 1024  # side of the windows that are read


class Thumbnail(NamedTuple):
    """A small picture of a raster.

    Attributes:
        pixels: (h, w, 3) uint8 RGB; white where no pixel is valid.
        valid: (h, w) bool.
    """

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]


def thumbnail(read: Callable[[Window], Pixels], area: Window, max_side: int = MAX_SIDE) -> Thumbnail:
    """Reduces a raster by an integer factor; each pixel is the mean of those that it covers.

    Args:
        read: reads a window of the raster.
        area: window to show, in pixels of the raster.
        max_side: maximum side of the picture.
    """
    height, width = area.bottom - area.top, area.right - area.left
    factor = -(-max(height, width) // max_side)
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    valid = np.empty(pixels.shape[:2], bool)
    step = max(1, _READ_SIDE // factor) * factor
    for top in range(0, height, step):
        for left in range(0, width, step):
            bottom, right = min(height, top + step), min(width, left + step)
            colours, part_valid = read(Window(area.top + top, area.top + bottom, area.left + left, area.left + right))
            image = Image.fromarray(np.ascontiguousarray(np.rint(colours).astype(np.uint8).transpose(1, 2, 0)))
            mask = Image.fromarray(np.where(part_valid, 255, 0).astype(np.uint8))
            position = slice(top // factor, -(-bottom // factor)), slice(left // factor, -(-right // factor))
            pixels[position] = np.asarray(image.reduce(factor))
            valid[position] = np.asarray(mask.reduce(factor)) > 127
    pixels[~valid] = PAPER
    return Thumbnail(pixels, valid)


def raster_thumbnail(raster: Raster, area: Window, max_side: int = MAX_SIDE) -> tuple[Thumbnail, list[str]]:
    """Reads a small picture of a part of a raster; unreadable parts are white, because the map must not be lost.

    A remote raster is not read a second time, unless it is small or has overviews.

    Args:
        raster: an open raster with its spec.
        area: window in its pixels.
        max_side: maximum side of the picture.

    Returns:
        The picture, and remarks (one sentence each).
    """
    remarks: list[str] = []

    def blank(window: Window) -> Pixels:
        shape = window.bottom - window.top, window.right - window.left
        return np.full((3, *shape), 255, np.uint8), np.zeros(shape, bool)

    def read(window: Window) -> Pixels:
        try:
            return source.read(window)
        except ReadFailed:
            remarks[:] = [f"parts of {raster.name} could not be read for the overlay, which is white there"]
            return blank(window)

    with ExitStack() as files:
        source = raster
        factor = max(area.bottom - area.top, area.right - area.left) / max_side
        if raster.is_remote and factor > 2:
            try:
                source = files.enter_context(raster.open_overview(factor))
            except UserError:
                return thumbnail(blank, area, max_side), [
                    f"the overlay shows the map alone: {raster.name} would have been read once more for it"
                ]
            area = Area(area).scaled(raster.size, source.size).window
        return thumbnail(read, area, max_side), remarks


def scene_overlay(
    picture: Thumbnail,
    labels: Path,
    vocabulary: Vocabulary,
    rows: Sequence[Mapping[str, Any]],
    opacity: float = OPACITY,
    outline: bool = True,
    note: str = "",
) -> Image.Image:
    """Draws the map on a picture, with scale bar and north arrow (if known) and the legend below it.

    Args:
        picture: picture of the input, with the extent of the map.
        labels: the finished raster of labels.
        vocabulary: its classes.
        rows: table of the classes, see `segearth.scenes.scene_summary.map_statistics`.
        opacity: of the colours, from 0 to 1.
        outline: whether to draw lines between classes.
        note: text of the last line.
    """
    size = picture.valid.shape
    with open_map(labels) as file:
        small = file.read(1, out_shape=size)  # from an overview if there is one; never averaged
        ground = Georeference.from_rasterio(file.transform, file.crs)
        middle = file.width / 2, file.height / 2
        reduction = file.width / size[1]  # raster pixels per picture pixel
    palette = np.array(vocabulary.palette, np.uint8)
    image = blend(picture.pixels, small, palette, opacity, outline)
    return annotate(image, palette, rows, ground, middle, reduction, note)


def annotate(
    image: Image.Image,
    palette: NDArray[np.uint8],
    rows: Sequence[Mapping[str, Any]],
    ground: Georeference | None,
    middle: tuple[float, float],
    reduction: float = 1.0,
    note: str = "",
) -> Image.Image:
    """Adds scale bar and north arrow (if known) and the legend below a picture of a map.

    Args:
        image: RGB.
        palette: (C, 3) uint8 RGB.
        rows: as of `scene_overlay`.
        ground: georeference of the map, or None.
        middle: (column, row) of the map for which scale and north are shown.
        reduction: map pixels per picture pixel.
        note: text of the last line.
    """
    annotated = enlarged(image)
    if ground is not None:
        metres = ground.distance_m(*middle)
        pixel_m = metres and metres * reduction * image.width / annotated.width
        annotated = add_scale_bar(annotated, pixel_m, ground.north_angle(*middle))
    shares = [_describe_share(row) for row in rows]
    return with_legend(annotated, [row["name"] for row in rows], palette, shares, note)


def _describe_share(row: Mapping[str, Any]) -> str:
    percent = f"{row['percent']:.1f} %"
    return percent if row["area_m2"] is None else f"{percent}   {hectares(row['area_m2'])} ha"


def add_scale_bar(picture: Image.Image, pixel_m: float | None, north: float | None) -> Image.Image:
    """Adds a strip with scale bar and north arrow below a picture.

    Args:
        picture: RGB.
        pixel_m: metres per pixel; None: no scale bar.
        north: direction of north in radians, clockwise from the top; None: no arrow.
    """
    if pixel_m is None and north is None:
        return picture
    size = text_size(picture)
    font = ImageFont.load_default(size)
    pad, middle = round(1.2 * size), picture.height + round(1.6 * size)
    length, text = 0, ""
    if pixel_m is not None:
        bar_m = round_length(pixel_m * max(picture.width / 4, 6 * size))
        length, text = round(bar_m / pixel_m), length_text(bar_m)
    arrow = pad + length + round(font.getlength(text)) + 3 * size  # centre of the arrow
    canvas = Image.new("RGB", (max(picture.width, arrow + 3 * size), picture.height + round(2.6 * size)), PAPER)
    canvas.paste(picture, ((canvas.width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    if length:
        half, line = max(2, size // 4), max(1, size // 14)
        draw.rectangle((pad, middle - half, pad + length, middle + half), fill=PAPER, outline=INK, width=line)
        draw.rectangle((pad, middle - half, pad + length // 2, middle + half), fill=INK)
        draw.text((pad + length + 0.6 * size, middle), text, fill=INK, font=font, anchor="lm")
    if north is not None:
        corners = ((0, -1), (0.55, 0.8), (0, 0.4), (-0.55, 0.8))  # in units of the text's size, to the top
        cos, sin = math.cos(north) * size, math.sin(north) * size
        draw.polygon([(arrow + x * cos - y * sin, middle + x * sin + y * cos) for x, y in corners], fill=INK)
        draw.text((arrow + 1.2 * size, middle), "N", fill=INK, font=font, anchor="lm")
    return canvas


def round_length(longest_m: float) -> float:
    """Returns the largest of 1, 2, 5, 10, 20, ... metres (also 0.5, 0.2, ...) that is not longer."""
    power: float = 10.0 ** math.floor(math.log10(longest_m))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= longest_m)


def length_text(length_m: float) -> str:
    """Formats a length in a suitable unit."""
    for unit, metres in (("km", 1000.0), ("m", 1.0), ("cm", 0.01)):
        if length_m >= metres:
            return f"{length_m / metres:g} {unit}"
    return f"{length_m * 1000:g} mm"
