"""Which TIFFs are supported: checks with their errors, and remarks on how bands are used."""

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

COORDINATES = "has coordinates, which its map does not keep"  # end of a remark
_PLAIN = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946)  # none, fax, LZW, JPEG, deflate, PackBits: in every libtiff
_BUILT_IN = {34925: "lzma", 50000: "zstd"}  # in most builds of libtiff
_COMPRESSIONS = {34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}
_COMPRESSIONS |= {33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34892: "lossy JPEG of DNG"}
_PILLOWS_BANDS = 6  # maximum number of bands that Pillow reads

_TO_THREE = "gdal_translate -b 1 -b 2 -b 3 in.tif out.tif"
TO_BYTE = "stretch it to 8 bits first, for example: gdal_translate -ot Byte -scale in.tif out.tif"


def check_supported(page: Page, name: str) -> None:
    """Refuses a page that cannot be read as 8-bit gray or RGB.

    Args:
        page: result of `read_page`.
        name: of the file, for the message.

    Raises:
        UserError: samples other than unsigned 8 bits, no bands for red, green and blue, a sparse file, or another TIFF
            that Pillow does not read.
    """
    bits = max(page.bits)
    if bits > 8 or page.kind != "unsigned":
        kind = page.kind if page.kind in ("float", "complex") else f"{bits}-bit"
        kind = f"{page.kind} {kind}" if page.kind in ("signed", "unknown") else kind
        raise UserError(f"{name} is a {kind} image: expected unsigned 8 bits a band; {TO_BYTE}")
    if len(set(page.bits)) > 1 or (bits != 8 and len(page.bits) > 1) or bits not in (1, 2, 4, 8):
        bits_text = "/".join(str(number) for number in dict.fromkeys(page.bits))
        raise UserError(f"{name} has {bits_text} bits a band: expected 8 bits a band; {TO_BYTE}")
    if page.compression not in _PLAIN and not _pillow_decodes(page.compression):
        compression = _COMPRESSIONS.get(page.compression, f"number {page.compression}")
        raise UserError(
            f"the compression of {name} ({compression}) is not supported here: expected none, LZW, deflate or JPEG; "
            "convert it, for example: gdal_translate -co COMPRESS=DEFLATE in.tif out.tif"
        )
    if page.sparse:
        raise _sparse_error(name)
    if page.photometric is not None and page.photometric not in COLOURS:
        raise unsupported_error(page, name)
    if page.has_pillow_colours:
        return
    if page.bands < 3 or page.photometric == MINISWHITE:
        raise no_colours_error(page.bands, name)
    is_rgb_order = page.colours in (None, (0, 1, 2))
    max_bands = len(page.bits) if page.planar else _PILLOWS_BANDS if is_rgb_order else 4
    if (page.colours is None and page.bands > 4) or len(page.bits) > max_bands:
        raise UserError(
            f"{name} has {len(page.bits)} bands: expected 3 or 4; choose those that are red, green and blue, for "
            f"example: {_TO_THREE}"
        )


def no_colours_error(bands: int, name: str) -> UserError:
    """Returns the error for bands that cannot be red, green and blue."""
    return UserError(
        f"{name} has {bands} bands that are no colours: expected 1, 3 or 4 bands; choose the bands to map, for "
        f"example: {_TO_THREE}"
    )


def opened_image_bands(image: Image.Image, name: str) -> tuple[tuple[int, int, int], list[str]]:
    """Returns the RGB bands of an image that the user opened with Pillow, and remarks on it.

    Raises:
        UserError: a TIFF that Pillow reads incorrectly.
    """
    refuse_sparse(image, name)
    tags, bands = getattr(image, "tag_v2", {}), (0, 1, 2)
    remarks = [f"{name} {COORDINATES}"] if GEOKEYS in tags else []
    if tags.get(PHOTOMETRIC) == RGB and image.mode in ("RGB", "RGBA"):
        number, metadata = tags.get(BANDS, 3), str(tags.get(GDAL, ""))
        bands = colour_bands(RGB, number, metadata.encode(errors="replace")) or bands
        if max(bands) >= len(image.getbands()):
            raise UserError(
                f"{name} has red, green and blue in other bands than Pillow reads: expected them first; give the "
                "path of its file instead"
            )
        if bands != (0, 1, 2):
            remarks.append(_bands_remark(bands, number, name))
    return bands, remarks


def _bands_remark(bands: tuple[int, int, int], number: int, name: str) -> str:
    """Returns the remark on the bands that the colour interpretation selects."""
    red, green, blue = (band + 1 for band in bands)
    return (
        f"{name} has {number} bands; {red}, {green} and {blue} are used as red, green and blue, as its colour "
        "interpretation says"
    )


def refuse_sparse(image: Image.Image, name: object) -> None:
    """Refuses a sparse TIFF that is open in Pillow.

    Raises:
        UserError: it is sparse.
    """
    tags = getattr(image, "tag_v2", {})
    if any(0 in tags.get(tag, ()) for tag in (STRIP_OFFSETS, TILE_OFFSETS)):
        raise _sparse_error(name)


def _sparse_error(name: object) -> UserError:
    """Returns the error for a sparse file: for missing strips or tiles, Pillow would read from offset 0."""
    return UserError(
        f"{name} is a sparse TIFF, without some of its strips or tiles: expected one with all of its pixels; fill it, "
        "for example: gdal_translate -co SPARSE_OK=FALSE in.tif out.tif"
    )


def unsupported_error(page: Page, name: str) -> UserError:
    """Returns the error for a TIFF that Pillow does not support."""
    return UserError(
        f"{name} is a TIFF of a kind that is not supported here ({page.interpretation}, bands: {len(page.bits)}): "
        "expected RGB; convert it"
    )


@functools.cache
def _pillow_decodes(compression: int) -> bool:
    """Whether Pillow's libtiff supports a compression, tested by writing an image."""
    if compression not in _BUILT_IN:
        return False
    try:
        Image.new("L", (8, 8)).save(io.BytesIO(), "TIFF", compression=_BUILT_IN[compression])
    except Exception:  # the type depends on the version
        return False
    return True


def remarks(page: Page, name: str) -> list[str]:
    """Returns remarks on how the bands are used, one sentence each."""
    remarks = []
    if page.pages > 1:
        remarks.append(f"{name} has {page.pages} frames; the first one is used")
    if page.geokeys:
        remarks.append(f"{name} {COORDINATES}")
    if page.alpha:
        remarks.append(f"{name} has an alpha channel, which is dropped")
    if not page.has_pillow_colours:
        used = "they" if page.bands == 3 else "the first three"
        if page.colours is None:
            remarks.append(
                f"{name} does not say what its {page.bands} bands are; {used} are used as red, green and blue"
            )
        elif page.colours != (0, 1, 2):
            remarks.append(_bands_remark(page.colours, len(page.bits), name))
        elif page.bands > 3:
            remarks.append(f"{name} has {page.bands} bands; the first three are used as red, green and blue")
    return remarks
