"""Images in: a picture becomes (H, W, 3) uint8 RGB, or one sentence that says why not."""

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
    """Reads an image and tells what was done to it.

    Args:
        source: a path, a binary file that is open, a PIL image, or an array (H, W, 3) uint8 in RGB order.
        max_pixels: the most that a file may have; None: as many as Pillow allows, and as many as its bytes can hold.
            Arrays and PIL images may have any number.

    Returns:
        The image, (H, W, 3) uint8 RGB, upright; and remarks, one sentence each: alpha dropped, rotated
        by its EXIF tag, gray or palette made RGB, first of several frames taken, coordinates that are not kept.

    Raises:
        UserError: no file, empty, truncated, not an image of `segearth.images.files.FORMATS`, not 8-bit, bands that
            are no colours, more pixels than the file may have, or an array of another shape or type.
    """
    if isinstance(source, np.ndarray):
        return _check_array(source), []
    if isinstance(source, Image.Image):
        with given_image(source) as opened:
            return _to_rgb(opened)
    if not (isinstance(source, str | os.PathLike) or hasattr(source, "read")):
        raise UserError(
            f"the image is a {type(source).__name__}: expected a path, a binary file such as io.BytesIO, a PIL image "
            "or an array (H, W, 3) uint8"
        )
    with open_image(source, max_pixels) as opened:
        return _to_rgb(opened)


def check_image(path: str | Path, max_pixels: int | None = None) -> tuple[int, int]:
    """Refuses a file that `read_image` would refuse, as far as its header tells: no pixel is read.

    Returns:
        The image's size (height, width), upright.

    Raises:
        UserError: as `read_image`; a truncated file may pass.
    """
    return read_header(path, max_pixels).size


@dataclass(frozen=True)
class Header:
    """What the header of an image says.

    Attributes:
        size: (height, width), upright.
        orientation: by which it is turned upright, as EXIF numbers it; 1 where it is.
        remarks: as of `read_image`, as far as they are known before pixels are read.
    """

    size: tuple[int, int]
    orientation: int
    remarks: tuple[str, ...]


def read_header(path: str | os.PathLike[str] | BinaryIO, max_pixels: int | None = None) -> Header:
    """Checks a file as `check_image` does, and tells what is known of it without a pixel.

    Raises:
        UserError: as `check_image`.
    """
    with open_image(path, max_pixels, header_only=True) as opened:
        height, width = opened.image.height, opened.image.width
        size = (width, height) if opened.orientation in (5, 6, 7, 8) else (height, width)
        return Header(size, opened.orientation, opened.remarks)


def _check_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Accepts (H, W, 3) uint8 with at least one pixel, as it is."""
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise UserError(
            f"the image is an array of shape {array.shape} and type {array.dtype}: expected (H, W, 3) uint8 "
            "in RGB order; scale other types to 0-255 first"
        )
    return array


def _to_rgb(opened: OpenedImage) -> tuple[NDArray[np.uint8], list[str]]:
    """8-bit RGB, upright, and the remarks."""
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
