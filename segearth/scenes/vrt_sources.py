"""Checks of the source files of a VRT.

GDAL opens a VRT even if source files are missing. The first read of a missing file fails; later reads may return zeros
or uninitialised memory without an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segearth.errors import UserError, printable

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


class VrtSources:
    """Source files of a VRT, checked while it is read."""

    def __init__(self, dataset: DatasetReader, can_reopen: bool) -> None:
        """Lists the source files.

        Args:
            dataset: an open dataset; only a VRT has source files.
            can_reopen: whether the dataset is reopened after a failed read.
        """
        self._files = _local_sources(dataset)
        # GDAL keeps a failed source of a VRT inside a VRT, also for new handles
        self._failure_is_permanent = not can_reopen or any(map(_is_vrt, self._files))
        self._missing_file: str | None = None

    def check(self) -> None:
        """Checks the files after a successful read, which may have returned zeros.

        Raises:
            FileNotFoundError: a file is missing, or it was and GDAL will not notice that it is back.
        """
        missing = self._missing_file or _missing(self._files)
        if missing is not None:
            self._missing_file = missing if self._failure_is_permanent else None
            raise FileNotFoundError(f"{missing} is gone, or was while it was read")

    def check_failure(self) -> None:
        """Checks after a failed read whether a file cannot be opened."""
        if self._failure_is_permanent and self._missing_file is None:
            self._missing_file = next((file for file in self._files if not _can_open(file)), None)


def refuse_missing(dataset: DatasetReader, name: str) -> None:
    """Refuses a VRT with a missing source file.

    Args:
        dataset: an open dataset.
        name: its name, for messages.

    Raises:
        UserError: a source file is missing.
    """
    if (file := _missing(_local_sources(dataset))) is not None:
        raise UserError(
            f"{name} takes pixels from {printable(file)}, which cannot be found: expected all of its files; put it "
            "back, or leave it out"
        )


def _local_sources(dataset: DatasetReader) -> tuple[str, ...]:
    """Returns the local source files of a VRT, including those of nested VRTs; empty for other formats."""
    sources: dict[str, None] = {}
    _collect_sources(dataset, sources)
    return tuple(sources)


def _collect_sources(dataset: DatasetReader, sources: dict[str, None]) -> None:
    """Adds the source files of a VRT to a dictionary, which keeps their order."""
    import rasterio

    if dataset.driver != "VRT":
        return
    for file in dataset.files:
        if file in sources or file == dataset.name or file.startswith("/vsi") or not Path(file).is_absolute():
            continue
        sources[file] = None
        if _is_vrt(file):
            try:
                with rasterio.open(file) as inner:
                    _collect_sources(inner, sources)
            except (rasterio.errors.RasterioError, OSError):
                pass  # reading it fails later, with the reason


def _is_vrt(file: str) -> bool:
    return file.lower().endswith(".vrt")


def _missing(files: tuple[str, ...]) -> str | None:
    return next((file for file in files if not Path(file).exists()), None)


def _can_open(file: str) -> bool:
    import rasterio

    try:
        rasterio.open(file).close()
    except (rasterio.errors.RasterioError, OSError):
        return False
    return True
