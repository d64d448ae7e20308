"""What a set's folder has for the tables: rows that can be used, and why there is no newer one."""

from __future__ import annotations

from pathlib import Path

from segearth.errors import UserError, command
from segearth.json_files import read_json, schema_error
from segearth.paper.sweep import FAILURE
from segearth.paper.text import one_line
from segearth.results.folder import JSON_NAME, read_rows
from segearth.results.record import Run


def read_runs(folder: Path) -> tuple[list[Run], str | None]:
    """Reads the folder of a set and method.

    Returns:
        The usable rows of its results.json, oldest first; and why the newest run gave none, None if it did.
    """
    try:
        rows = read_rows(folder)
    except UserError as error:
        return [], one_line(str(error))
    runs, flaw = [], None
    for row in rows:
        try:
            run, flaw = Run.from_json(row), None
            if not run.is_zero_shot:
                raise ValueError("has thresholds and scales of classes, and is no zero-shot result")
            runs.append(run)
        except ValueError as error:
            flaw = str(error)
    if flaw is not None:
        return runs, (
            f"the newest row of {folder / JSON_NAME} {flaw}, expected a row as {command('eval-all')} writes it: "
            "start it again, and the set is evaluated anew"
        )
    try:
        note = read_json(folder / FAILURE)
    except FileNotFoundError:
        return runs, None
    except (OSError, ValueError):
        note = None
    return runs, one_line(note["error"]) if schema_error(
        note, {"error": str}
    ) is None else f"{folder / FAILURE} cannot be read"
