"""Existing files of a map: which to remove, and which not to lose, when the map is replaced."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from segearth.errors import UserError
from segearth.jobs.existing_results import complete_files, listed_files, read_summary

POLYGONS = "polygons"  # files NAME.polygons.gpkg and NAME.polygons.gpkg.json


def stale_files(summary: Path, others: Iterable[Path], *, polygons: bool) -> list[Path]:
    """Returns the files of an earlier map to remove when a new map replaces it.

    Args:
        summary: path of the summary of the earlier map; it may be missing.
        others: paths of rasters that the new map does not have; removed if the summary lists them.
        polygons: whether to remove the polygons of the earlier map.

    Returns:
        The files; the summary is last, because it marks the map as complete.
    """
    listed = listed_files(read_summary(summary))
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
    unchanged: set[str] = set()  # of all records: two formats share the file of a style
    for record in records:
        unchanged |= complete_files(read_summary(record), record.parent)
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
    names = listed_files(read_summary(record))
    paths = (record.with_name(name) for name in names if name.startswith(prefix) and "/" not in name)
    return sorted(path for path in paths if path.is_file())
