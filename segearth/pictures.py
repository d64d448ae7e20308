"""Pictures for people: label maps with their palette, and maps laid over images with a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segearth.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPACITY = 0.5
PANEL = 1024  # longest side of a panel of `side_by_side`
_PAPER, _INK, _MUTED = (255, 255, 255), (30, 30, 30), (110, 110, 110)
_IGNORED, _STRIPE = (214, 214, 214), (236, 236, 236)


def label_image(labels: NDArray[np.integer], palette: NDArray[np.uint8]) -> Image.Image:
    """A palette image whose pixel values are the class indices.

    Args:
        labels: (H, W), 0 to C-1, at most 256 classes.
        palette: (C, 3) uint8 RGB.

    Raises:
        UserError: more classes than a palette image holds.
    """
    if len(palette) > 256:
        raise UserError(
            f"{len(palette)} classes do not fit a palette image, which holds 256: use fewer classes, "
            "or predict() from Python, whose labels have no such limit"
        )
    image = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))  # mode L; a palette makes it P
    image.putpalette(np.ascontiguousarray(palette, dtype=np.uint8).tobytes())
    return image


def blend(pixels: NDArray[np.uint8], labels: NDArray[np.integer], palette: NDArray[np.uint8]) -> Image.Image:
    """The image with the map's colours over it, half transparent.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        labels: (H, W), 0 to C-1; other values stay uncoloured.
        palette: (C, 3) uint8 RGB.
    """
    image = Image.fromarray(pixels)
    known = labels < len(palette)
    colours = np.where(known[..., None], palette[np.where(known, labels, 0)], pixels)
    return Image.blend(image, Image.fromarray(colours.astype(np.uint8)), OPACITY)


def side_by_side(
    pixels: NDArray[np.uint8],
    maps: Mapping[str, NDArray[np.integer]],
    names: Sequence[str],
    palette: NDArray[np.uint8],
    note: str = "",
) -> Image.Image:
    """An image and maps of it beside each other, each below its title, with one legend.

    Args:
        pixels: (H, W, 3) uint8 RGB; large ones are shrunk to `PANEL`, small ones enlarged.
        maps: title -> (H, W) 0 to C-1; other values, such as ignored pixels, are hatched grey.
        names: of the C classes.
        palette: (C, 3) uint8 RGB.
        note: a last line in grey.
    """
    height, width = pixels.shape[:2]
    factor = PANEL / max(height, width) if max(height, width) > PANEL else -(-320 // max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    kind = Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST
    panels = {"image": Image.fromarray(pixels).resize(size, kind)}
    for title, values in maps.items():
        shrunk = Image.fromarray(values.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        panels[title] = _coloured(np.asarray(shrunk), palette)
    gap, text = 12, max(14, size[0] // 28)
    top = round(1.8 * text)
    row = Image.new("RGB", (len(panels) * (size[0] + gap) - gap, size[1] + top), _PAPER)
    draw = ImageDraw.Draw(row)
    for i, (title, panel) in enumerate(panels.items()):
        x = i * (size[0] + gap)
        row.paste(panel, (x, top))
        draw.text((x + size[0] / 2, top / 2), title, fill=_INK, font=ImageFont.load_default(text), anchor="mm")
    ignored = any(bool((values >= len(names)).any()) for values in maps.values())
    shown = [*names, "ignored"] if ignored else list(names)
    colours = np.concatenate([palette, np.array([_IGNORED], np.uint8)]) if ignored else palette
    return with_legend(row, shown, colours, note=note)


def _coloured(values: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Image.Image:
    """A label map in the classes' colours; diagonal stripes where a value is no class."""
    known = values < len(palette)
    y, x = np.indices(values.shape)
    stripes = np.where(((x + y) // 6 % 2 == 0)[..., None], np.array(_IGNORED), np.array(_STRIPE))
    return Image.fromarray(np.where(known[..., None], palette[np.where(known, values, 0)], stripes).astype(np.uint8))


def with_legend(
    picture: Image.Image, names: Sequence[str], palette: NDArray[np.uint8], values: Sequence[str] = (), note: str = ""
) -> Image.Image:
    """A picture with a legend below it, in columns as the width allows.

    Args:
        picture: RGB; small ones are enlarged (nearest neighbour) so that the legend can be read.
        names: text of each entry.
        palette: (len(names), 3) uint8 RGB.
        values: a short text after each name, such as its share of the area.
        note: a last line in grey.
    """
    least = 480
    if max(picture.size) < least:
        factor = -(-least // max(picture.size))
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    size = min(28, max(14, round(picture.width / 50)))
    font = ImageFont.load_default(size)
    texts = [f"{name}  {value}".rstrip() for name, value in zip(names, values or [""] * len(names), strict=True)]
    row, pad = round(1.7 * size), size
    column = max([round(font.getlength(text)) for text in texts], default=0) + 3 * size
    width = max(picture.width, column + 2 * pad, round(font.getlength(note)) + 2 * pad)
    columns = max(1, (width - 2 * pad) // column)
    rows = -(-len(texts) // columns)
    lines = rows + bool(note)
    canvas = Image.new("RGB", (width, picture.height + 2 * pad + lines * row), _PAPER)
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    for i, text in enumerate(texts):
        x = pad + (i // rows) * column
        y = picture.height + pad + (i % rows) * row
        draw.rectangle([x, y, x + size, y + size], fill=tuple(palette[i].tolist()), outline=_MUTED)
        draw.text((x + 1.6 * size, y + size / 2), text, fill=_INK, font=font, anchor="lm")
    if note:
        draw.text((pad, picture.height + pad + rows * row + size / 2), note, fill=_MUTED, font=font, anchor="lm")
    return canvas
