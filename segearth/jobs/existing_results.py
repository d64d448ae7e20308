"""Existing results by their summaries: are they complete, and made from the same input with the same settings?

A summary holds the settings and the files of a result, and is written last. The same command skips the result; one with
other settings refuses to replace it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segearth.errors import UserError, option
from segearth.jobs.settings import first_difference
from segearth.json_files import read_json


def read_summary(path: Path) -> dict[str, Any]:
    """Reads a summary; empty where there is none."""
    try:
        summary = read_json(path)
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def listed_files(summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The files that a summary lists: name -> facts such as `bytes` and `sha256`; empty if it is no summary."""
    files = summary.get("files")
    return {name: facts for name, facts in files.items() if isinstance(facts, dict)} if isinstance(files, dict) else {}


def complete_files(summary: Mapping[str, Any], folder: Path) -> set[str]:
    """The names of the files in a folder that have the size that a summary lists."""
    return {name for name, facts in listed_files(summary).items() if _has_size(folder / name, facts.get("bytes"))}


def _has_size(path: Path, size: Any) -> bool:
    try:
        return size is not None and path.is_file() and path.stat().st_size == size
    except (OSError, ValueError):  # a name that no file can have
        return False


def check_summary(summary: Path, settings: Mapping[str, Any], image: str | Path) -> dict[str, Any]:
    """Reads the summary of an existing result, and checks that it was made with the same settings.

    Args:
        summary: the existing summary file.
        settings: all settings that the result depends on, as read from JSON.
        image: the input of the result, for messages.

    Raises:
        UserError: the result was made with other settings, or the file is no summary.
    """
    advice = f"use another {option('out')}, or {option('overwrite', True)} to make it anew"
    try:
        content: dict[str, Any] = read_json(summary)
        before: dict[str, Any] = content["settings"]
        classes = _class_names(before.get("classes") or [])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"{summary} is no summary of a map: expected one, or no such file; {advice}") from None
    # a missing setting has its default, so it differs from one that is there
    differing = [
        key
        for key in {**settings, **before}
        if not (key in before and key in settings and before[key] == settings[key])
    ]
    if not differing:
        return content
    field = differing[0]
    if field == "input":
        raise UserError(f"{summary} is of another image than {image}: expected the same one; {advice}")
    if field == "classes":
        was, now = classes, _class_names(settings[field])
        if was == now:
            was, now = "other colours, thresholds or factors of the classes", "these"
    else:
        old, new = ({field: values[field]} if field in values else {} for values in (before, settings))
        field, was, now = first_difference(old, new) or (field, "another", "this")
    raise UserError(f"{summary} was made with {field} {was}, not {now}: expected the same settings; {advice}")


def _class_names(classes: Iterable[Mapping[str, Any]]) -> str:
    """The classes of a summary as a text."""
    return "; ".join(",".join(row["names"]) for row in classes)


def refuse_foreign(paths: Iterable[Path], summary: Path, what: str = "map") -> None:
    """Refuses to overwrite files that segearth did not write, as their summary is missing.

    Args:
        paths: the files to write.
        summary: the missing summary.
        what: kind of the files, for messages.

    Raises:
        UserError: one of them exists, even as a broken link.
    """
    if foreign := next((path for path in paths if os.path.lexists(path)), None):
        raise UserError(
            f"{foreign} is there, but no {summary.name}, so it is no {what} of ours: expected no such file; use "
            f"another {option('out')}, or {option('overwrite', True)} to write over it"
        )
