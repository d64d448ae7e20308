"""Maps that earlier commands made: whether they are what a command would make now."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segearth.errors import UserError, option
from segearth.jobs.settings import first_difference
from segearth.json_files import read_json

MEGABYTE = 1 << 20


def fingerprint(path: Path) -> dict[str, Any] | None:
    """What tells an image from another, wherever it lies: its size, and a hash of its first and last megabyte.

    Returns:
        bytes and sha256_of_ends; None for a file that cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(MEGABYTE))
            if size > MEGABYTE:
                file.seek(max(MEGABYTE, size - MEGABYTE))
                digest.update(file.read(MEGABYTE))
    except OSError:
        return None
    return {"bytes": size, "sha256_of_ends": digest.hexdigest()}


def made_with(summary: Path, settings: Mapping[str, Any], image: str | Path) -> dict[str, Any]:
    """The summary of a map that was made with these settings.

    Args:
        summary: its file, which is there.
        settings: all that the map depends on, as JSON gives them back.
        image: what it should be a map of, for messages.

    Raises:
        UserError: it was made with other settings, or is no summary.
    """
    way_out = f"use another {option('out')}, or {option('overwrite', True)} to make it anew"
    try:
        found: dict[str, Any] = read_json(summary)
        before: dict[str, Any] = found["settings"]
        classes = "; ".join(",".join(one["names"]) for one in before.get("classes") or [])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"{summary} is no summary of a map: expected one, or no such file; {way_out}") from None
    every = dict.fromkeys([*settings, *before])  # what one of them lacks is its default, which the other has not
    differing = [key for key in every if not (key in before and key in settings and before[key] == settings[key])]
    if not differing:
        return found
    field = differing[0]
    if field == "input":
        raise UserError(f"{summary} is of another image than {image}: expected the same one; {way_out}")
    if field == "classes":
        was, now = classes, "; ".join(",".join(one["names"]) for one in settings[field])
        if was == now:
            was, now = "other colours, thresholds or factors of the classes", "these"
    else:
        had, has = ({field: one[field]} if field in one else {} for one in (before, settings))
        field, was, now = first_difference(had, has) or (field, "another", "this")
    raise UserError(f"{summary} was made with {field} {was}, not {now}: expected the same settings; {way_out}")


def refuse_foreign(paths: Iterable[Path], summary: Path, what: str = "map") -> None:
    """Refuses to write over files where no summary says that they are ours.

    Args:
        paths: of the files that would be written.
        summary: the file that would say so, which is not there.
        what: the files are, for messages.

    Raises:
        UserError: one of them is there, be it a broken link.
    """
    if foreign := next((path for path in paths if os.path.lexists(path)), None):
        raise UserError(
            f"{foreign} is there, but no {summary.name}, so it is no {what} of ours: expected no such file; use "
            f"another {option('out')}, or {option('overwrite', True)} to write over it"
        )
