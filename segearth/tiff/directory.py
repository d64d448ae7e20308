"""The directory of a TIFF: which page is the image, and what its tags say together."""

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
    ORIENTATION,
    OURS,
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
MOST_PAGES = 10_000  # that are counted
_REDUCED, _MASK = 1, 4  # bits of the kind of a page
KINDS_OF_BANDS = {  # by photometric interpretation
    **{0: "gray, white is 0", 1: "gray", 2: "RGB", 3: "a palette", 4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab"},
    **{9: "ICCLab", 10: "ITULab", 32803: "a colour filter array", 32844: "LogL", 32845: "LogLuv"},
}
_KINDS = {1: "unsigned", 2: "signed", 3: "float", 4: "unsigned", 5: "complex", 6: "complex"}  # 4: undefined
_ROLE = re.compile(rb'name="COLORINTERP" sample="(\d{1,5})" role="colorinterp">(\w+)<')  # in GDAL's XML


class Damaged(Exception):  # noqa: N818 (what the file is; the caller makes the user's error of it)
    """A file that contradicts itself, or ends early."""


@dataclass(frozen=True)
class Page:
    """The page of a TIFF that is its image.

    Attributes:
        size: (height, width) as stored.
        bits: of each band.
        kind: of number: "unsigned", "signed", "float" or "complex".
        photometric: what the bands are, as TIFF numbers it; None where it is not said.
        compression: as TIFF numbers it.
        planar: whether bands lie one after the other.
        extra: what the bands beyond the colours are: 1 or 2 for alpha, else 0.
        colours: bands that are red, green and blue, from 0 on; None where neither tags nor GDAL say it.
        orientation: as EXIF numbers it, 1 is upright.
        geokeys: whether it has coordinates.
        sparse: whether strips or tiles were left out, which stand at place 0.
        pages: how many images the file has, without masks and overviews.
        tags: what a decoder needs: number -> (type, values as bytes).
        order: "<" or ">" of the bytes.
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
        """Whether the last band is transparency."""
        return bool(self.extra) and self.extra[-1] in (1, 2)

    @property
    def interpretation(self) -> str:
        """What its bands are, as a word."""
        if self.photometric is None:
            return "not said what"
        return KINDS_OF_BANDS.get(self.photometric, f"photometric interpretation {self.photometric}")

    @property
    def is_plain(self) -> bool:
        """Whether its bands are colours of another kind than RGB: gray, a palette, CMYK, and so on."""
        if self.photometric in (PALETTE, CMYK, YCBCR, LAB):
            return True
        return self.photometric != RGB and self.bands == 1

    @property
    def bands(self) -> int:
        """How many bands are not transparency."""
        return len(self.bits) - self.alpha


def read_page(file: BinaryIO, count: bool = True) -> Page:
    """Reads the directory of the first page that is neither a mask nor an overview; else of the first page.

    Args:
        file: a TIFF.
        count: whether to look at all pages; else `pages` is 1.

    Raises:
        Damaged: there is none.
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
    seen: set[int] = set()
    first: dict[int, tuple[int, bytes]] | None = None
    chosen: dict[int, tuple[int, bytes]] | None = None
    pages = 0
    while offset and offset not in seen and len(seen) < MOST_PAGES and (count or chosen is None):
        seen.add(offset)
        try:
            tags, offset = _directory(file, offset, length, order, big)
        except Damaged:
            if first is None:
                raise
            break  # a page that is not needed
        first = first or tags
        if not _integer(tags, order, SUBFILE, 0) & (_REDUCED | _MASK):
            chosen = chosen or tags
            pages += 1
    if first is None:
        raise Damaged("it has no page")
    return _page(chosen or first, order, max(1, pages))


def _directory(
    file: BinaryIO, offset: int, length: int, order: str, big: bool
) -> tuple[dict[int, tuple[int, bytes]], int]:
    """The tags of a page that matter here, and where the next page's begin; 0 for none."""
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
        if tag in tags or tag not in DECODING | OURS or kind not in SIZES:
            continue
        size = count * SIZES[kind]
        if size > len(value):
            (at,) = struct.unpack(order + ("Q" if big else "I"), value)
            left -= size  # values that lie over each other could be more than the file
            if at + size > length or left < 0:
                if tag in DECODING:
                    raise Damaged(f"the values of its tag {tag} lie beyond its end")
                continue
            file.seek(at)
            value = file.read(size)
        tags[tag] = (kind, value[:size])
    following = int.from_bytes(link, "little" if order == "<" else "big") if len(link) == (8 if big else 4) else 0
    return tags, following


def integers(tags: dict[int, tuple[int, bytes]], order: str, tag: int) -> tuple[int, ...]:
    """The values of a tag; none where it is not there."""
    kind, data = tags.get(tag, (1, b""))
    if kind not in INTEGERS:
        raise Damaged(f"its tag {tag} holds no whole numbers")
    return struct.unpack(f"{order}{len(data) // SIZES[kind]}{INTEGERS[kind]}", data)


def _integer(tags: dict[int, tuple[int, bytes]], order: str, tag: int, default: int) -> int:
    """The value of a tag that has one."""
    return (*integers(tags, order, tag), default)[0]


def colour_bands(photometric: int, number: int, metadata: bytes) -> tuple[int, int, int] | None:
    """Which of a number of bands are red, green and blue, from 0 on; None where neither tags nor GDAL say it.

    Args:
        photometric: what the bands are, as TIFF numbers it.
        number: of the bands.
        metadata: GDAL's XML; where it names colours it decides.
    """
    roles = {0: b"Red", 1: b"Green", 2: b"Blue"} if photometric == RGB else {}
    roles |= {int(band): role for band, role in _ROLE.findall(metadata) if int(band) < number}
    places = {role: band for band, role in roles.items()}
    rgb = tuple(places[role] for role in (b"Red", b"Green", b"Blue") if role in places)
    return (rgb[0], rgb[1], rgb[2]) if len(set(rgb)) == 3 else None


def _page(tags: dict[int, tuple[int, bytes]], order: str, pages: int) -> Page:
    """What the tags say together."""

    def one(tag: int, default: int = 0) -> int:
        return _integer(tags, order, tag, default)

    size = one(HEIGHT), one(WIDTH)
    if min(size) < 1:
        raise Damaged("it has no size")
    compression = one(COMPRESSION, 1)
    photometric = one(PHOTOMETRIC, -1)
    bits = integers(tags, order, BITS) or (1,)
    number = one(BANDS, len(bits))
    if not 0 < number < 2**16:
        raise Damaged(f"it has {number} bands")
    if len(bits) == 1:
        bits *= number
    elif len(bits) < number:
        raise Damaged(f"it has {number} bands and the depth of {len(bits)}")
    unlike = sorted({*integers(tags, order, FORMAT)} - {1, 4})
    colours = COLOURS.get(photometric, 1)
    extra = integers(tags, order, EXTRA)[: number - colours] if number > colours else ()
    extra = (0,) * (number - colours - len(extra)) + extra
    return Page(
        size=size,
        bits=bits[:number],
        kind=_KINDS.get(unlike[0], "unknown") if unlike else "unsigned",
        photometric=None if photometric == -1 else photometric,
        compression=compression,
        planar=one(PLANAR, 1) == 2 and number > 1,
        extra=extra,
        colours=colour_bands(photometric, number, tags.get(GDAL, (2, b""))[1]),
        orientation=one(ORIENTATION, 1),
        geokeys=GEOKEYS in tags,
        sparse=any(0 in integers(tags, order, tag) for tag in (STRIP_OFFSETS, TILE_OFFSETS)),
        pages=pages,
        tags={tag: value for tag, value in tags.items() if tag in DECODING},
        order=order,
    )
