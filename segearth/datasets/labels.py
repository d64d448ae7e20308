"""Reads images and label files of a download, which may be damaged; labels become the values that are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from segearth import tiff
from segearth.datasets.archives import Member
from segearth.datasets.description import Description
from segearth.datasets.polygons import read_polygons
from segearth.errors import UserError, first_line, without_warnings

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 20_000**2  # iSAID reaches 13,000 × 13,000; such an RGB image takes 1.2 GB
# Of a decoded image to its file: deflate reaches 1032, LZW 2700, JPEG about 1000, on images of one colour only.
_RATIO, _ALWAYS = 4000, 64 << 20  # the second in bytes, which any file may claim
MAX_UNKNOWN = 0.01  # a few stray pixels are reported; more of them mean another palette
BLACK = 32  # what JPEG may make of a mask's black; white, with errors as large, is well above 128
_ROWS = 256  # strips in which large labels are decoded
_ORIENTATION, _BITS = 274, 258
_FORMATS = ("PNG", "TIFF", "JPEG", "BMP")  # of published files and of those of known converters
_KNOWN = "a PNG, TIFF, JPEG or BMP file"


@contextmanager
def opened(member: Member, header_only: bool = False, bands: int = 3) -> Iterator[Image.Image]:
    """Opens an image or a label and decodes it; Pillow's pixel limit is ours for that time.

    Args:
        member: the file.
        header_only: whether no pixel will be read.
        bands: if more than 4, a TIFF with this number of bands is read by its first three.

    Raises:
        UserError: no image, damaged, or too large.
    """
    with member.open() as file:
        limit = Image.MAX_IMAGE_PIXELS
        try:
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow's error comes at twice the number
            with without_warnings():
                image = Image.open(file if bands <= 4 else _first_three(file, bands, header_only), formats=_FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise UserError(_too_large(member))
            size = file.seek(0, os.SEEK_END)
            if image.width * image.height * len(image.getbands()) > max(_ALWAYS, _RATIO * size):
                raise UserError(
                    f"{member} claims {image.width} × {image.height} pixels in {size:,} bytes: no image is packed so "
                    "small, the file is damaged; download or extract it again"
                )
            tiff.refuse_sparse(image, member)
            if not header_only:
                image.load()
        except UserError:
            raise
        except Image.DecompressionBombError:
            raise UserError(_too_large(member)) from None
        except UnidentifiedImageError:
            raise UserError(
                f"{member} is damaged or no image: expected {_KNOWN}; download or extract it again"
            ) from None
        except MemoryError:
            raise
        except Exception as error:  # files of any content go to decoders of many authors
            raise UserError(f"{member} is damaged ({first_line(error)}): download or extract it again") from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit
        with image:
            yield image


def _first_three(file: BinaryIO, bands: int, header_only: bool) -> BinaryIO:
    """Rewrites a TIFF with this number of 8-bit bands so that Pillow reads the first three; returns others as given."""
    magic = file.read(4)
    file.seek(0)
    if magic not in tiff.MAGIC:
        return file
    page = tiff.read_page(file, count=False)
    if page.kind != "unsigned" or page.bits != (8,) * bands:
        file.seek(0)
        return file
    return tiff.as_plain_tiff(page, None if header_only else file)[0]


def _too_large(member: Member) -> str:
    return f"{member} is larger than {MAX_PIXELS:,} pixels: expected the published file; download it again"


def image_size(member: Member, bands: int = 3) -> tuple[int, int]:
    """Reads (height, width) from the header of an image and refuses unusable ones; `bands` as in `opened`.

    Raises:
        UserError: more than 8 bits a band, or turned by an EXIF tag.
    """
    with opened(member, True, bands) as image:
        bits = getattr(image, "tag_v2", {}).get(_BITS, (8,))
        raw = str([tile[3] for tile in getattr(image, "tile", [])])
        if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA") or max(bits) > 8 or ";16" in raw:
            raise UserError(f"{member} is not an 8-bit RGB image ({image.mode}): expected the published 8-bit images")
        if (turn := _orientation(image)) != 1:
            raise UserError(
                f"{member} has the EXIF orientation {turn}, which turns the image but not its label: expected 1. Look "
                "whether the label fits the pixels as they are stored, then remove the tag "
                "(exiftool -Orientation= FILE), or turn the pixels (jpegtran -rotate 90 -outfile FILE FILE)"
            )
        return image.height, image.width


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation; 1, upright, also if EXIF is damaged, as the pixels may still be good."""
    try:
        with without_warnings():
            return image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1


def label_size(member: Member) -> tuple[int, int] | None:
    """(height, width) of a label; None for polygons, which have no size of their own."""
    if member.path.lower().endswith(".json"):
        return None
    with opened(member, header_only=True) as image:
        return image.height, image.width


def read_label(member: Member, spec: Description, size: tuple[int, int]) -> tuple[NDArray[np.uint8], int]:
    """Decodes a label.

    Args:
        member: the file.
        spec: the set that it belongs to.
        size: (height, width) of its image.

    Returns:
        The values on disk (H, W) uint8, among `spec.values` and `spec.ignore`; and how many pixels had an unknown
        colour and are ignored.

    Raises:
        UserError: damaged, or not the set's labels.
    """
    if member.path.lower().endswith(".json"):
        return read_polygons(member, size), 0
    with opened(member) as image:
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            raise UserError(f"{member} is a label of mode {image.mode}: expected 8 bits; {spec.get}")
        if spec.encoding == "binary":
            return _mask(image, member, spec), 0
        if spec.colours and _is_coloured(image, spec):
            return _from_colours(image, member, spec)
        return _indices(image, member, spec), 0


