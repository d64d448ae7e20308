"""Kind of an input: scene (mapped in blocks, georeferenced) or picture (mapped in one piece)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segearth import tiff
from segearth.addresses import gdal_name, gdal_settings, is_remote, is_subdataset
from segearth.errors import UserError, option, printable, program, without_warnings
from segearth.extras import install_command
from segearth.images.pixel_limit import pillow_limit
from segearth.paths import user_path
from segearth.scenes.stac import is_item

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_MOST_BANDS = 4  # of a picture: RGB and one more
_DRIVERS = {"BMP", "COG", "GIF", "GTiff", "JP2OpenJPEG", "JPEG", "PNG", "WEBP"}  # of formats that Pillow can read


def scene_reason(address: str | Path) -> str | None:
    """Returns the reason why an input is mapped as a scene; None for a picture.

    Args:
        address: an address (see `segearth.addresses`) or a path. Only local files are opened, and no pixels are
            read.

    Returns:
        The end of a sentence about the input, such as "has 13 bands". None also for files that cannot be opened:
        reading them as a picture raises the error.

    Raises:
        UserError: an unknown scheme; a georeferenced file, but rasterio is not installed.
    """
    text = str(address)
    if not isinstance(address, Path):
        if (reason := _address_reason(text)) is not None:
            return reason
        if "://" in text:  # file://
            text = gdal_name(text)
    path = user_path(text)
    if not path.is_file():
        return None
    if path.suffix.lower() == ".vrt":
        return "is a VRT"
    if is_item(text):
        return "is JSON, as STAC Items are"
    try:
        import rasterio
    except ImportError:
        _refuse_coordinates(path)
        return None
    name = str(path.absolute())
    with gdal_settings(name), without_warnings(rasterio.errors.NotGeoreferencedWarning):
        try:
            with rasterio.open(name) as dataset:
                return _dataset_reason(dataset)
        except (rasterio.errors.RasterioError, OSError, UnicodeError):  # UnicodeError: GDAL accepts only names in UTF-8
            return None


def _address_reason(text: str) -> str | None:
    """Returns the reason why an address is that of a scene, without opening it; None if it may be a picture."""
    if text.lstrip().startswith("<"):
        return "is XML that describes a raster"
    name = gdal_name(text) if "://" in text else text
    if is_remote(name):
        return "is an address on a network"
    if name.startswith("/vsi"):
        return "is a file within another one"
    return "is a raster within a file" if is_subdataset(text) else None


def _dataset_reason(dataset: DatasetReader) -> str | None:
    """Returns the reason why a file is a scene; None for a picture."""
    if dataset.crs is not None:
        name = dataset.crs.to_string()
        return f"has {'a coordinate system' if '[' in name else f'the coordinate system {name}'}"
    if not dataset.transform.is_identity or dataset.gcps[0] or dataset.rpcs is not None:
        return "has coordinates"
    if dataset.driver not in _DRIVERS or dataset.count == 0:
        return f"is of the format {dataset.driver}"
    if dataset.count > _MOST_BANDS:
        return f"has {dataset.count} bands"
    if dtype := next((dtype for dtype in dataset.dtypes if dtype != "uint8"), None):
        return f"has samples of the type {dtype}"
    pixels, limit = dataset.height * dataset.width, pillow_limit()
    return f"has {pixels:,} pixels" if limit is not None and pixels > limit else None


def _refuse_coordinates(path: Path) -> None:
    """Refuses a georeferenced TIFF, because rasterio is needed to keep its coordinates.

    Raises:
        UserError: it is georeferenced.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) not in tiff.MAGIC or not tiff.read_page(file, count=False).geokeys:
                return
    except (OSError, tiff.Damaged):
        return
    otherwise = f"{option('as', 'picture')} maps it without them" if program() else "without them: Predictor.predict"
    raise UserError(
        f"{printable(path)} has coordinates: expected rasterio, which keeps them and is not installed; "
        f"{install_command('geo')}; or {otherwise}"
    )
