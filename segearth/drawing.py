"""Drawing: label maps with a palette, overlays of maps on images, legends."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from segearth.errors import UserNotice
from segearth.fonts import Font, fonts_for
from segearth.labels import NODATA_COLOUR, UNCLASSIFIED_COLOUR, label_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPACITY = 0.5
PANEL = 1024  # longest side of a panel of `side_by_side`
PAPER, INK = (255, 255, 255), (30, 30, 30)
_MUTED = (110, 110, 110)
_LEAST = 480  # longest side of an image with text, at least
_LONGEST, _MOST_COLUMNS = 24, 8  # of a legend: maximum width of a name in text sizes; maximum columns
_IGNORED, _STRIPE = (214, 214, 214), (236, 236, 236)


def label_image(labels: NDArray[np.integer], palette: NDArray[np.uint8]) -> Image.Image:
    """An image whose pixel values are the labels: mode P with up to 254 classes, else I;16 without colours.

    Args:
        labels: (H, W), 0 to C-1; of at most 254 classes also 254 (unclassified, shown grey) and 255 (nodata,
            white); of more, 65534 and 65535.
        palette: (C, 3) uint8 RGB.
    """
    values = label_values(len(palette))
    if values.type is np.uint16:
        return Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint16))
    image = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))  # mode L; a palette makes it P
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    colours[values.unclassified], colours[values.nodata] = UNCLASSIFIED_COLOUR, NODATA_COLOUR
    image.putpalette(colours.tobytes())
    return image


def blend(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.integer],
    palette: NDArray[np.uint8],
    opacity: float = OPACITY,
    outline: bool = False,
) -> Image.Image:
    """Blends the colours of a map over an image.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        labels: (H, W), 0 to C-1; other values, such as unclassified and nodata, stay uncoloured.
        palette: (C, 3) uint8 RGB.
        opacity: of the colours, from 0 (only the image) to 1 (only the map).
        outline: whether to draw a thin line between classes, darker than bright colours and lighter than dark ones.
    """
    image = Image.fromarray(pixels)
    known = (labels >= 0) & (labels < len(palette))
    colours = np.where(known[..., None], palette[np.where(known, labels, 0)], pixels)
    blended = Image.blend(image, Image.fromarray(colours.astype(np.uint8)), opacity)
    return Image.fromarray(_outlined(np.array(blended), _borders(labels))) if outline else blended


def _borders(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(H, W) borders between classes: one pixel wide, wider on images of more than 1500 pixels a side."""
    borders = np.zeros(labels.shape, np.bool_)
    borders[1:] |= labels[1:] != labels[:-1]
    borders[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    width = 1 + 2 * round(max(labels.shape) / 3000)  # odd, as required by the filter
    if width == 1:
        return borders
    return np.asarray(Image.fromarray(borders).convert("L").filter(ImageFilter.MaxFilter(width))) > 0


def _outlined(pixels: NDArray[np.uint8], borders: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draws borders (H, W) into pixels (H, W, 3), darker than bright ground and lighter than dark ground."""
    ground = pixels[borders].astype(np.float32)
    dark = ground.mean(axis=1, keepdims=True) < 60
    pixels[borders] = np.where(dark, 0.5 * ground + 100, 0.35 * ground)
    return pixels


def side_by_side(
    pixels: NDArray[np.uint8],
    maps: Mapping[str, NDArray[np.integer]],
    names: Sequence[str],
    palette: NDArray[np.uint8],
    note: str = "",
) -> Image.Image:
    """An image and maps of it side by side, each below its title, with a common legend.

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
    row = Image.new("RGB", (len(panels) * (size[0] + gap) - gap, size[1] + top), PAPER)
    draw = ImageDraw.Draw(row)
    for i, (title, panel) in enumerate(panels.items()):
        x = i * (size[0] + gap)
        row.paste(panel, (x, top))
        draw.text((x + size[0] / 2, top / 2), title, fill=INK, font=ImageFont.load_default(text), anchor="mm")
    ignored = any(bool((values >= len(names)).any()) for values in maps.values())
    return with_legend(row, [*names, "ignored"] if ignored else names, palette, note=note)


def _coloured(values: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Image.Image:
    """A label map in the colours of its classes, with diagonal stripes for other values."""
    known = values < len(palette)
    y, x = np.indices(values.shape)
    stripes = np.where(((x + y) // 6 % 2 == 0)[..., None], np.array(_IGNORED), np.array(_STRIPE))
    return Image.fromarray(np.where(known[..., None], palette[np.where(known, values, 0)], stripes).astype(np.uint8))


def with_legend(
    picture: Image.Image, names: Sequence[str], palette: NDArray[np.uint8], values: Sequence[str] = (), note: str = ""
) -> Image.Image:
    """Adds a legend below a picture, in as many columns as fit; a long legend widens the picture.

    Args:
        picture: RGB; small ones are enlarged (nearest neighbour) so that the legend can be read.
        names: text of each entry, shortened where it is very long. Entries beyond the palette, such as
            "unclassified", have no colour: their swatches are hatched. Where no font has the glyphs, the
            entry's index stands in place of the name, and a `UserNotice` says so.
        palette: (C, 3) uint8 RGB, C at most len(names).
        values: a short text after each name, such as its share of the area.
        note: a last line in grey.
    """
    picture = enlarged(picture)
    size = text_size(picture)
    font = ImageFont.load_default(size)
    texts = [(_shortened(text, name_font, _LONGEST * size), name_font) for text, name_font in _drawable(names, size)]
    name_width = round(max([name_font.getlength(text) for text, name_font in texts], default=0))
    value_width = round(max([font.getlength(value) + size for value in values], default=0))
    gap, pad, row = 2 * size, round(1.2 * size), round(1.75 * size)
    column = round(1.6 * size) + name_width + value_width + gap  # swatch, name, value
    rows, columns = _grid(len(texts), column, row, (picture.width - 2 * pad + gap, picture.height))
    width = max(picture.width, columns * column - gap + 2 * pad, round(font.getlength(note)) + 2 * pad)
    canvas = Image.new("RGB", (width, picture.height + 2 * pad + (rows + bool(note)) * row - (row - size)), PAPER)
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    for i, (text, name_font) in enumerate(texts):
        x, y = pad + i // rows * column, picture.height + pad + i % rows * row
        canvas.paste(_swatch(size, palette[i] if i < len(palette) else None), (x, y))
        draw.text((x + 1.6 * size, y + size / 2), text, fill=INK, font=name_font, anchor="lm")
        if values:
            draw.text((x + column - gap, y + size / 2), values[i], fill=_MUTED, font=font, anchor="rm")
    if note:
        draw.text((pad, picture.height + pad + rows * row + size / 2), note, fill=_MUTED, font=font, anchor="lm")
    return canvas


def enlarged(picture: Image.Image) -> Image.Image:
    """Enlarges a small picture by an integer factor, so that text beside it can be read."""
    factor = -(-_LEAST // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def text_size(picture: Image.Image) -> int:
    """The size of text beside a picture, in pixels."""
    return max(14, round(min(picture.width, 2 * picture.height) / 55))


def _drawable(names: Sequence[str], size: int) -> list[tuple[str, Font]]:
    """The text of each legend entry and its font: the name, or its index where no font has the glyphs."""
    fonts = fonts_for(names, size)
    if missing := [i for i, font in enumerate(fonts) if font is None]:
        warnings.warn(
            f"no font here has the characters of {', '.join(repr(names[i]) for i in missing)}: the legend shows "
            f"{', '.join(map(str, missing))} instead, and the table has the names; install a font with these "
            "characters, such as one of the Noto fonts, to see them in the legend",
            UserNotice,
            stacklevel=3,
        )
    default = ImageFont.load_default(size)
    return [(str(i), default) if font is None else (names[i], font) for i, font in enumerate(fonts)]


def _grid(count: int, column: int, row: int, room: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a legend: as many columns as fit, more if it would be higher than wide.

    Args:
        count: number of entries.
        column: width of an entry.
        row: height of an entry.
        room: width and height of the picture.
    """
    columns = min(_MOST_COLUMNS, max(1, room[0] // column))
    while -(-count // columns) * row > max(room[1], columns * column):
        columns += 1
    rows = -(-count // columns)
    return rows, -(-count // max(1, rows))


def _shortened(text: str, font: Font, width: int) -> str:
    """Shortens a text to a width, with dots at its end."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def _swatch(size: int, colour: NDArray[np.uint8] | None) -> Image.Image:
    """A square of a colour with a border; None: hatched."""
    if colour is None:
        y, x = np.indices((size, size))
        stripe = max(2, size // 5)
        return _framed(np.where((((x + y) // stripe) % 2 == 0)[..., None], np.array(_IGNORED), np.array(PAPER)))
    return _framed(np.broadcast_to(colour, (size, size, 3)))


def _framed(pixels: NDArray[np.integer]) -> Image.Image:
    """An image of pixels (S, S, 3) with a grey border."""
    image = Image.fromarray(pixels.astype(np.uint8))
    ImageDraw.Draw(image).rectangle(
        (0, 0, image.width - 1, image.height - 1), outline=_MUTED, width=max(1, image.width // 20)
    )
    return image
