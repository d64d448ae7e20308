"""Images in: anything Pillow opens becomes (H, W, 3) uint8 RGB, or one sentence that says why not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from segearth.errors import UserError, without_warnings

if TYPE_CHECKING:
    from numpy.typing import NDArray

ImageLike: TypeAlias = "str | Path | Image.Image | NDArray[np.uint8]"

_EXIF_ORIENTATION = 274
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_GEOKEYS = 34735  # GeoTIFF 1.1, GeoKeyDirectoryTag
_MENDING = "stretch it to 8 bits first, for example: gdal_translate -ot Byte -scale in.tif out.tif"


def read_image(source: ImageLike) -> tuple[NDArray[np.uint8], list[str]]:
    """Reads an image and tells what was done to it.

    Args:
        source: a path, a PIL image, or an array (H, W, 3) uint8 in RGB order.

    Returns:
        The image, (H, W, 3) uint8 RGB, upright; and remarks, one sentence each: alpha dropped, rotated
        by its EXIF tag, gray or palette made RGB, first of several frames taken, coordinates that are not kept.

    Raises:
        UserError: no file, empty, truncated, not an image, not 8-bit, over Pillow's pixel limit, or an
            array of another shape or type.
    """
    if isinstance(source, np.ndarray):
        return _check_array(source), []
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the given image")
    if not isinstance(source, str | Path):
        raise UserError(
            f"the image is a {type(source).__name__}: expected a path, a PIL image or an array (H, W, 3) uint8"
        )
    with _opened(Path(source)) as image:
        return _to_rgb(image, str(source))


def check_image(path: Path) -> tuple[int, int]:
    """Refuses a file that `read_image` would refuse, as far as its header tells: no pixel is read.

    Returns:
        The image's size (height, width) as it is stored.

    Raises:
        UserError: as `read_image`; a truncated file may pass.
    """
    with _opened(path) as image:
        _check_depth(image, str(path))
        return image.height, image.width


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Opens an image; whatever is wrong with it, here or in the block, becomes a `UserError`."""
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"the image {path} {found}: give the path of an image file (PNG, JPEG, TIFF, ...)")
    try:
        if path.stat().st_size == 0:
            raise UserError(f"the image {path} is empty (0 bytes): copy or download it again")
        with without_warnings(Image.DecompressionBombWarning):  # our own check says it better
            image = Image.open(path)
        with image:
            _check_pixels(image, path)
            yield image
    except Image.DecompressionBombError:
        raise UserError(_too_large(path)) from None
    except UnidentifiedImageError:
        raise UserError(_unidentified(path)) from None
    except PermissionError:
        raise UserError(
            f"the image {path} may not be read here: expected a readable file; change its permissions"
        ) from None
    except (OSError, SyntaxError, EOFError, ValueError, IndexError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the image {path} is damaged or truncated ({error}): copy or download it again") from None


def _check_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Accepts (H, W, 3) uint8 with at least one pixel, as it is."""
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise UserError(
            f"the image is an array of shape {array.shape} and type {array.dtype}: expected (H, W, 3) uint8 "
            "in RGB order; scale other types to 0-255 first"
        )
    return array


def _to_rgb(image: Image.Image, name: str) -> tuple[NDArray[np.uint8], list[str]]:
    """8-bit RGB, upright, and the remarks."""
    _check_depth(image, name)
    remarks = []
    if getattr(image, "n_frames", 1) > 1:
        remarks.append(f"{name} has {image.n_frames} frames; the first one is used")  # type: ignore[attr-defined]
    if _TIFF_GEOKEYS in getattr(image, "tag_v2", {}):
        remarks.append(f"{name} has coordinates, which its map does not keep")
    image.load()
    if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        remarks.append(f"{name} is turned upright as its EXIF orientation says")
        image = ImageOps.exif_transpose(image)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        remarks.append(f"{name} has an alpha channel, which is dropped")
    if image.mode in ("L", "LA", "1"):
        remarks.append(f"{name} is grayscale; its one band is used three times")
    elif image.mode not in ("RGB", "RGBA", "P", "PA"):
        remarks.append(f"{name} is {image.mode} and was converted to RGB")
    if image.mode == "RGBA":  # drop alpha, do not blend it
        rgb = Image.merge("RGB", image.split()[:3])
    elif image.mode in ("P", "PA"):
        rgb = image.convert("RGBA").convert("RGB")
    else:
        rgb = image.convert("RGB")
    return np.asarray(rgb), remarks


def _check_depth(image: Image.Image, name: str) -> None:
    """Refuses more than 8 bits a band, also where Pillow would silently drop the lower half."""
    raw = str([tile[3] for tile in getattr(image, "tile", [])])  # decoder arguments, such as 'RGB;16B'
    bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS_PER_SAMPLE, (8,))
    if image.mode == "F":
        kind = "float"
    elif image.mode.startswith("I;16") or ";16" in raw or max(bits) == 16:
        kind = "16-bit"
    elif image.mode == "I" or max(bits) > 16:
        # Pillow opens 16-bit PNGs of older versions as I
        kind = "16-bit" if image.format == "PNG" else "32-bit"
    else:
        return
    raise UserError(f"{name} is a {kind} image ({image.mode}): expected 8 bits a band; {_MENDING}")


def _check_pixels(image: Image.Image, path: Path) -> None:
    """Keeps Pillow's own limit as an error: such a file may be made to fill the memory."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise UserError(_too_large(path, image.width, image.height))


def _unidentified(path: Path) -> str:
    """Why Pillow does not know a file: a TIFF of a kind that it cannot read, or no image at all."""
    with path.open("rb") as file:
        if file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return (
                f"{path} is a TIFF that Pillow cannot read (float, more than 8 bits, more than 4 bands, or truncated): "
                "expected 3 bands of 8 bits; convert it, for example: "
                "gdal_translate -b 1 -b 2 -b 3 -ot Byte -scale in.tif out.tif"
            )
    return f"{path} is not an image that Pillow can read: expected 8-bit PNG, JPEG, TIFF, WebP, ...; give such a file"


def _too_large(path: Path, width: int | None = None, height: int | None = None) -> str:
    size = f"has {width} × {height} pixels" if width else "is very large"
    return (
        f"the image {path} {size}, more than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,} pixels: "
        "cut it into tiles first, for example with gdal_retile.py"
    )
