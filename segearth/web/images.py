"""Images that can be opened by path, and the description of an image for the page."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.errors import UserError, printable
from segearth.scenes.grid import Frame
from segearth.scenes.pixel_areas import pixel_areas
from segearth.scenes.pixel_size import pixel_size
from segearth.web.rasters import ENDINGS, check_size, open_plain
from segearth.web.responses import RequestError
from segearth.windows import CROP, STRIDE

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_MOST_LISTED = 5000


@dataclass(frozen=True)
class Root:
    """The folder of images that can be opened by path.

    Attributes:
        folder: absolute path without links.
    """

    folder: Path

    @classmethod
    def of(cls, folder: Path) -> Root:
        """Checks and resolves a folder.

        Raises:
            UserError: no such folder.
        """
        if not folder.is_dir():
            raise UserError(f"no folder at {folder}: expected that of the images; correct the path")
        return cls(folder.resolve())

    def find(self, path: str, *, folder: bool) -> Path:
        """The absolute path of a file or folder below the root.

        Args:
            path: relative path with slashes.
            folder: whether it must be a folder.

        Raises:
            RequestError: it does not exist, or lies outside the root, also by links.
        """
        missing = RequestError(
            404,
            f"there is no {'folder' if folder else 'file'} at {printable(path)[:300]}: expected one below "
            f"{printable(self.folder.name)}; choose another",
            "path",
        )
        try:
            place = (self.folder / path).resolve(strict=True)
            fits = place.is_dir() if folder else place.is_file()
        except (OSError, ValueError, RuntimeError):  # also for null bytes and circular links
            raise missing from None
        if not fits or not (place == self.folder or self.folder in place.parents):
            raise missing
        return place

    def listing(self, path: str) -> dict[str, Any]:
        """Lists the folders and images in a folder, without hidden ones; "more" if there are too many.

        Raises:
            RequestError: see `find`.
        """
        place = self.find(path, folder=True)
        folders: list[str] = []
        files: list[dict[str, Any]] = []
        more = False
        try:
            entries = sorted(place.iterdir(), key=lambda entry: entry.name.lower())
        except OSError as error:
            raise RequestError(
                409, f"the folder cannot be read ({error.strerror}): expected one that can; choose another", "path"
            ) from None
        for entry in entries:
            try:
                is_folder = not entry.name.startswith(".") and entry.is_dir()
                is_image = not entry.name.startswith(".") and entry.suffix.lower() in ENDINGS and entry.is_file()
                if not (is_folder or is_image) or not self._is_below(entry):
                    continue
                if len(folders) + len(files) == _MOST_LISTED:
                    more = True
                    break
                if is_folder:
                    folders.append(printable(entry.name))
                else:
                    files.append({"name": printable(entry.name), "bytes": entry.stat().st_size})
            except (OSError, RuntimeError):  # circular links
                continue
        inside = place.relative_to(self.folder).as_posix()
        return {"path": "" if inside == "." else printable(inside), "folders": folders, "files": files, "more": more}

    def _is_below(self, entry: Path) -> bool:
        return self.folder in entry.resolve().parents


def inspect(path: Path, name: str, *, sent: bool) -> dict[str, Any]:
    """Describes an image by its header, as JSON.

    Args:
        path: path of the file.
        name: its name in messages.
        sent: whether it was uploaded, so that its content is not trusted.

    Raises:
        UserError: it cannot be mapped.
    """
    with open_plain(path, name) as dataset:
        check_size(dataset, name, path.stat().st_size if sent else None)
        height, width = dataset.height, dataset.width
        size = pixel_size(dataset.transform, dataset.crs, (height, width)).side_m
        areas = pixel_areas(dataset.transform, dataset.crs, (height, width)).values
        area = None if areas is None else float(np.mean(areas))
        placed = dataset.crs is not None or not dataset.transform.is_identity
        return {
            "width": width,
            "height": height,
            "bands": dataset.count,
            "crs": _crs(dataset),
            "transform": list(dataset.transform[:6]) if placed else None,
            "metres_per_pixel": size,
            "area_m2_per_pixel": area if area is not None and math.isfinite(area) else None,
            "windows": Frame.create((height, width), 1.0, CROP, STRIDE).grid.count,
        }


def file_name(name: str) -> str:
    """The name of a map's files, from the name of its image: only letters, digits, - and _."""
    stem = re.sub(r"(?<=.)\.[^.]*$", "", name)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_")[:60] or "image"


def _crs(dataset: DatasetReader) -> str | None:
    if dataset.crs is None:
        return None
    code = dataset.crs.to_epsg()
    return f"EPSG:{code}" if code else printable(dataset.crs.to_string())[:200]
