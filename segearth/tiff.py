"""TIFF: which page, which bands, and why not; what can be read goes to Pillow as the plain TIFF that it knows.

Pillow goes by a table of known combinations of tags and knows neither masks beside an image nor bands without a
colour. So the directory of the image's page is read here, judged, and written anew in memory, before the same pixels.
"""

from __future__ import annotations

import functools
import io
import re
import shutil
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from segearth.errors import UserError

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
LAST_OFFSET = 2**32 - 2**24  # of classic TIFF, less room for a directory
COORDINATES = "has coordinates, which its map does not keep"  # a remark
MOST_PAGES = 10_000  # that are counted

# Tags of TIFF 6.0, its supplements, GeoTIFF 1.1 and GDAL.
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _BANDS, _STRIP_BYTES, _PLANAR = 273, 274, 277, 279, 284
_TILE_OFFSETS, _TILE_BYTES, _EXTRA, _FORMAT, _GEOKEYS, _GDAL = 324, 325, 338, 339, 34735, 42112
# What a decoder needs: also of fax, LZW's predictor, palettes, tiles, JPEG of both kinds and YCbCr.
_DECODING = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, _STRIP_OFFSETS, _BANDS, 278, _STRIP_BYTES, _PLANAR}
    | {292, 293, 317, 320, 322, 323, _TILE_OFFSETS, _TILE_BYTES, _EXTRA, _FORMAT, 347}
    | {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
)
_OURS = frozenset((_SUBFILE, _ORIENTATION, _GEOKEYS, _GDAL))
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_SHORT, _LONG = 3, 4

_REDUCED, _MASK = 1, 4  # bits of the kind of a page
_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS = {_MINISWHITE: 1, _MINISBLACK: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _LAB: 3}  # bands of each
KINDS_OF_BANDS = {  # by photometric interpretation
    **{0: "gray, white is 0", 1: "gray", 2: "RGB", 3: "a palette", 4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab"},
    **{9: "ICCLab", 10: "ITULab", 32803: "a colour filter array", 32844: "LogL", 32845: "LogLuv"},
}
_PLAIN = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946)  # none, fax, LZW, JPEG, deflate, PackBits: every libtiff has them
_FAX = (2, 3, 4)  # white is 0 where nothing is said
_BUILT_IN = {34925: "lzma", 50000: "zstd"}  # by most
_COMPRESSIONS = {34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}
_COMPRESSIONS |= {33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34892: "lossy JPEG of DNG"}
_KINDS = {1: "unsigned", 2: "signed", 3: "float", 4: "unsigned", 5: "complex", 6: "complex"}  # 4: undefined
_PILLOWS_BANDS = 6  # the most that Pillow reads of a pixel
_ROLE = re.compile(rb'name="COLORINTERP" sample="(\d{1,5})" role="colorinterp">(\w+)<')  # in GDAL's XML

_TO_THREE = "gdal_translate -b 1 -b 2 -b 3 in.tif out.tif"
TO_BYTE = "stretch it to 8 bits first, for example: gdal_translate -ot Byte -scale in.tif out.tif"


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
        if not _integer(tags, order, _SUBFILE, 0) & (_REDUCED | _MASK):
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
        if tag in tags or tag not in _DECODING | _OURS or kind not in _SIZES:
            continue
        size = count * _SIZES[kind]
        if size > len(value):
            (at,) = struct.unpack(order + ("Q" if big else "I"), value)
            left -= size  # values that lie over each other could be more than the file
            if at + size > length or left < 0:
                if tag in _DECODING:
                    raise Damaged(f"the values of its tag {tag} lie beyond its end")
                continue
            file.seek(at)
            value = file.read(size)
        tags[tag] = (kind, value[:size])
    following = int.from_bytes(link, "little" if order == "<" else "big") if len(link) == (8 if big else 4) else 0
    return tags, following


def _integers(tags: dict[int, tuple[int, bytes]], order: str, tag: int) -> tuple[int, ...]:
    """The values of a tag; none where it is not there."""
    kind, data = tags.get(tag, (1, b""))
    if kind not in _INTEGERS:
        raise Damaged(f"its tag {tag} holds no whole numbers")
    return struct.unpack(f"{order}{len(data) // _SIZES[kind]}{_INTEGERS[kind]}", data)


def _integer(tags: dict[int, tuple[int, bytes]], order: str, tag: int, default: int) -> int:
    """The value of a tag that has one."""
    return (*_integers(tags, order, tag), default)[0]


