"""Polygons that earlier commands made: whether they are what a command would make now, and may be replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segearth.batch.earlier import check_summary, refuse_foreign
from segearth.errors import UserError, option
from segearth.hashes import sha256_of
from segearth.json_files import read_json
from segearth.vectors.formats import FORMATS


def finished(
    path: Path, style: Path | None, record: Path, settings: dict[str, Any], labels: Path
) -> dict[str, Any] | None:
    """The summary of a file that is there and whole; None if there is none.

    Args:
        path: of the polygons.
        style: of theirs; None where they hold it.
        record: of the summary.
        settings: all that the polygons depend on.
        labels: the map, for messages.

    Raises:
        UserError: it was made with other settings, or is none of ours.
    """
    if not record.exists():
        refuse_foreign([path], record, "file")
        return None
    found = check_summary(record, settings, labels)
    known = _facts(found, path)
    if known is None or not path.is_file() or not (style is None or style.is_file()):
        return None
    if known.get("bytes") != path.stat().st_size:  # files of ours appear whole: somebody has worked on it
        raise _changed(path)
    return found


def refuse_style(style: Path | None) -> None:
    """Refuses to replace a style that is not ours: QGIS finds one file for polygons of all formats, and writes it, too.

    Raises:
        UserError: that is so.
    """
    if style is None or not style.exists():
        return
    records = [style.with_suffix(f".{of}.json") for of in FORMATS]
    ours = {known["sha256"] for record in records if (known := _facts(_read(record), style)) and "sha256" in known}
    if not ours:
        refuse_foreign([style], records[-1], "style")
    if sha256_of(style) not in ours:
        raise _changed(style)


def refuse_open(path: Path) -> None:
    """Refuses to replace a GeoPackage beside which SQLite keeps changes: it would apply them to the new one.

    Raises:
        UserError: there are some.
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


def _read(record: Path) -> Any:
    """A summary; None if there is none."""
    try:
        return read_json(record)
    except (OSError, ValueError):
        return None


def _facts(summary: Any, path: Path) -> dict[str, Any] | None:
    """What a summary tells of a file; None if nothing."""
    files = summary.get("files") if isinstance(summary, dict) else None
    known = files.get(path.name) if isinstance(files, dict) else None
    return known if isinstance(known, dict) else None
