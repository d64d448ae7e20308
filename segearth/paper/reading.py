"""What a set's folder has for the tables: rows that can be used, and why there is no newer one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segearth.errors import UserError, command
from segearth.json_files import misfit, read_json
from segearth.paper.sweep import FAILURE
from segearth.paper.text import one_line
from segearth.results import JSON_NAME, flaw, read_rows, zero_shot


def read_runs(folder: Path) -> tuple[list[dict[str, Any]], str | None]:
    """Reads the folder of a set and method.

    Returns:
        The usable rows of its results.json, oldest first; and why the newest run gave none, None if it did.
    """
    try:
        rows = read_rows(folder)
    except UserError as error:
        return [], one_line(str(error))
    flaws = [flaw(row) or _not_zero_shot(row) for row in rows]
    runs = [row for row, wrong in zip(rows, flaws, strict=True) if wrong is None]
    if flaws and flaws[-1] is not None:
        return runs, (
            f"the newest row of {folder / JSON_NAME} {flaws[-1]}, expected a row as {command('eval-all')} writes it: "
            "start it again, and the set is evaluated anew"
        )
    try:
        note = read_json(folder / FAILURE)
    except FileNotFoundError:
        return runs, None
    except (OSError, ValueError):
        note = None
    return runs, one_line(note["error"]) if misfit(
        note, {"error": str}
    ) is None else f"{folder / FAILURE} cannot be read"


def _not_zero_shot(row: dict[str, Any]) -> str | None:
    """What keeps a row that labels went into out of the tables, as the end of a sentence."""
    return None if zero_shot(row) else "has thresholds and scales of classes, and is no zero-shot result"