def _is_coloured(image: Image.Image, spec: Description) -> bool:
    """Whether the colours are the labels: RGB, or a palette image that has only colours of the set."""
    if image.mode in ("RGB", "RGBA"):
        return True
    if image.mode != "P" or spec.encoding != "palette":
        return False  # a palette over indices is for display
    palette = image.getpalette("RGB") or []
    used = np.flatnonzero(image.histogram()[:256])
    return all(_packed(palette[3 * i : 3 * i + 3]) in spec.lookup for i in used)


def _packed(colour: list[int]) -> int:
    return (colour[0] << 16) | (colour[1] << 8) | colour[2] if len(colour) == 3 else -1


def _from_colours(image: Image.Image, member: Member, spec: Description) -> tuple[NDArray[np.uint8], int]:
    """Converts exact colours to values, some rows at a time: packed colours of a large label would take gigabytes."""
    codes = np.array(sorted(spec.lookup), np.uint32)
    values = np.array([spec.lookup[int(code)] for code in codes], np.uint8)
    labels = np.empty((image.height, image.width), np.uint8)
    unknown, example = 0, 0
    for top, strip in _strips(image, "RGB"):
        packed = (strip[..., 0].astype(np.uint32) << 16) | (strip[..., 1].astype(np.uint32) << 8) | strip[..., 2]
        place = np.searchsorted(codes, packed).clip(max=len(codes) - 1)
        known = codes[place] == packed
        labels[top : top + len(strip)] = np.where(known, values[place], spec.ignore)
        if (missing := int(known.size - np.count_nonzero(known))) > 0:
            unknown, example = unknown + missing, int(packed[~known][0])
    if unknown > MAX_UNKNOWN * labels.size:
        colour = (example >> 16, example >> 8 & 255, example & 255)
        raise UserError(
            f"{member}: {unknown / labels.size:.1%} of the pixels have a colour that is no class of {spec.title}, such "
            f"as {colour}: expected its palette; these are labels of another kind or set. {spec.get}"
        )
    return labels, unknown


def _indices(image: Image.Image, member: Member, spec: Description) -> NDArray[np.uint8]:
    """Class indices: gray values, or the indices of a palette image whatever its colours."""
    labels = _one_band(image, member, spec)
    ignored = (spec.ignore, *spec.ignored)
    allowed = np.zeros(256, bool)
    allowed[[*spec.values, *ignored]] = True
    if bad := [int(value) for value in np.flatnonzero(histogram(labels)) if not allowed[value]]:
        raise UserError(
            f"{member} has the label values {', '.join(map(str, bad[:5]))}: expected {spec.values[0]} to "
            f"{spec.values[-1]} (or {', '.join(map(str, ignored))}, ignored); these are labels of another kind or set. "
            f"{spec.get}"
        )
    if spec.ignored:
        labels[np.isin(labels, spec.ignored)] = spec.ignore
    return labels


def histogram(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Counts each of the 256 values; by strips, as `np.bincount` needs eight times the memory of its input."""
    counts = np.zeros(256, np.int64)
    for top in range(0, len(labels), _ROWS):
        counts += np.bincount(labels[top : top + _ROWS].ravel(), minlength=256)
    return counts


def _mask(image: Image.Image, member: Member, spec: Description) -> NDArray[np.uint8]:
    """A mask as 0 and 1: from 128 on, or any value in masks that are 0 and 1 only."""
    labels = _one_band(image, member, spec)
    lossy = image.format == "JPEG"
    top = int(labels.max())
    if spec.any_value or (top <= 1 and not lossy):
        return (labels > 0).astype(np.uint8)
    if (BLACK if lossy else 0) < top < 128:
        raise UserError(
            f"{member} has values up to {top}: expected a mask of 0 and 255, or of 0 and 1; these are labels of "
            f"another kind or set. {spec.get}"
        )
    return (labels >= 128).astype(np.uint8)


def _one_band(image: Image.Image, member: Member, spec: Description) -> NDArray[np.uint8]:
    """The values of a label with one band, or with three equal ones."""
    if image.mode == "1" and spec.encoding != "binary":
        return np.asarray(image).astype(np.uint8)
    if image.mode in ("L", "P", "1"):
        return np.array(image if image.mode != "1" else image.convert("L"))
    labels = np.empty((image.height, image.width), np.uint8)
    for top, strip in _strips(image, "RGB"):
        if (strip != strip[..., :1]).any():
            raise UserError(
                f"{member} is a coloured label: expected one value a pixel; these are labels of another kind or set. "
                f"{spec.get}"
            )
        labels[top : top + len(strip)] = strip[..., 0]
    return labels


def _strips(image: Image.Image, mode: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yields strips from the top: the first row, and the pixels (rows, W, 3)."""
    for top in range(0, image.height, _ROWS):
        strip = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
        rgb = Image.merge("RGB", strip.split()[:3]) if strip.mode == "RGBA" else strip.convert(mode)
        yield top, np.asarray(rgb)