def _page(tags: dict[int, tuple[int, bytes]], order: str, pages: int) -> Page:
    """What the tags say together."""

    def one(tag: int, default: int = 0) -> int:
        return _integer(tags, order, tag, default)

    size = one(_HEIGHT), one(_WIDTH)
    if min(size) < 1:
        raise Damaged("it has no size")
    compression = one(_COMPRESSION, 1)
    photometric = one(_PHOTOMETRIC, -1)
    bits = _integers(tags, order, _BITS) or (1,)
    number = one(_BANDS, len(bits))
    if not 0 < number < 2**16:
        raise Damaged(f"it has {number} bands")
    if len(bits) == 1:
        bits *= number
    elif len(bits) < number:
        raise Damaged(f"it has {number} bands and the depth of {len(bits)}")
    unlike = sorted({*_integers(tags, order, _FORMAT)} - {1, 4})
    colours = _COLOURS.get(photometric, 1)
    extra = _integers(tags, order, _EXTRA)[: number - colours] if number > colours else ()
    extra = (0,) * (number - colours - len(extra)) + extra
    roles = {0: b"Red", 1: b"Green", 2: b"Blue"} if photometric == _RGB else {}
    roles |= {int(band): role for band, role in _ROLE.findall(tags.get(_GDAL, (2, b""))[1]) if int(band) < number}
    places = {role: band for band, role in roles.items()}
    rgb = tuple(places[role] for role in (b"Red", b"Green", b"Blue") if role in places)
    return Page(
        size=size,
        bits=bits[:number],
        kind=_KINDS.get(unlike[0], "unknown") if unlike else "unsigned",
        photometric=None if photometric == -1 else photometric,
        compression=compression,
        planar=one(_PLANAR, 1) == 2 and number > 1,
        extra=extra,
        colours=(rgb[0], rgb[1], rgb[2]) if len(set(rgb)) == 3 else None,
        orientation=one(_ORIENTATION, 1),
        geokeys=_GEOKEYS in tags,
        pages=pages,
        tags={tag: value for tag, value in tags.items() if tag in _DECODING},
        order=order,
    )


def has_geokeys(image: Image.Image) -> bool:
    """Whether an image that Pillow has open is a TIFF with coordinates."""
    return _GEOKEYS in getattr(image, "tag_v2", {})


def check(page: Page, name: str) -> None:
    """Refuses what cannot be read as 8-bit gray or RGB.

    Args:
        page: of `read_page`.
        name: of the file, for the message.

    Raises:
        UserError: other numbers than 8 bits, no bands that could be red, green and blue, or a kind of TIFF that Pillow
            does not read.
    """
    bits = max(page.bits)
    if bits > 8 or page.kind != "unsigned":
        kind = page.kind if page.kind in ("float", "complex") else f"{bits}-bit"
        kind = f"{page.kind} {kind}" if page.kind in ("signed", "unknown") else kind
        raise UserError(f"{name} is a {kind} image: expected unsigned 8 bits a band; {TO_BYTE}")
    if len(set(page.bits)) > 1 or (bits != 8 and len(page.bits) > 1) or bits not in (1, 2, 4, 8):
        found = "/".join(str(number) for number in dict.fromkeys(page.bits))
        raise UserError(f"{name} has {found} bits a band: expected 8 bits a band; {TO_BYTE}")
    if page.compression not in _PLAIN and not _decodes(page.compression):
        known = _COMPRESSIONS.get(page.compression, f"number {page.compression}")
        raise UserError(
            f"the compression of {name} ({known}) is not supported here: expected none, LZW, deflate or JPEG; convert "
            "it, for example: gdal_translate -co COMPRESS=DEFLATE in.tif out.tif"
        )
    if page.photometric is not None and page.photometric not in _COLOURS:
        raise unsupported(page, name)
    if _is_plain(page):
        return
    if page.bands < 3 or page.photometric == _MINISWHITE:
        raise UserError(
            f"{name} has {page.bands} bands that are no colours: expected 1, 3 or 4 bands; choose the bands to map, "
            f"for example: {_TO_THREE}"
        )
    natural = page.colours in (None, (0, 1, 2))
    most = len(page.bits) if page.planar else _PILLOWS_BANDS if natural else 4
    if (page.colours is None and page.bands > 4) or len(page.bits) > most:
        raise UserError(
            f"{name} has {len(page.bits)} bands: expected 3 or 4; choose those that are red, green and blue, for "
            f"example: {_TO_THREE}"
        )


def unsupported(page: Page, name: str) -> UserError:
    """The error for a kind of TIFF that Pillow does not know."""
    return UserError(
        f"{name} is a TIFF of a kind that is not supported here ({page.interpretation}, bands: {len(page.bits)}): "
        "expected RGB; convert it"
    )


def _is_plain(page: Page) -> bool:
    """Whether its bands are colours of another kind than RGB: gray, a palette, CMYK, and so on."""
    if page.photometric in (_PALETTE, _CMYK, _YCBCR, _LAB):
        return True
    return page.photometric != _RGB and page.bands == 1


@functools.cache
def _decodes(compression: int) -> bool:
    """Whether Pillow's libtiff was built with it: what it writes, it reads."""
    if compression not in _BUILT_IN:
        return False
    try:
        Image.new("L", (8, 8)).save(io.BytesIO(), "TIFF", compression=_BUILT_IN[compression])
    except Exception:  # of several kinds, by version
        return False
    return True


