"""Existing files of a map: which are complete, and which to remove when the map is replaced."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segearth.errors import UserError
from segearth.json_files import read_json

POLYGONS = "polygons"  # files NAME.polygons.gpkg and NAME.polygons.gpkg.json


def complete_files(summary: Mapping[str, Any], folder: Path) -> set[str]:
    """Returns the names of the files that have the size that a summary lists.

    Args:
        summary: content of the summary of a map or of polygons; an invalid one lists no files.
        folder: folder of the files.
    """
    try:
        sizes = {name: record["bytes"] for name, record in summary["files"].items()}
    except (LookupError, TypeError, AttributeError):
        return set()
    return {name for name, size in sizes.items() if size is not None and _size(folder / name) == size}


def stale_files(summary: Path, others: Iterable[Path], *, polygons: bool) -> list[Path]:
    """Returns the files of an earlier map to remove when a new map replaces it.

    Args:
        summary: path of the summary of the earlier map; it may be missing.
        others: paths of rasters that the new map does not have; removed if the summary lists them.
        polygons: whether to remove the polygons of the earlier map.

    Returns:
        The files; the summary is last, because it marks the map as complete.
    """
    listed = _listed(summary)
    polygon_files = [path for record in _records(summary) for path in (*_polygons(record), record)] if polygons else []
    return [*polygon_files, *(path for path in others if path.name in listed), summary]


def refuse_changed_polygons(summary: Path) -> None:
    """Refuses to replace a map whose polygon files were edited, because they would be lost.

    Args:
        summary: path of the summary of the map.

    Raises:
        UserError: a polygon file was edited.
    """
    records = _records(summary)
    unchanged = {name for record in records for name in complete_files(_read(record), record.parent)}  # files may share
    for record in records:
        if changed := next((path for path in _polygons(record) if path.name not in unchanged), None):
            raise UserError(
                f"{changed} was changed since it was written, perhaps in a GIS program, and belongs to the map that "
                f"would be replaced: expected an unchanged file; move it away, with {record.name}"
            )


def _records(summary: Path) -> list[Path]:
    """Returns the summaries of the polygons of a map."""
    name = summary.name.removesuffix(".summary.json")
    return sorted(summary.parent.glob(f"{glob.escape(name)}.{POLYGONS}.*.json"))


def _polygons(record: Path) -> list[Path]:
    """Returns the existing files that a summary of polygons lists."""
    prefix = record.name.partition(f".{POLYGONS}.")[0] + f".{POLYGONS}."
    paths = (record.with_name(name) for name in _listed(record) if name.startswith(prefix) and "/" not in name)
    return sorted(path for path in paths if path.is_file())


def _listed(summary: Path) -> set[str]:
    """Returns the names of the files that a summary lists."""
    files = _read(summary).get("files")
    return set(files) if isinstance(files, dict) else set()


def _read(summary: Path) -> dict[str, Any]:
    """Reads a summary; empty if it is missing or invalid."""
    try:
        content = read_json(summary)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _size(path: Path) -> int | None:
    """Returns the size of a file in bytes; None if there is no such file."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):  # not a valid file name
        return None
