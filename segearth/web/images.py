"""Images, from a path or an upload to what a page needs to know of them."""

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
from segearth.web.answers import Refused
from segearth.web.rasters import ENDINGS, check_size, open_plain
from segearth.windows import CROP, STRIDE

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_MOST_LISTED = 5000


@dataclass(frozen=True)
class Root:
    """The folder of images that can be given by their paths.

    Attributes:
        folder: absolute, without links.
    """

    folder: Path

    @classmethod
    def of(cls, folder: Path) -> Root:
        """Takes a folder.

        Raises:
            UserError: there is none.
        """
        if not folder.is_dir():
            raise UserError(f"no folder at {folder}: expected that of the images; correct the path")
        return cls(folder.resolve())

    def find(self, path: str, *, folder: bool) -> Path:
        """A file or a folder below it.

        Args:
            path: relative, with slashes.
            folder: whether a folder is meant.

        Raises:
            Refused: there is none, or it lies elsewhere, be it by links.
        """
        gone = Refused(
            404,
            f"there is no {'folder' if folder else 'file'} at {printable(path)[:300]}: expected one below "
            f"{printable(self.folder.name)}; choose another",
            "path",
        )
        try:
            place = (self.folder / path).resolve(strict=True)
            fits = place.is_dir() if folder else place.is_file()
        except (OSError, ValueError, RuntimeError):  # also of null bytes, and of links in a circle
            raise gone from None
        if not fits or not (place == self.folder or self.folder in place.parents):
            raise gone
        return place

    def listing(self, path: str) -> dict[str, Any]:
        """What is in a folder: other folders and images, without hidden ones; "more" where there are too many to list.

        Raises:
            Refused: as of `find`.
        """
        place = self.find(path, folder=True)
        folders: list[str] = []
        files: list[dict[str, Any]] = []
        more = False
        try:
            entries = sorted(place.iterdir(), key=lambda entry: entry.name.lower())
        except OSError as error:
            raise Refused(
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
            except (OSError, RuntimeError):  # links in a circle
                continue
        inside = place.relative_to(self.folder).as_posix()
        return {"path": "" if inside == "." else printable(inside), "folders": folders, "files": files, "more": more}

    def _is_below(self, entry: Path) -> bool:
        return self.folder in entry.resolve().parents


def inspect(path: Path, name: str, *, sent: bool) -> dict[str, Any]:
    """What is known of an image when it is opened, as JSON; nothing of it is read.

    Args:
        path: of it.
        name: of it.
        sent: whether a stranger may have sent it.

    Raises:
        UserError: it is none that can be mapped.
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
            "windows": Frame.of((height, width), 1.0, CROP, STRIDE).grid.count,
        }


def file_name(name: str) -> str:
    """What the files of a map are called, of what its image is called: letters, digits, - and _ alone."""
    stem = re.sub(r"(?<=.)\.[^.]*$", "", name)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_")[:60] or "image"


def _crs(dataset: DatasetReader) -> str | None:
    if dataset.crs is None:
        return None
    code = dataset.crs.to_epsg()
    return f"EPSG:{code}" if code else printable(dataset.crs.to_string())[:200]
