"""Opens image files with Pillow: supported formats, checks of headers, errors in one sentence."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from segearth import tiff
from segearth.errors import UserError, first_line, printable, without_warnings
from segearth.images.pixel_limit import PixelLimit, allow_pixels
from segearth.paths import user_path

# The supported formats by Pillow's names, and their file suffixes. Pillow has forty more, among them documents for
# which it starts other programs (EPS), and formats that it silently reduces to 8 bits (PPM).
FORMATS = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg"),
    "JPEG2000": (".jp2",),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

_ORIENTATION = 274
UPRIGHT = {  # by EXIF orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_BITS_PER_SAMPLE, _TIFF_SAMPLE_FORMAT = 258, 339
_JPEG2000_GRAY = re.compile(rb"colr\x01..\0\0\0\x11", re.DOTALL)  # ISO 15444-1, I.5.3.3: colour space number 17
_JPEG2000_ALPHA = re.compile(rb"cdef..(?:.{6}){0,9}?..\0[\x01\x02]..", re.DOTALL)  # I.5.3.6: of kind 1 or 2
_HEAD = 65536  # bytes in which the boxes of JPEG 2000 are searched for
_KNOWN = "8-bit PNG, JPEG, TIFF, WebP, BMP, GIF or JPEG 2000"


@dataclass(frozen=True)
class OpenedImage:
    """An image opened by Pillow.

    Attributes:
        name: name of the file, for messages.
        image: the first frame.
        orientation: EXIF orientation; 1: upright.
        remarks: conversions that the user should know of.
        bands: indices of the red, green and blue bands.
    """

    name: str
    image: Image.Image
    orientation: int = 1
    remarks: tuple[str, ...] = ()
    bands: tuple[int, int, int] = (0, 1, 2)


@contextmanager
def open_image(
    source: str | os.PathLike[str] | BinaryIO, max_pixels: int | None = None, header_only: bool = False
) -> Iterator[OpenedImage]:
    """Opens an image file; every error here or in the block becomes a `UserError`.

    Args:
        source: a path, or a file open in binary mode, which stays open.
        max_pixels: see `PixelLimit`.
        header_only: whether no pixel will be read; then frames are not counted.
    """
    with ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            given = os.fsdecode(source)
            name, path = printable(given), find_file(given)
            stack.enter_context(_user_errors(name))
            file: BinaryIO = stack.enter_context(path.open("rb"))
        else:
            name = "the given file"
            file = _seekable(source)
            stack.enter_context(_user_errors(name))
        limit = PixelLimit(name, file.seek(0, io.SEEK_END), max_pixels)
        if limit.file_bytes == 0:
            raise UserError(f"the image {name} is empty (0 bytes): expected a whole file; copy or download it again")
        file.seek(0)
        magic = file.read(4)
        file.seek(0)
        yield stack.enter_context((_tiff if magic in tiff.MAGIC else _other)(file, limit, header_only))


def _seekable(file: BinaryIO) -> BinaryIO:
    """Checks a file that the user opened; the rest of a stream that cannot seek is read into memory."""
    try:
        if isinstance(file.read(0), str):
            raise UserError("the image is a text file: expected a binary one; open it in the mode 'rb'")
        return file if file.seekable() else io.BytesIO(file.read())
    except (AttributeError, OSError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"the image is a {type(file).__name__} that cannot be read ({first_line(error)}): expected a binary file "
            "that is open; open it again in the mode 'rb'"
        ) from None


@contextmanager
def given_image(image: Image.Image) -> Iterator[OpenedImage]:
    """Opens the current frame of a PIL image of the user; every error becomes a `UserError`."""
    name = "the given image"
    if 0 in image.size:
        raise UserError(f"{name} has {image.width} × {image.height} pixels: expected one at least; give another image")
    try:
        check_depth(image, name)
        no_alpha = image.format == "JPEG2000" and _check_jpeg2000(_head(image), name)
        bands, remarks = tiff.opened_image_bands(image, name)
        remarks += _rotation_remark(orientation_of(image), name)
        image.load()  # Pillow rotates a TIFF here
        yield OpenedImage(name, image, orientation_of(image), (*remarks, *_alpha_remark(image, name, no_alpha)), bands)
    except UserError:
        raise
    except Exception as error:  # Pillow raises many types for closed or damaged files
        raise UserError(
            f"{name} cannot be read ({first_line(error)}): expected one that is open and whole; open it again"
        ) from None


def _head(image: Image.Image) -> bytes:
    """The first bytes of the file of an open PIL image; empty once its pixels are decoded."""
    file = getattr(image, "fp", None)
    if file is None:
        return b""
    place = file.tell()
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(place)
    return bytes(head)


@contextmanager
def _tiff(file: BinaryIO, limit: PixelLimit, header_only: bool) -> Iterator[OpenedImage]:
    """Opens a TIFF, which must have one image page."""
    name = limit.name
    page = tiff.read_page(file, count=not header_only)
    tiff.check_supported(page, name)
    _check_size(*page.size, limit)
    plain, bands = tiff.as_plain_tiff(page, None if header_only else file)
    orientation = _valid_orientation(page.orientation)
    remarks = (*tiff.remarks(page, name), *_rotation_remark(orientation, name))
    try:
        with _pillow(plain, limit) as image:
            yield OpenedImage(name, image, orientation, remarks, bands)
    except UnidentifiedImageError:
        raise tiff.unsupported_error(page, name) from None


@contextmanager
def _other(file: BinaryIO, limit: PixelLimit, header_only: bool) -> Iterator[OpenedImage]:
    """Opens an image of another format."""
    name = limit.name
    no_alpha = _check_jpeg2000(file.read(_HEAD), name)
    with _pillow(file, limit) as image:
        check_depth(image, name)
        frames = 1 if header_only else getattr(image, "n_frames", 1)
        remarks = [f"{name} has {frames} frames; the first one is used"] if frames > 1 else []
        if not header_only:
            image.load()  # a PNG's EXIF may stand after its pixels
        orientation = orientation_of(image, header_only)
        yield OpenedImage(
            name,
            image,
            orientation,
            (*remarks, *_rotation_remark(orientation, name), *_alpha_remark(image, name, no_alpha)),
        )


@contextmanager
def _pillow(file: BinaryIO, limit: PixelLimit) -> Iterator[Image.Image]:
    """Opens an image in one of `FORMATS`, and checks its number of pixels."""
    with ExitStack() as stack:
        try:
            image = _opened(file)
        except Image.DecompressionBombError as error:  # more than twice Pillow's limit
            pixels = re.search(r"\d+", str(error))
            if pixels is None:
                raise
            limit.check(int(pixels[0]))
            stack.enter_context(allow_pixels(int(pixels[0])))
            image = _opened(file)
        with image:
            _check_size(image.height, image.width, limit)
            stack.enter_context(allow_pixels(image.height * image.width))  # Pillow checks TIFFs again later
            yield image


def _opened(file: BinaryIO) -> Image.Image:
    file.seek(0)
    with without_warnings():  # our own checks have better messages
        return Image.open(file, formats=tuple(FORMATS))


def _check_size(height: int, width: int, limit: PixelLimit) -> None:
    limit.check(height * width, f"{width} × {height}")


@contextmanager
def _user_errors(name: str) -> Iterator[None]:
    """Converts every exception in the block to a `UserError`: decoders raise any type for damaged files."""
    try:
        yield
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(
            f"the image {name} says that a part of it is very large: expected a whole file; copy or download it again"
        ) from None
    except UnidentifiedImageError:
        raise UserError(
            f"{name} is not an image of a kind that is read here: expected {_KNOWN}; convert it to one of these"
        ) from None
    except PermissionError:
        raise UserError(
            f"the image {name} may not be read here: expected a readable file; change its permissions"
        ) from None
    except MemoryError:
        raise UserError(
            f"there is not enough memory to read the image {name}: expected a smaller one; cut it into tiles"
        ) from None
    except Exception as error:
        raise UserError(
            f"the image {name} is damaged or truncated ({first_line(error)}): expected a whole file; copy or "
            "download it again"
        ) from None


def find_file(source: str | Path) -> Path:
    """The path of an existing image file.

    Raises:
        UserError: no such file; see `user_path`.
    """
    path = user_path(source)
    if path.is_file():
        return path
    state = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
    raise UserError(
        f"the image {printable(source)} {state}: expected an image file (PNG, JPEG, TIFF, ...); give its path"
    )


def orientation_of(image: Image.Image, header_only: bool = False) -> int:
    """The EXIF orientation of an image; 1, upright, if unknown.

    Args:
        image: opened by Pillow.
        header_only: whether no pixels may be read; the EXIF of a PNG may follow its pixels.
    """
    try:
        with without_warnings():
            exif = Image.Image.getexif(image) if header_only else image.getexif()
        return _valid_orientation(exif.get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF does not mean damaged pixels
        return 1


def _valid_orientation(orientation: object) -> int:
    """The orientation; 1 if it is invalid."""
    return orientation if isinstance(orientation, int) and orientation in UPRIGHT else 1


def _rotation_remark(orientation: int, name: str) -> tuple[str, ...]:
    """The remark on an image that is rotated upright."""
    return () if orientation == 1 else (f"{name} is turned upright as its EXIF orientation ({orientation}) says",)


def _alpha_remark(image: Image.Image, name: str, no_alpha: bool = False) -> tuple[str, ...]:
    """The remark on an alpha channel, or on a fourth band that Pillow interprets as alpha."""
    if no_alpha and image.mode == "RGBA":
        return (f"{name} has 4 bands; the first three are used as red, green and blue",)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return (f"{name} has an alpha channel, which is dropped",)
    return ()


def check_depth(image: Image.Image, name: str) -> None:
    """Refuses images that are not unsigned 8 bits a band, also where Pillow would silently drop the lower bits."""
    raw = str([tile[3] for tile in getattr(image, "tile", [])])  # decoder arguments, such as 'RGB;16B'
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_TIFF_BITS_PER_SAMPLE, (8,))
    if image.mode == "F":
        kind = "float"
    elif image.mode.startswith("I;16") or ";16" in raw or max(bits) == 16:
        kind = "16-bit"
    elif image.mode == "I" or max(bits) > 16:
        # Pillow opens 16-bit PNGs of older versions as I
        kind = "16-bit" if image.format == "PNG" else "32-bit"
    elif 2 in tags.get(_TIFF_SAMPLE_FORMAT, ()):
        kind = "signed"
    else:
        return
    raise UserError(f"{name} is a {kind} image ({image.mode}): expected unsigned 8 bits a band; {tiff.TO_BYTE}")


def _check_jpeg2000(head: bytes, name: str) -> bool:
    """Refuses JPEG 2000 of more than 8 bits, which Pillow reduces to 8, and bands that are not colours.

    Args:
        head: the first bytes of a file of any format.
        name: name of the file.

    Returns:
        Whether it is a JPEG 2000 without an alpha band; Pillow interprets the second or fourth band as alpha.
    """
    depths: tuple[int, ...] = ()
    alpha = gray = False
    if head.startswith(b"\xff\x4f\xff\x51"):  # a bare codestream: its first segment has three bytes a band
        (bands,) = struct.unpack_from(">H", head.ljust(42, b"\0"), 40)
        depths = tuple(head[42 : 42 + 3 * bands : 3])
    elif head[4:8] == b"jP  " and (place := head.find(b"ihdr")) >= 0:
        head = head.partition(b"jp2c")[0]
        header = head[place + 4 :].ljust(14, b"\0")
        bands = int.from_bytes(header[8:10], "big")
        depths = (header[10],)
        if header[10] == 255 and (place := head.find(b"bpcc")) >= 0:  # bands of different depths
            depths = tuple(head[place + 4 : place + 4 + bands])
        alpha = _JPEG2000_ALPHA.search(head) is not None
        gray = _JPEG2000_GRAY.search(head) is not None
    else:
        return False
    if any((depth & 127) + 1 > 8 for depth in depths):
        bits = max((depth & 127) + 1 for depth in depths)
        raise UserError(f"{name} is a {bits}-bit image: expected unsigned 8 bits a band; {tiff.TO_BYTE}")
    if any(depth & 128 for depth in depths):
        raise UserError(f"{name} is a signed 8-bit image: expected unsigned 8 bits a band; {tiff.TO_BYTE}")
    if bands == 2 and not alpha:
        raise tiff.no_colours_error(bands, name)
    if bands > 2 and gray:
        raise UserError(
            f"{name} is a JPEG 2000 of a kind that is not supported here ({bands} bands, whose colour space is "
            "gray): expected RGB; convert it, for example: gdal_translate in.jp2 out.tif"
        )
    return not alpha
