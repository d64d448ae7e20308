"""The files of a scene's map that are there: which are whole, and what goes with a map that is replaced."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segearth.errors import UserError
from segearth.json_files import read_json

POLYGONS = "polygons"  # as in NAME.polygons.gpkg, with NAME.polygons.gpkg.json beside it


def whole_files(summary: Mapping[str, Any], folder: Path) -> set[str]:
    """The names of the files that are as long as a summary says; none where it is no summary.

    Args:
        summary: as read, of a map or of polygons.
        folder: of the files.
    """
    try:
        sizes = {name: about["bytes"] for name, about in summary["files"].items()}
    except (LookupError, TypeError, AttributeError):
        return set()
    return {name for name, size in sizes.items() if size is not None and _size(folder / name) == size}


def stale_files(summary: Path, others: Iterable[Path], *, polygons: bool) -> list[Path]:
    """What goes when a new map comes: it would be taken for the new one's.

    Args:
        summary: of the map that is there, or was.
        others: rasters that the new map does not have; those that the summary lists go.
        polygons: whether those of the earlier map go.

    Returns:
        The files, the summary last: it tells that all others are there.
    """
    listed = _listed(summary)
    found = [path for record in _records(summary) for path in (*_polygons(record), record)] if polygons else []
    return [*found, *(path for path in others if path.name in listed), summary]


def refuse_changed_polygons(summary: Path) -> None:
    """Refuses to replace a map whose polygons somebody has worked on: they would go with it.

    Args:
        summary: of the map.

    Raises:
        UserError: there are some.
    """
    records = _records(summary)
    whole = {name for record in records for name in whole_files(_read(record), record.parent)}  # of two one style
    for record in records:
        if changed := next((path for path in _polygons(record) if path.name not in whole), None):
            raise UserError(
                f"{changed} was changed since it was written, perhaps in a GIS program, and is of the map that would "
                f"be replaced: expected the file as it was; move it away, with {record.name}"
            )


def _records(summary: Path) -> list[Path]:
    """The summaries of a map's polygons."""
    name = summary.name.removesuffix(".summary.json")
    return sorted(summary.parent.glob(f"{glob.escape(name)}.{POLYGONS}.*.json"))


def _polygons(record: Path) -> list[Path]:
    """The files that a summary of polygons lists, as far as they are there."""
    begin = record.name.partition(f".{POLYGONS}.")[0] + f".{POLYGONS}."
    paths = (record.with_name(name) for name in _listed(record) if name.startswith(begin) and "/" not in name)
    return sorted(path for path in paths if path.is_file())


def _listed(summary: Path) -> set[str]:
    """The names of the files that a summary lists."""
    files = _read(summary).get("files")
    return set(files) if isinstance(files, dict) else set()


def _read(summary: Path) -> dict[str, Any]:
    """A summary; nothing where there is none."""
    try:
        found = read_json(summary)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _size(path: Path) -> int | None:
    """Bytes of a file; None if there is none."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):  # a name that can be none
        return None
