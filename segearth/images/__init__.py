"""Reading of images: any supported source becomes (H, W, 3) uint8 RGB, or an error in one sentence."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from segearth.errors import UserError
from segearth.images.files import UPRIGHT, OpenedImage, given_image, open_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

ImageLike: TypeAlias = "str | os.PathLike[str] | BinaryIO | Image.Image | NDArray[np.uint8]"


def read_image(source: ImageLike, max_pixels: int | None = None) -> tuple[NDArray[np.uint8], list[str]]:
    """Reads an image and lists the conversions that were made.

    Args:
        source: a path, a binary file that is open, a PIL image, or an array (H, W, 3) uint8 in RGB order.
        max_pixels: maximum number of pixels of a file; None: see `PixelLimit`. Arrays and PIL images have no limit.

    Returns:
        The image, (H, W, 3) uint8 RGB, upright; and remarks, one sentence each: alpha dropped, rotated
        by its EXIF tag, converted from gray or palette, first of several frames used, coordinates dropped.

    Raises:
        UserError: no file, empty, truncated, a format that is not in `segearth.images.files.FORMATS`, not 8-bit, bands
            that are not colours, too many pixels, or an array of another shape or type.
    """
    if isinstance(source, np.ndarray):
        return _check_array(source), []
    if isinstance(source, Image.Image):
        with given_image(source) as opened:
            return _to_rgb(opened)
    if not (isinstance(source, str | os.PathLike) or hasattr(source, "read")):
        raise UserError(
            f"the image is a {type(source).__name__}: expected a path, a binary file such as io.BytesIO, a PIL image "
            "or an array (H, W, 3) uint8; give one of these"
        )
    with open_image(source, max_pixels) as opened:
        return _to_rgb(opened)


def check_image(path: str | Path, max_pixels: int | None = None) -> tuple[int, int]:
    """Checks an image file by its header, without reading pixels; refuses what `read_image` refuses.

    Returns:
        The size (height, width) of the upright image.

    Raises:
        UserError: see `read_image`; a truncated file may pass.
    """
    return read_header(path, max_pixels).size


@dataclass(frozen=True)
class Header:
    """The header of an image.

    Attributes:
        size: (height, width) of the upright image.
        orientation: EXIF orientation; 1: upright.
        remarks: those of `read_image` that are known before pixels are read.
    """

    size: tuple[int, int]
    orientation: int
    remarks: tuple[str, ...]


def read_header(path: str | os.PathLike[str] | BinaryIO, max_pixels: int | None = None) -> Header:
    """Checks an image file as `check_image` does, and returns its header.

    Raises:
        UserError: see `check_image`.
    """
    with open_image(path, max_pixels, header_only=True) as opened:
        height, width = opened.image.height, opened.image.width
        size = (width, height) if opened.orientation in (5, 6, 7, 8) else (height, width)
        return Header(size, opened.orientation, opened.remarks)


def _check_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the array if it is (H, W, 3) uint8 with at least one pixel."""
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise UserError(
            f"the image is an array of shape {array.shape} and type {array.dtype}: expected (H, W, 3) uint8 "
            "in RGB order; scale other types to 0-255 first"
        )
    return array


def _to_rgb(opened: OpenedImage) -> tuple[NDArray[np.uint8], list[str]]:
    """Converts to 8-bit upright RGB, and returns all remarks."""
    image, name, remarks = opened.image, opened.name, list(opened.remarks)
    image.load()
    if image.mode in ("L", "LA", "1"):
        remarks.append(f"{name} is grayscale; its one band is used three times")
    elif image.mode not in ("RGB", "RGBA", "RGBX", "P", "PA"):
        remarks.append(f"{name} is {image.mode} and was converted to RGB")
    if image.mode == "RGBA" or opened.bands != (0, 1, 2):  # drop alpha, do not blend it
        image = Image.merge("RGB", [image.getchannel(band) for band in opened.bands])
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA").convert("RGB")
    else:
        image = image.convert("RGB")
    if opened.orientation != 1:
        image = image.transpose(UPRIGHT[opened.orientation])
    return np.asarray(image), remarks
