"""Opens untrusted rasters: only plain image formats, without references to other files, limited in size.

GDAL opens more than images: VRTs and map services refer to other files and servers, which it would read. Therefore each
file is opened only with the driver of the format that its first bytes have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.addresses import gdal_settings
from segearth.errors import UserError, without_warnings
from segearth.images.pixel_limit import PIXELS_A_BYTE

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_FORMATS = {  # pattern of the first bytes -> GDAL driver
    rb"II[*+]\0|MM\0[*+]": "GTiff",
    rb"\x89PNG\r\n\x1a\n": "PNG",
    rb"\xff\xd8\xff": "JPEG",
    rb"RIFF....WEBP": "WEBP",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "JP2OpenJPEG",
}
NAMES = "GeoTIFF, PNG, JPEG, WebP or JPEG 2000"
ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".jp2")
_MOST_PART = 512 << 20  # bytes of a block, which is decoded at once
_MOST_WHOLE = 2 << 30  # bytes of an image without blocks
_UNSUSPECTED = 64 << 20  # bytes that a file of any size may decode to
_MOST_BANDS = 1000


@contextmanager
def open_plain(path: Path, name: str, level: int | None = None) -> Iterator[DatasetReader]:
    """Opens an image file of a supported format.

    Args:
        path: path of the file.
        name: its name in messages.
        level: overview to open instead of the image, from 0.

    Raises:
        UserError: an unsupported format, or references to other files.
    """
    import rasterio

    more: dict[str, Any] = {} if level is None else {"OVERVIEW_LEVEL": level}
    with gdal_settings(str(path)):
        try:
            driver = _driver(path)
            with without_warnings(rasterio.errors.NotGeoreferencedWarning):
                dataset = rasterio.open(path, driver=driver, **more)
        except (rasterio.errors.RasterioError, OSError):
            what = f"no image that can be mapped, {NAMES}" if path.is_file() else "no longer there"
            raise UserError(
                f"{name} is {what}: expected a whole file of such a format; save it as a GeoTIFF or PNG, and give that"
            ) from None
        with dataset:
            # GDAL would open any file or address named there
            if "OVERVIEW_FILE" in dataset.tags(ns="OVERVIEWS"):
                raise UserError(
                    f"{name} refers to another file for its overviews: expected an image that is whole by itself; "
                    "copy it by gdal_translate"
                )
            yield dataset


def _driver(path: Path) -> str:
    """The GDAL driver of a file by its first bytes.

    Raises:
        OSError: an unsupported format, or the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(16)
    for pattern, driver in _FORMATS.items():
        if re.match(pattern, head, re.DOTALL):
            return driver
    raise OSError("no format of images")


def check_size(dataset: DatasetReader, name: str, file_bytes: int | None) -> None:
    """Refuses an image that would fill the memory or the disk.

    Args:
        dataset: the open image.
        name: its name in messages.
        file_bytes: size of an uploaded file, which must be plausible for its pixels; None for a file that the owner of
            this computer gave by path.

    Raises:
        UserError: too many bands, pixels or bytes.
    """
    if dataset.count > _MOST_BANDS:
        raise UserError(
            f"{name} has {dataset.count:,} bands: expected at most {_MOST_BANDS}; take the ones that are colours"
        )
    whole = dataset.width * dataset.height * sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    size = f"{dataset.width:,} × {dataset.height:,} pixels"
    if file_bytes is not None and whole > max(_UNSUSPECTED, 3 * PIXELS_A_BYTE * file_bytes):
        raise UserError(
            f"{name} says that it has {size}, which is more than its {file_bytes:,} bytes can hold: expected a whole "
            "file; copy it again, or if it is right, give its path below the folder of images"
        )
    if dataset.driver != "GTiff" and whole > _MOST_WHOLE:
        raise UserError(
            f"{name} has {size}, {whole / 1e9:.1f} GB in one piece: expected at most {_MOST_WHOLE / 1e9:.1f} GB of "
            f"such a format ({dataset.driver}); save it as a tiled GeoTIFF, such as by gdal_translate -of COG"
        )
    if (part := part_bytes(dataset)) > _MOST_PART:
        raise UserError(
            f"{name} is stored in parts of {part / 1e6:,.0f} MB: expected at most {_MOST_PART / 1e6:.0f}; save it "
            "as a tiled GeoTIFF, such as by gdal_translate -of COG"
        )


def part_bytes(dataset: DatasetReader) -> int:
    """Bytes of a block of all bands, which is decoded at once."""
    tall, wide = dataset.block_shapes[0]
    bands = dataset.count if dataset.interleaving is not None and dataset.interleaving.value == "PIXEL" else 1
    return tall * wide * bands * max(np.dtype(kind).itemsize for kind in dataset.dtypes)
