"""Parser of TIFF directories: finds the page of the image and interprets its tags."""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from segearth.tiff.tags import (
    BANDS,
    BITS,
    CMYK,
    COLOURS,
    COMPRESSION,
    DECODING,
    EXTRA,
    FORMAT,
    GDAL,
    GEOKEYS,
    HEIGHT,
    INTEGERS,
    LAB,
    METADATA,
    ORIENTATION,
    PALETTE,
    PHOTOMETRIC,
    PLANAR,
    RGB,
    SIZES,
    STRIP_OFFSETS,
    SUBFILE,
    TILE_OFFSETS,
    WIDTH,
    YCBCR,
)

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
MAX_PAGES = 10_000  # limit for counting
_REDUCED, _MASK = 1, 4  # bits of the tag NewSubfileType
PHOTOMETRIC_NAMES = {  # by photometric interpretation
    **{0: "gray, white is 0", 1: "gray", 2: "RGB", 3: "a palette", 4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab"},
    **{9: "ICCLab", 10: "ITULab", 32803: "a colour filter array", 32844: "LogL", 32845: "LogLuv"},
}
_SAMPLE_FORMATS = {1: "unsigned", 2: "signed", 3: "float", 4: "unsigned", 5: "complex", 6: "complex"}  # 4: undefined
_COLOUR_ROLE = re.compile(rb'name="COLORINTERP" sample="(\d{1,5})" role="colorinterp">(\w+)<')  # in GDAL's XML


class Damaged(Exception):  # noqa: N818 (callers convert it to a UserError)
    """The file is inconsistent or truncated."""


@dataclass(frozen=True)
class Page:
    """The image page of a TIFF.

    Attributes:
        size: (height, width) as stored.
        bits: bits per sample of each band.
        kind: sample format: "unsigned", "signed", "float" or "complex".
        photometric: TIFF number of the photometric interpretation, or None.
        compression: TIFF number of the compression.
        planar: whether bands are stored one after the other.
        extra: TIFF numbers of the extra samples: 1 or 2 for alpha, else 0.
        colours: indices of the bands red, green and blue, from 0; None if neither tags nor GDAL metadata name them.
        orientation: EXIF number of the orientation; 1 is upright.
        geokeys: whether it has GeoKeys.
        sparse: whether strips or tiles are missing (offset 0).
        pages: number of images in the file, without masks and overviews.
        tags: tags that a decoder needs: number -> (type, values as bytes).
        order: byte order, "<" or ">".
    """

    size: tuple[int, int]
    bits: tuple[int, ...]
    kind: str
    photometric: int | None
    compression: int
    planar: bool
    extra: tuple[int, ...]
    colours: tuple[int, int, int] | None
    orientation: int
    geokeys: bool
    sparse: bool
    pages: int
    tags: dict[int, tuple[int, bytes]]
    order: str

    @property
    def alpha(self) -> bool:
        """Whether the last band is alpha."""
        return bool(self.extra) and self.extra[-1] in (1, 2)

    @property
    def interpretation(self) -> str:
        """Photometric interpretation in words."""
        if self.photometric is None:
            return "not said what"
        return PHOTOMETRIC_NAMES.get(self.photometric, f"photometric interpretation {self.photometric}")

    @property
    def has_pillow_colours(self) -> bool:
        """Whether Pillow itself converts its colours to RGB: gray, palette, CMYK, YCbCr, CIELab."""
        if self.photometric in (PALETTE, CMYK, YCBCR, LAB):
            return True
        return self.photometric != RGB and self.bands == 1

    @property
    def bands(self) -> int:
        """Number of bands without alpha."""
        return len(self.bits) - self.alpha


def read_page(file: BinaryIO, count: bool = True) -> Page:
    """Reads the directory of the first page that is neither a mask nor an overview, or else of the first page.

    Args:
        file: a TIFF file, open for reading.
        count: whether to count all pages; else `pages` is 1.

    Raises:
        Damaged: there is no readable page.
    """
    file.seek(0, io.SEEK_END)
    length = file.tell()
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    if len(head) < (16 if big else 8):
        raise Damaged("it ends in its header")
    (offset,) = struct.unpack(order + "Q", head[8:]) if big else struct.unpack(order + "I", head[4:8])
    visited: set[int] = set()
    first: dict[int, tuple[int, bytes]] | None = None
    chosen: dict[int, tuple[int, bytes]] | None = None
    pages = 0
    while offset and offset not in visited and len(visited) < MAX_PAGES and (count or chosen is None):
        visited.add(offset)
        try:
            tags, offset = _read_directory(file, offset, length, order, big)
        except Damaged:
            if first is None:
                raise
            break  # a later page, which is not needed
        first = first or tags
        if not _integer(tags, order, SUBFILE, 0) & (_REDUCED | _MASK):
            chosen = chosen or tags
            pages += 1
    if first is None:
        raise Damaged("it has no page")
    return _parse_page(chosen or first, order, max(1, pages))


def _read_directory(
    file: BinaryIO, offset: int, length: int, order: str, big: bool
) -> tuple[dict[int, tuple[int, bytes]], int]:
    """Reads the relevant tags of a page and the offset of the next directory (0 for none)."""
    counter, entry = ("Q", "HHQ8s") if big else ("H", "HHI4s")
    width = struct.calcsize("=" + entry)
    if offset + struct.calcsize("=" + counter) > length:
        raise Damaged("the directory of a page lies beyond its end")
    file.seek(offset)
    (number,) = struct.unpack(order + counter, file.read(struct.calcsize("=" + counter)))
    if number == 0 or number > (length - file.tell()) // width:
        raise Damaged("the directory of a page is cut off")
    entries = file.read(number * width)
    link = file.read(8 if big else 4)
    tags: dict[int, tuple[int, bytes]] = {}
    left = length
    for tag, kind, count, value in struct.iter_unpack(order + entry, entries):
        if tag in tags or tag not in DECODING | METADATA or kind not in SIZES:
            continue
        size = count * SIZES[kind]
        if size > len(value):
            (position,) = struct.unpack(order + ("Q" if big else "I"), value)
            left -= size  # limit on the total size of values, which may overlap in the file
            if position + size > length or left < 0:
                if tag in DECODING:
                    raise Damaged(f"the values of its tag {tag} lie beyond its end")
                continue
            file.seek(position)
            value = file.read(size)
        tags[tag] = (kind, value[:size])
    following = int.from_bytes(link, "little" if order == "<" else "big") if len(link) == (8 if big else 4) else 0
    return tags, following


def integers(tags: dict[int, tuple[int, bytes]], order: str, tag: int) -> tuple[int, ...]:
    """Returns the values of an integer tag; empty if it is missing."""
    kind, data = tags.get(tag, (1, b""))
    if kind not in INTEGERS:
        raise Damaged(f"its tag {tag} holds no whole numbers")
    return struct.unpack(f"{order}{len(data) // SIZES[kind]}{INTEGERS[kind]}", data)


def _integer(tags: dict[int, tuple[int, bytes]], order: str, tag: int, default: int) -> int:
    """Returns the first value of an integer tag, or a default."""
    return (*integers(tags, order, tag), default)[0]


def colour_bands(photometric: int, number: int, metadata: bytes) -> tuple[int, int, int] | None:
    """Returns the indices of the bands red, green and blue, from 0; None if neither tags nor GDAL metadata name them.

    Args:
        photometric: TIFF number of the photometric interpretation.
        number: number of bands.
        metadata: GDAL metadata XML; its colour interpretation takes precedence.
    """
    roles = {0: b"Red", 1: b"Green", 2: b"Blue"} if photometric == RGB else {}
    roles |= {int(band): role for band, role in _COLOUR_ROLE.findall(metadata) if int(band) < number}
    bands = {role: band for band, role in roles.items()}
    rgb = tuple(bands[role] for role in (b"Red", b"Green", b"Blue") if role in bands)
    return (rgb[0], rgb[1], rgb[2]) if len(set(rgb)) == 3 else None


def _parse_page(tags: dict[int, tuple[int, bytes]], order: str, pages: int) -> Page:
    """Interprets the tags of a page."""

    def integer(tag: int, default: int = 0) -> int:
        return _integer(tags, order, tag, default)

    size = integer(HEIGHT), integer(WIDTH)
    if min(size) < 1:
        raise Damaged("it has no size")
    compression = integer(COMPRESSION, 1)
    photometric = integer(PHOTOMETRIC, -1)
    bits = integers(tags, order, BITS) or (1,)
    number = integer(BANDS, len(bits))
    if not 0 < number < 2**16:
        raise Damaged(f"it has {number} bands")
    if len(bits) == 1:
        bits *= number
    elif len(bits) < number:
        raise Damaged(f"it has {number} bands and the depth of {len(bits)}")
    formats = sorted({*integers(tags, order, FORMAT)} - {1, 4})  # other than unsigned
    colours = COLOURS.get(photometric, 1)
    extra = integers(tags, order, EXTRA)[: number - colours] if number > colours else ()
    extra = (0,) * (number - colours - len(extra)) + extra
    return Page(
        size=size,
        bits=bits[:number],
        kind=_SAMPLE_FORMATS.get(formats[0], "unknown") if formats else "unsigned",
        photometric=None if photometric == -1 else photometric,
        compression=compression,
        planar=integer(PLANAR, 1) == 2 and number > 1,
        extra=extra,
        colours=colour_bands(photometric, number, tags.get(GDAL, (2, b""))[1]),
        orientation=integer(ORIENTATION, 1),
        geokeys=GEOKEYS in tags,
        sparse=any(0 in integers(tags, order, tag) for tag in (STRIP_OFFSETS, TILE_OFFSETS)),
        pages=pages,
        tags={tag: value for tag, value in tags.items() if tag in DECODING},
        order=order,
    )
