"""Which TIFFs are read, why others are not, and what a user should know of how bands are taken."""

from __future__ import annotations

import functools
import io

from PIL import Image

from segearth.errors import UserError
from segearth.tiff.directory import Page, colour_bands
from segearth.tiff.tags import (
    BANDS,
    COLOURS,
    GDAL,
    GEOKEYS,
    MINISWHITE,
    PHOTOMETRIC,
    RGB,
    STRIP_OFFSETS,
    TILE_OFFSETS,
)

COORDINATES = "has coordinates, which its map does not keep"  # a remark
_PLAIN = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946)  # none, fax, LZW, JPEG, deflate, PackBits: every libtiff has them
_BUILT_IN = {34925: "lzma", 50000: "zstd"}  # by most
_COMPRESSIONS = {34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}
_COMPRESSIONS |= {33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34892: "lossy JPEG of DNG"}
_PILLOWS_BANDS = 6  # the most that Pillow reads of a pixel

_TO_THREE = "gdal_translate -b 1 -b 2 -b 3 in.tif out.tif"
TO_BYTE = "stretch it to 8 bits first, for example: gdal_translate -ot Byte -scale in.tif out.tif"


def check(page: Page, name: str) -> None:
    """Refuses what cannot be read as 8-bit gray or RGB.

    Args:
        page: of `read_page`.
        name: of the file, for the message.

    Raises:
        UserError: other numbers than 8 bits, no bands that could be red, green and blue, pixels that were left out, or
            a kind of TIFF that Pillow does not read.
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
    if page.sparse:
        raise _sparse(name)
    if page.photometric is not None and page.photometric not in COLOURS:
        raise unsupported(page, name)
    if page.is_plain:
        return
    if page.bands < 3 or page.photometric == MINISWHITE:
        raise no_colours(page.bands, name)
    natural = page.colours in (None, (0, 1, 2))
    most = len(page.bits) if page.planar else _PILLOWS_BANDS if natural else 4
    if (page.colours is None and page.bands > 4) or len(page.bits) > most:
        raise UserError(
            f"{name} has {len(page.bits)} bands: expected 3 or 4; choose those that are red, green and blue, for "
            f"example: {_TO_THREE}"
        )


def no_colours(bands: int, name: str) -> UserError:
    """The error for bands of which none can be red, green and blue."""
    return UserError(
        f"{name} has {bands} bands that are no colours: expected 1, 3 or 4 bands; choose the bands to map, for "
        f"example: {_TO_THREE}"
    )


def given(image: Image.Image, name: str) -> tuple[tuple[int, int, int], list[str]]:
    """Which bands are red, green and blue of an image that the user opened with Pillow, and the remarks on it.

    Raises:
        UserError: a TIFF of which Pillow reads other pixels than it has.
    """
    refuse_sparse(image, name)
    tags, bands = getattr(image, "tag_v2", {}), (0, 1, 2)
    told = [f"{name} {COORDINATES}"] if GEOKEYS in tags else []
    if tags.get(PHOTOMETRIC) == RGB and image.mode in ("RGB", "RGBA"):
        number, metadata = tags.get(BANDS, 3), str(tags.get(GDAL, ""))
        bands = colour_bands(RGB, number, metadata.encode(errors="replace")) or bands
        if max(bands) >= len(image.getbands()):
            raise UserError(
                f"{name} has red, green and blue in other bands than Pillow reads: expected them first; give the "
                "path of its file instead"
            )
        if bands != (0, 1, 2):
            told.append(_chosen(bands, number, name))
    return bands, told


def _chosen(bands: tuple[int, int, int], number: int, name: str) -> str:
    """The remark on the bands that the colour interpretation names, of a number of bands."""
    red, green, blue = (band + 1 for band in bands)
    return (
        f"{name} has {number} bands; {red}, {green} and {blue} are used as red, green and blue, as its colour "
        "interpretation says"
    )


def refuse_sparse(image: Image.Image, name: object) -> None:
    """Refuses a sparse TIFF that Pillow has open.

    Raises:
        UserError: it is one.
    """
    tags = getattr(image, "tag_v2", {})
    if any(0 in tags.get(tag, ()) for tag in (STRIP_OFFSETS, TILE_OFFSETS)):
        raise _sparse(name)


def _sparse(name: object) -> UserError:
    """The error for a file without some of its strips or tiles, for which Pillow would take what lies at place 0."""
    return UserError(
        f"{name} is a sparse TIFF, without some of its strips or tiles: expected one with all of its pixels; fill it, "
        "for example: gdal_translate -co SPARSE_OK=FALSE in.tif out.tif"
    )


def unsupported(page: Page, name: str) -> UserError:
    """The error for a kind of TIFF that Pillow does not know."""
    return UserError(
        f"{name} is a TIFF of a kind that is not supported here ({page.interpretation}, bands: {len(page.bits)}): "
        "expected RGB; convert it"
    )


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
    if not page.is_plain:
        those = "they" if page.bands == 3 else "the first three"
        if page.colours is None:
            told.append(f"{name} does not say what its {page.bands} bands are; {those} are used as red, green and blue")
        elif page.colours != (0, 1, 2):
            told.append(_chosen(page.colours, len(page.bits), name))
        elif page.bands > 3:
            told.append(f"{name} has {page.bands} bands; the first three are used as red, green and blue")
    return told
