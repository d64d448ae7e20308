"""Pictures for people: label maps with their palette, and maps laid over images with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segearth.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPACITY = 0.5
_PAPER, _INK, _MUTED = (255, 255, 255), (30, 30, 30), (110, 110, 110)


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
