"""Existing files of polygons: whether they are what a command would write now, and may be replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segearth.errors import UserError, option
from segearth.hashes import sha256_of
from segearth.jobs.existing_results import check_summary, complete_files, listed_files, read_summary, refuse_foreign
from segearth.vectors.formats import FORMATS


def finished_summary(
    path: Path, style: Path | None, record: Path, settings: dict[str, Any], labels: Path
) -> dict[str, Any] | None:
    """The summary of polygons that are there and complete; None if they are to be written.

    Args:
        path: of the polygons.
        style: of the file of their style; None where they hold it.
        record: of the summary.
        settings: all that the polygons depend on.
        labels: the map, for messages.

    Raises:
        UserError: the polygons were made with other settings, or changed since; or are not ours.
    """
    if not record.exists():
        refuse_foreign([path], record, "file")
        return None
    summary = check_summary(record, settings, labels)
    if path.name not in listed_files(summary) or not all(file.is_file() for file in (path, style) if file is not None):
        return None
    if path.name not in complete_files(summary, path.parent):  # our files appear whole: somebody has edited this one
        raise _changed(path)
    return summary


def refuse_style(style: Path | None) -> None:
    """Refuses to replace a style that is not ours: QGIS reads and writes one file for polygons of all formats.

    Raises:
        UserError: the style is not ours, or was changed.
    """
    if style is None or not style.exists():
        return
    records = [style.with_suffix(f".{suffix}.json") for suffix in FORMATS]
    listed = [listed_files(read_summary(record)).get(style.name, {}) for record in records]
    hashes = {facts["sha256"] for facts in listed if "sha256" in facts}
    if not hashes:
        refuse_foreign([style], records[-1], "style")
    if sha256_of(style) not in hashes:
        raise _changed(style)


def refuse_open(path: Path) -> None:
    """Refuses to replace a GeoPackage with changes that SQLite keeps beside it: it would apply them to the new one.

    Raises:
        UserError: there are such changes.
    """
    log = path.with_name(f"{path.name}-wal")
    if path.exists() and log.exists():
        raise UserError(
            f"{path} is open in another program, or was when that program ended, as {log.name} is beside it: expected "
            f"a file that nobody uses; close it there (or open and close it once), or use another {option('out')}"
        )


def _changed(path: Path) -> UserError:
    return UserError(
        f"{path} was changed since it was written, perhaps in a GIS program: expected the file as it was; use "
        f"another {option('out')}, or {option('overwrite', True)} to write over it"
    )
