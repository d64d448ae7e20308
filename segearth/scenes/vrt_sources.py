"""The files that a virtual raster takes its pixels from.

GDAL opens a VRT whether they are there or not. It fails at the first read of one that is missing, and may say nothing
at the next ones, which give zeros or whatever is in the memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segearth.errors import UserError, printable

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


class Sources:
    """Watches the files of a raster while it is read."""

    def __init__(self, dataset: DatasetReader, opens_again: bool) -> None:
        """Starts.

        Args:
            dataset: open; only a VRT has such files.
            opens_again: whether it is opened anew after a failed read.
        """
        self._files = _local_sources(dataset)
        # what GDAL opened for a VRT in a VRT stays as it is after a failure, also for handles that come later
        self._stays = not opens_again or any(map(_is_vrt, self._files))
        self._lost: str | None = None

    def check(self) -> None:
        """After a read, which may have given zeros instead.

        Raises:
            FileNotFoundError: one of them is not there; or it was not and GDAL will not see that it came back.
        """
        lost = self._lost or _missing(self._files)
        if lost is not None:
            self._lost = lost if self._stays else None
            raise FileNotFoundError(f"{lost} is gone, or was while it was read")

    def failed(self) -> None:
        """After a read that failed: looks whether it was for a file that cannot be opened."""
        if self._stays and self._lost is None:
            self._lost = next((file for file in self._files if not _opens(file)), None)


def refuse_missing(dataset: DatasetReader, name: str) -> None:
    """Refuses a VRT that takes pixels from a file that is not there.

    Args:
        dataset: open.
        name: of it, for messages.

    Raises:
        UserError: it is one of these.
    """
    if (file := _missing(_local_sources(dataset))) is not None:
        raise UserError(
            f"{name} takes pixels from {printable(file)}, which cannot be found: expected all of its files; put it "
            "back, or leave it out"
        )


def _local_sources(dataset: DatasetReader) -> tuple[str, ...]:
    """Files on this computer that a VRT is made of, also by further VRTs; nothing of other rasters."""
    found: dict[str, None] = {}
    _collect(dataset, found)
    return tuple(found)


def _collect(dataset: DatasetReader, found: dict[str, None]) -> None:
    """Adds the files of a VRT."""
    import rasterio

    if dataset.driver != "VRT":
        return
    for file in dataset.files:
        if file in found or file == dataset.name or file.startswith("/vsi") or not Path(file).is_absolute():
            continue
        found[file] = None
        if _is_vrt(file):
            try:
                with rasterio.open(file) as inner:
                    _collect(inner, found)
            except (rasterio.errors.RasterioError, OSError):
                pass  # reading it will fail, and say why


def _is_vrt(file: str) -> bool:
    return file.lower().endswith(".vrt")


def _missing(files: tuple[str, ...]) -> str | None:
    return next((file for file in files if not Path(file).exists()), None)


def _opens(file: str) -> bool:
    import rasterio

    try:
        rasterio.open(file).close()
    except (rasterio.errors.RasterioError, OSError):
        return False
    return True
