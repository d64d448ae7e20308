"""A picture of a scene for people: small, with the map over it, a legend, a scale bar and north."""

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
from segearth.scenes.assemble import opened
from segearth.scenes.georeference import Ground
from segearth.scenes.raster import Raster, ReadFailed
from segearth.summary import hectares
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.scenes.resampling import Pixels
    from segearth.vocabulary import Vocabulary

LONGEST = 2048  # side of a picture
_READ = 1024  # side of what is read at once


class Thumbnail(NamedTuple):
    """A small picture of a raster.

    Attributes:
        pixels: (h, w, 3) uint8 RGB; white where nothing is valid.
        valid: (h, w) bool.
    """

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]


def thumbnail(read: Callable[[Window], Pixels], area: Window, longest: int = LONGEST) -> Thumbnail:
    """A raster made small by a whole number, each pixel the mean of all that it covers.

    Args:
        read: gives any part of the raster.
        area: which part, in pixels of the raster.
        longest: side of the picture, at most.
    """
    height, width = area.bottom - area.top, area.right - area.left
    factor = -(-max(height, width) // longest)
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    valid = np.empty(pixels.shape[:2], bool)
    step = max(1, _READ // factor) * factor
    for top in range(0, height, step):
        for left in range(0, width, step):
            bottom, right = min(height, top + step), min(width, left + step)
            colours, known = read(Window(area.top + top, area.top + bottom, area.left + left, area.left + right))
            image = Image.fromarray(np.ascontiguousarray(np.rint(colours).astype(np.uint8).transpose(1, 2, 0)))
            mask = Image.fromarray(np.where(known, 255, 0).astype(np.uint8))
            place = slice(top // factor, -(-bottom // factor)), slice(left // factor, -(-right // factor))
            pixels[place] = np.asarray(image.reduce(factor))
            valid[place] = np.asarray(mask.reduce(factor)) > 127
    pixels[~valid] = PAPER
    return Thumbnail(pixels, valid)


def picture_of(raster: Raster, area: Window, longest: int = LONGEST) -> tuple[Thumbnail, list[str]]:
    """A small picture of a part of a raster as far as it can be had: it is no reason to lose a map that is computed.

    What lies on a network is not read a second time, unless it is small or has overviews.

    Args:
        raster: open, with its spec.
        area: in its pixels.
        longest: side of the picture, at most.

    Returns:
        The picture, white where it could not be read; and remarks, one sentence each.
    """
    remarks: list[str] = []

    def blank(window: Window) -> Pixels:
        shape = window.bottom - window.top, window.right - window.left
        return np.full((3, *shape), 255, np.uint8), np.zeros(shape, bool)

    def read(window: Window) -> Pixels:
        try:
            return some.read(window)
        except ReadFailed:
            remarks[:] = [f"parts of {raster.name} could not be read for the overlay, which is white there"]
            return blank(window)

    with ExitStack() as files:
        some = raster
        factor = max(area.bottom - area.top, area.right - area.left) / longest
        if raster.is_remote and factor > 2:
            try:
                some = files.enter_context(raster.smaller(factor))
            except UserError:
                return thumbnail(blank, area, longest), [
                    f"the overlay shows the map alone: {raster.name} would have been read once more for it"
                ]
            area = Area(area).scaled(raster.size, some.size).window
        return thumbnail(read, area, longest), remarks


def scene_overlay(
    picture: Thumbnail,
    labels: Path,
    vocabulary: Vocabulary,
    rows: Sequence[Mapping[str, Any]],
    opacity: float = OPACITY,
    outline: bool = True,
    note: str = "",
) -> Image.Image:
    """The picture with the map over it; below it a scale bar and north, where they are known, and the legend.

    Args:
        picture: of the input, the same ground as the map's.
        labels: the finished raster of labels.
        vocabulary: its classes.
        rows: its figures, see `segearth.scenes.scene_summary.map_figures`.
        opacity: of the colours, from 0 to 1.
        outline: whether a line parts the classes.
        note: the last line.
    """
    size = picture.valid.shape
    with opened(labels) as file:
        small = file.read(1, out_shape=size)  # of an overview, where there is one: no mean of labels
        ground = Ground.of(file.transform, file.crs)
        middle = file.width / 2, file.height / 2
        wide = file.width / size[1]  # pixels of the raster for one of the picture
    palette = np.array(vocabulary.palette, np.uint8)
    image = blend(picture.pixels, small, palette, opacity, outline)
    return explained(image, palette, rows, ground, middle, wide, note)


def explained(
    image: Image.Image,
    palette: NDArray[np.uint8],
    rows: Sequence[Mapping[str, Any]],
    ground: Ground | None,
    middle: tuple[float, float],
    wide: float = 1.0,
    note: str = "",
) -> Image.Image:
    """A picture of a map with a scale bar and north, where they are known, and the legend below it.

    Args:
        image: RGB.
        palette: (C, 3) uint8 RGB.
        rows: as of `scene_overlay`.
        ground: where the map lies, if that is known.
        middle: (column, row) of the map whose scale and north are shown.
        wide: pixels of the map for one of the picture.
        note: the last line.
    """
    shown = enlarged(image)
    if ground is not None:
        metres = ground.metres(*middle)
        pixel_m = metres and metres * wide * image.width / shown.width
        shown = with_scale(shown, pixel_m, ground.north(*middle))
    shares = [_share(row) for row in rows]
    return with_legend(shown, [row["name"] for row in rows], palette, shares, note)


def _share(row: Mapping[str, Any]) -> str:
    percent = f"{row['percent']:.1f} %"
    return percent if row["area_m2"] is None else f"{percent}   {hectares(row['area_m2'])} ha"


def with_scale(picture: Image.Image, pixel_m: float | None, north: float | None) -> Image.Image:
    """A picture with a strip below it.

    Args:
        picture: RGB.
        pixel_m: metres from one pixel to the next, which gives a scale bar; or None.
        north: radians, clockwise from the top, which gives an arrow; or None.
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
    arrow = pad + length + round(font.getlength(text)) + 3 * size  # its centre
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
    """The largest of 1, 2, 5, 10, 20, ... metres, or of their parts, that is not longer."""
    power: float = 10.0 ** math.floor(math.log10(longest_m))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= longest_m)


def length_text(length_m: float) -> str:
    """A length in the unit that suits it."""
    for unit, metres in (("km", 1000.0), ("m", 1.0), ("cm", 0.01)):
        if length_m >= metres:
            return f"{length_m / metres:g} {unit}"
    return f"{length_m * 1000:g} mm"
