"""Hashes of all that polygons depend on in a label map: its files, and what is read besides pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.errors import UserError, without_warnings
from segearth.hashes import sha256_of
from segearth.jobs.settings import settings_hash
from segearth.scenes.assemble import ENVIRONMENT
from segearth.scenes.block_files import gdal_errors

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

CLASS = "class_"  # and a value: the tags that name classes
# Made of a raster, or statistics of it, also by programs that only look; of names and colours what is read counts.
_DERIVED = (".aux.xml", ".ovr")


def content_hash(path: Path, file: DatasetReader) -> str:
    """SHA-256 of all that polygons depend on in a raster, wherever it lies.

    Args:
        path: of the raster.
        file: the open raster. Of a VRT all rasters that it is made of count, and those that they are made of.

    Raises:
        UserError: a part of it is no file on this computer, so a later run could not tell whether it has changed.
    """
    hashes: dict[str, str] = {}
    _add(path, file, hashes)
    return settings_hash({"files": list(hashes.values()), **_outline(file)})


@contextmanager
def open_with_companions(path: Path) -> Iterator[DatasetReader]:
    """Opens a raster with the files beside it (mask, names, colours); it need not be georeferenced."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with rasterio.Env(**ENVIRONMENT | {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}):
        with without_warnings(NotGeoreferencedWarning):
            file = rasterio.open(path)
        with file:
            yield file


def _add(path: Path, file: DatasetReader, hashes: dict[str, str]) -> None:
    """Adds the hashes of a raster's files, by their paths, and of the rasters that it is made of."""
    for name in sorted(file.files):
        part = Path(os.path.realpath(name))
        if str(part) in hashes or name.endswith(_DERIVED):
            continue
        if not part.is_file():
            raise UserError(
                f"{path} is made of {name}: expected files on this computer, which tell whether polygons are of it; "
                f"copy it to one: gdal_translate {path} {path.stem}.tif"
            )
        hashes[str(part)] = sha256_of(part)
        if part != Path(os.path.realpath(path)):
            with suppress(OSError), gdal_errors(), open_with_companions(part) as inner:  # or it is no raster
                _add(path, inner, hashes)


def _outline(file: DatasetReader) -> dict[str, Any]:
    """What is read of a raster besides pixels, from whichever of its files."""
    colours: dict[int, Any] = {}
    with suppress(ValueError):  # it has no palette
        colours = file.colormap(1)
    return {
        "transform": list(file.transform[:6]),
        "crs": None if file.crs is None else file.crs.to_wkt(),
        "nodata": str(file.nodata),
        "names": {key: text for key, text in file.tags(1).items() if key.startswith(CLASS)},
        "colours": {str(value): list(colour) for value, colour in colours.items()},
    }
