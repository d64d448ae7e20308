"""How many pixels an image file may have: what is refused is a file that lies about its size, not a large image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from segearth.errors import UserError, option, without_warnings

# Deflate, the densest of the usual codecs, makes at most 1,032 bytes of one byte: 344 pixels of three bands. A file
# that says it has more is cut off, damaged, or made to fill the memory; or nearly all of it is one colour.
PIXELS_A_BYTE = 344
BYTES_A_PIXEL = 7  # four while Pillow decodes, three of the array

_CUT = "cut it into tiles, for example with gdal_retile.py"


@dataclass(frozen=True)
class PixelLimit:
    """How many pixels a file may have.

    Attributes:
        name: of the file, for messages.
        file_bytes: its size.
        max_pixels: what the user allows, whatever the size of the file; None: as many as Pillow allows, and as many as
            the file's bytes can hold, if the memory can hold them, too.
    """

    name: str
    file_bytes: int
    max_pixels: int | None = None

    @property
    def most(self) -> int | None:
        """The most pixels; None: any number."""
        if self.max_pixels is not None:
            return self.max_pixels
        limit = pillows_limit()
        if limit is None:
            return None
        honest, memory = PIXELS_A_BYTE * self.file_bytes, machine_memory()
        return max(limit, honest if memory is None else min(honest, memory // BYTES_A_PIXEL))

    def check(self, pixels: int, size: str = "") -> None:
        """Refuses a file of more pixels.

        Args:
            pixels: their number, as the file's header says.
            size: what to tell of it instead, such as "20 × 10".

        Raises:
            UserError: there are too many.
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
    """Refuses a long side that makes an image of too many pixels; an image's own are never too many.

    Args:
        size: (height, width) of the image.
        enlarged: (height, width) as the long side makes it.
        max_pixels: what the user allows; None: as many as Pillow allows.

    Raises:
        UserError: there are more.
    """
    limit = pillows_limit() if max_pixels is None else max_pixels
    pixels = enlarged[0] * enlarged[1]
    if limit is not None and pixels > max(limit, size[0] * size[1]):
        raise UserError(
            f"{option('long_side', max(enlarged))} makes the image {enlarged[1]} × {enlarged[0]} pixels: expected at "
            f"most {limit:,}; use a smaller long side, or {option('max_pixels', pixels)}"
        )


def pillows_limit() -> int | None:
    """`PIL.Image.MAX_IMAGE_PIXELS` as the user left it; None: no limit."""
    with without_warnings():  # for its lock: `allowing` may be at work in another thread
        return Image.MAX_IMAGE_PIXELS


@contextmanager
def allowing(pixels: int) -> Iterator[None]:
    """Lets Pillow read an image of so many pixels in a block.

    Where its own limit is lower, that is raised, for one thread at a time, as it is one number for the whole process.
    """
    limit = pillows_limit()
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
    """The machine's memory in bytes; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
