"""Image files as Pillow opens them: the formats that are read, headers that are judged, faults as sentences."""

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
from segearth.images.pixel_limit import PixelLimit, allowing
from segearth.paths import user_path

# The formats that are read, as Pillow calls them, and what their files' names end in. Pillow knows forty more, among
# them documents for which it starts other programs (EPS), and what is cut to 8 bits without a word (PPM).
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
UPRIGHT = {  # by EXIF's number of how an image lies; 1 is upright
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
_HEAD = 65536  # bytes that hold what is looked for in JPEG 2000
_KNOWN = "8-bit PNG, JPEG, TIFF, WebP, BMP, GIF or JPEG 2000"


@dataclass(frozen=True)
class OpenedImage:
    """An image that Pillow has open.

    Attributes:
        name: of its file, for messages.
        image: its first frame.
        orientation: how it lies, as EXIF numbers it; 1 is upright.
        remarks: what a user should know of what is read.
        bands: those of the image that are red, green and blue.
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
    """Opens an image file; whatever is wrong with it, here or in the block, becomes a `UserError`.

    Args:
        source: its path, or the file, open in a binary mode; such a file stays open.
        max_pixels: as of `PixelLimit`.
        header_only: whether no pixel will be read; then frames are not counted, either.
    """
    with ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            given = os.fsdecode(source)
            name, path = printable(given), find_file(given)
            stack.enter_context(_user_errors(name))
            file: BinaryIO = stack.enter_context(path.open("rb"))
        else:
            name = "the given file"
            file = _from_its_beginning(source)
            stack.enter_context(_user_errors(name))
        limit = PixelLimit(name, file.seek(0, io.SEEK_END), max_pixels)
        if limit.file_bytes == 0:
            raise UserError(f"the image {name} is empty (0 bytes): copy or download it again")
        file.seek(0)
        magic = file.read(4)
        file.seek(0)
        yield stack.enter_context((_tiff if magic in tiff.MAGIC else _other)(file, limit, header_only))


def _from_its_beginning(file: BinaryIO) -> BinaryIO:
    """A file that the user opened, if its bytes can be read; the rest of a stream that cannot go back."""
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
    """The current frame of an image that the user opened; what is wrong with it becomes a `UserError`."""
    name = "the given image"
    if 0 in image.size:
        raise UserError(f"{name} has {image.width} × {image.height} pixels: expected one at least; give another image")
    try:
        check_depth(image, name)
        no_alpha = image.format == "JPEG2000" and _check_jpeg2000(_head(image), name)
        bands, remarks = tiff.given(image, name)
        remarks += _turned(orientation_of(image), name)
        image.load()  # turns a TIFF upright
        yield OpenedImage(name, image, orientation_of(image), (*remarks, *_alpha(image, name, no_alpha)), bands)
    except UserError:
        raise
    except Exception as error:  # Pillow says in many ways that a file is closed or damaged
        raise UserError(
            f"{name} cannot be read ({first_line(error)}): expected one that is open and whole; open it again"
        ) from None


def _head(image: Image.Image) -> bytes:
    """The first bytes of the file of an image that Pillow has open; none once its pixels are decoded."""
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
    """A TIFF, by the one page that is its image."""
    name = limit.name
    page = tiff.read_page(file, count=not header_only)
    tiff.check(page, name)
    _check_size(*page.size, limit)
    plain, bands = tiff.plain(page, None if header_only else file)
    orientation = _known(page.orientation)
    remarks = (*tiff.remarks(page, name), *_turned(orientation, name))
    try:
        with _pillow(plain, limit) as image:
            yield OpenedImage(name, image, orientation, remarks, bands)
    except UnidentifiedImageError:
        raise tiff.unsupported(page, name) from None


@contextmanager
def _other(file: BinaryIO, limit: PixelLimit, header_only: bool) -> Iterator[OpenedImage]:
    """An image of another format."""
    name = limit.name
    no_alpha = _check_jpeg2000(file.read(_HEAD), name)
    with _pillow(file, limit) as image:
        check_depth(image, name)
        frames = 1 if header_only else getattr(image, "n_frames", 1)
        told = [f"{name} has {frames} frames; the first one is used"] if frames > 1 else []
        if not header_only:
            image.load()  # a PNG's EXIF may stand after its pixels
        orientation = orientation_of(image, header_only)
        yield OpenedImage(
            name, image, orientation, (*told, *_turned(orientation, name), *_alpha(image, name, no_alpha))
        )


@contextmanager
def _pillow(file: BinaryIO, limit: PixelLimit) -> Iterator[Image.Image]:
    """An image of one of the formats that are read, and of no more pixels than it may have."""
    with ExitStack() as stack:
        try:
            image = _opened(file)
        except Image.DecompressionBombError as error:  # twice Pillow's own limit
            pixels = re.search(r"\d+", str(error))
            if pixels is None:
                raise
            limit.check(int(pixels[0]))
            stack.enter_context(allowing(int(pixels[0])))
            image = _opened(file)
        with image:
            _check_size(image.height, image.width, limit)
            stack.enter_context(allowing(image.height * image.width))  # TIFFs are checked while they are read, too
            yield image


def _opened(file: BinaryIO) -> Image.Image:
    file.seek(0)
    with without_warnings():  # our own checks say it better
        return Image.open(file, formats=tuple(FORMATS))


def _check_size(height: int, width: int, limit: PixelLimit) -> None:
    limit.check(height * width, f"{width} × {height}")


@contextmanager
def _user_errors(name: str) -> Iterator[None]:
    """Makes whatever is raised in the block a `UserError`: files of any content go to decoders of many authors."""
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
            f"the image {name} is damaged or truncated ({first_line(error)}): copy or download it again"
        ) from None


def find_file(source: str | Path) -> Path:
    """The image file that a user's path means.

    Raises:
        UserError: there is none; see `user_path`.
    """
    path = user_path(source)
    if path.is_file():
        return path
    found = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
    raise UserError(f"the image {printable(source)} {found}: give the path of an image file (PNG, JPEG, TIFF, ...)")


def orientation_of(image: Image.Image, header_only: bool = False) -> int:
    """How the image lies, as EXIF numbers it; 1, upright, where that is not known.

    Args:
        image: opened by Pillow.
        header_only: whether to leave a PNG's pixels alone, after which its EXIF may stand, too.
    """
    try:
        with without_warnings():
            exif = Image.Image.getexif(image) if header_only else image.getexif()
        return _known(exif.get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing of the pixels
        return 1


def _known(orientation: object) -> int:
    """1 for what is no orientation."""
    return orientation if isinstance(orientation, int) and orientation in UPRIGHT else 1


def _turned(orientation: int, name: str) -> tuple[str, ...]:
    """The remark on an image that is turned upright."""
    return () if orientation == 1 else (f"{name} is turned upright as its EXIF orientation ({orientation}) says",)


def _alpha(image: Image.Image, name: str, no_alpha: bool = False) -> tuple[str, ...]:
    """The remark on transparency, or on the band that Pillow takes for it."""
    if no_alpha and image.mode == "RGBA":
        return (f"{name} has 4 bands; the first three are used as red, green and blue",)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return (f"{name} has an alpha channel, which is dropped",)
    return ()


def check_depth(image: Image.Image, name: str) -> None:
    """Refuses other than unsigned 8 bits a band, also where Pillow would silently drop the lower half."""
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
    """Refuses JPEG 2000 of more than 8 bits, which Pillow cuts to 8, and bands that are no colours.

    Args:
        head: the first bytes of a file, of any kind.
        name: of the file.

    Returns:
        Whether it is a JPEG 2000 none of whose bands is called alpha; Pillow takes the second or fourth one for it.
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
        raise tiff.no_colours(bands, name)
    if bands > 2 and gray:
        raise UserError(
            f"{name} is a JPEG 2000 of a kind that is not supported here ({bands} bands, whose colour space is "
            "gray): expected RGB; convert it, for example: gdal_translate in.jp2 out.tif"
        )
    return not alpha