def remarks(page: Page, name: str) -> list[str]:
    """What a user should know of how the bands are taken, a sentence each."""
    told = []
    if page.pages > 1:
        told.append(f"{name} has {page.pages} frames; the first one is used")
    if page.geokeys:
        told.append(f"{name} {COORDINATES}")
    if page.alpha:
        told.append(f"{name} has an alpha channel, which is dropped")
    if not _is_plain(page):
        those = "they" if page.bands == 3 else "the first three"
        if page.colours is None:
            told.append(f"{name} does not say what its {page.bands} bands are; {those} are used as red, green and blue")
        elif page.colours != (0, 1, 2):
            red, green, blue = (band + 1 for band in page.colours)
            told.append(
                f"{name} has {page.bands} bands; {red}, {green} and {blue} are used as red, green and blue, as its "
                "colour interpretation says"
            )
        elif page.bands > 3:
            told.append(f"{name} has {page.bands} bands; the first three are used as red, green and blue")
    return told


def plain(page: Page, file: BinaryIO | None = None) -> tuple[io.BytesIO, tuple[int, int, int]]:
    """The page as a TIFF of one page that Pillow knows.

    Args:
        page: one that `check` lets pass.
        file: the TIFF that it is from; None writes the directory alone, which is enough for `PIL.Image.open`.

    Returns:
        The TIFF; and which bands of what Pillow reads are red, green and blue, from 0 on.

    Raises:
        Damaged: the tags do not fit each other.
        UserError: the file is too large for classic TIFF.
    """
    tags, bands = dict(page.tags), (0, 1, 2)
    if not _is_plain(page):
        colours = page.colours or bands
        extra = len(page.bits) - 3
        if page.planar:
            tags = _planes(page, colours)
            extra = 0
        elif colours != bands:
            bands = colours
        tags[_PHOTOMETRIC] = _numbers(page, [_RGB])
        tags[_BANDS] = _numbers(page, [3 + extra])
        tags[_BITS] = _numbers(page, [8] * (3 + extra))
        # 0: a band that is passed over; as alpha (2) it is kept, so that colours may be chosen from all four
        kept = page.extra if extra and page.extra == (1,) else [0 if bands == (0, 1, 2) else 2] * extra
        tags[_EXTRA] = _numbers(page, kept)
    elif page.planar and page.photometric in (None, _MINISWHITE, _MINISBLACK, _PALETTE):
        tags = _planes(page, (0,))
        tags |= {_BANDS: _numbers(page, [1]), _BITS: _numbers(page, page.bits[:1]), _EXTRA: _numbers(page, [])}
    elif page.extra:
        tags[_EXTRA] = _numbers(page, [0 if page.photometric == _CMYK else 2] * len(page.extra))
    if page.photometric is None and page.compression not in _FAX:
        tags.setdefault(_PHOTOMETRIC, _numbers(page, [_MINISBLACK]))
    tags[_FORMAT] = _numbers(page, [1])
    out = io.BytesIO()
    out.write((b"II*\0" if page.order == "<" else b"MM\0*") + bytes(4))
    if file is not None:
        file.seek(8)
        shutil.copyfileobj(file, out, 2**20)
        if out.tell() > LAST_OFFSET:
            raise UserError("it has more than 4 GB: expected a smaller TIFF; cut it into tiles first")
        out.write(bytes(out.tell() % 2))
    at = out.tell()
    out.write(_written({tag: value for tag, value in tags.items() if value[1]}, page.order, at))
    out.seek(4)
    out.write(struct.pack(page.order + "I", at))
    out.seek(0)
    return out, bands


def _numbers(page: Page, values: Iterable[int], kind: int = _SHORT) -> tuple[int, bytes]:
    """Numbers as the value of a tag."""
    values = tuple(values)
    return kind, struct.pack(f"{page.order}{len(values)}{_INTEGERS[kind]}", *values)


def _planes(page: Page, chosen: tuple[int, ...]) -> dict[int, tuple[int, bytes]]:
    """The tags with the strips or tiles of some bands, in that order, of a file whose bands lie apart."""
    tags = dict(page.tags)
    for tag in (_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES):
        if tag in tags:
            values = _integers(tags, page.order, tag)
            each, rest = divmod(len(values), len(page.bits))
            if rest or not each:
                raise Damaged(f"{len(values)} strips or tiles do not fit {len(page.bits)} bands")
            kept = [value for band in chosen for value in values[band * each : (band + 1) * each]]
            tags[tag] = _numbers(page, kept, tags[tag][0])
    return tags


def _written(tags: dict[int, tuple[int, bytes]], order: str, at: int) -> bytes:
    """A directory for the place `at`, and after it the values that do not fit into it."""
    entries, values = [], b""
    beyond = at + 2 + 12 * len(tags) + 4
    for tag, (kind, data) in sorted(tags.items()):
        if kind in (16, 18):  # of BigTIFF
            numbers = struct.unpack(f"{order}{len(data) // 8}Q", data)
            if max(numbers) >= 2**32:
                raise Damaged("a strip lies beyond its end")
            kind, data = _LONG, struct.pack(f"{order}{len(numbers)}I", *numbers)
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", beyond + len(values))
        entries.append(struct.pack(order + "HHI", tag, kind, len(data) // _SIZES[kind]) + place)
        if len(data) > 4:
            values += data + bytes(len(data) % 2)
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4) + values
