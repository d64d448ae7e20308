"""Limits of the pixels of an image file: refuses decompression bombs, not large images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from segearth.errors import UserError, option, without_warnings

# Deflate, the densest of the usual codecs, decodes one byte to at most 1,032 bytes: 344 pixels of three bands. A file
# that claims more is truncated, damaged or a decompression bomb; or nearly all of it has one colour.
PIXELS_A_BYTE = 344
BYTES_A_PIXEL = 7  # four while Pillow decodes, three in the array

_CUT = "cut it into tiles, for example with gdal_retile.py"


@dataclass(frozen=True)
class PixelLimit:
    """The maximum number of pixels of a file.

    Attributes:
        name: name of the file, for messages.
        file_bytes: size of the file.
        max_pixels: limit set by the user; None: as many as Pillow allows, or as the bytes of the file can hold if they
            fit into memory.
    """

    name: str
    file_bytes: int
    max_pixels: int | None = None

    @property
    def most(self) -> int | None:
        """The maximum; None: no limit."""
        if self.max_pixels is not None:
            return self.max_pixels
        limit = pillow_limit()
        if limit is None:
            return None
        by_size, memory = PIXELS_A_BYTE * self.file_bytes, machine_memory()
        return max(limit, by_size if memory is None else min(by_size, memory // BYTES_A_PIXEL))

    def check(self, pixels: int, size: str = "") -> None:
        """Refuses a file with more pixels.

        Args:
            pixels: number of pixels in the header of the file.
            size: text for the message instead of the number, such as "20 × 10".

        Raises:
            UserError: too many pixels.
        """
        most = self.most
        if most is None or pixels <= most:
            return
        has = f"{size or f'{pixels:,}'} pixels"
        if self.max_pixels is not None:
            raise UserError(
                f"the image {self.name} has {has}: expected at most {option('max_pixels', most)}; use a larger number, "
                f"or {_CUT}"
            )
        if pixels > PIXELS_A_BYTE * self.file_bytes:
            raise UserError(
                f"the image {self.name} says that it has {has}, which is more than its {self.file_bytes:,} bytes can "
                "hold: expected a whole file; copy or download it again, or if it is right, use "
                f"{option('max_pixels', pixels)}"
            )
        raise UserError(
            f"the image {self.name} has {has}, which take {pixels * BYTES_A_PIXEL / 1e9:.1f} GB: expected fewer than "
            f"this machine's memory can hold; {_CUT}"
        )


def check_enlarged(size: tuple[int, int], enlarged: tuple[int, int], max_pixels: int | None = None) -> None:
    """Refuses a long side that enlarges an image to too many pixels; the image's own size is always allowed.

    Args:
        size: (height, width) of the image.
        enlarged: (height, width) after resizing.
        max_pixels: limit set by the user; None: as many as Pillow allows.

    Raises:
        UserError: too many pixels.
    """
    limit = pillow_limit() if max_pixels is None else max_pixels
    pixels = enlarged[0] * enlarged[1]
    if limit is not None and pixels > max(limit, size[0] * size[1]):
        raise UserError(
            f"{option('long_side', max(enlarged))} makes the image {enlarged[1]} × {enlarged[0]} pixels: expected at "
            f"most {limit:,}; use a smaller long side, or {option('max_pixels', pixels)}"
        )


def pillow_limit() -> int | None:
    """`PIL.Image.MAX_IMAGE_PIXELS` as set by the user; None: no limit."""
    with without_warnings():  # for its lock: another thread may be in `allow_pixels`
        return Image.MAX_IMAGE_PIXELS


@contextmanager
def allow_pixels(pixels: int) -> Iterator[None]:
    """Lets Pillow read an image of `pixels` pixels in a block.

    A lower limit of Pillow is raised, for one thread at a time, as it is global.
    """
    limit = pillow_limit()
    if limit is None or pixels <= limit:
        yield
        return
    with without_warnings(Image.DecompressionBombWarning):
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def machine_memory() -> int | None:
    """The machine's memory in bytes; None where it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
