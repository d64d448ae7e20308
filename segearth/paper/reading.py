"""The folder of a method and set: its usable records, and why there is no newer one."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from segearth.errors import UserError, command
from segearth.json_files import read_json, schema_error, write_json
from segearth.outputs import atomic
from segearth.results.folder import JSON_NAME, read_rows
from segearth.results.record import Run

FAILURE, TRACEBACK, PICTURES = "failure.json", "traceback.txt", "pictures"


def read_table_runs(folder: Path) -> tuple[list[Run], str | None]:
    """Reads the folder of a method and set.

    Returns:
        The usable records, oldest first; and why the newest run gave none, None if it did.
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
    is_note = schema_error(note, {"error": str}) is None
    return runs, one_line(note["error"]) if is_note else f"{folder / FAILURE} cannot be read"


def write_failure(folder: Path, reason: str) -> None:
    """Keeps why a run failed beside earlier records, for the tables.

    Raises:
        OSError: it cannot be kept, as for the next one.
        UserError: likewise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / FAILURE) as part:
        write_json(part, {"error": reason, "date": datetime.now(timezone.utc).isoformat(timespec="seconds")})


def one_line(text: str) -> str:
    """A message that every table can hold: file names and libraries' words may have control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
