"""What a set's folder has for the tables: rows that can be used, and why there is no newer one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segearth.errors import UserError
from segearth.paper.sweep import FAILURE
from segearth.paper.text import one_line
from segearth.results import JSON_NAME, read_rows

# What the tables cannot do without, and the kind of each.
_NUMBER = (int, float)
_FIGURE = (*_NUMBER, type(None))
_ROW: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("MODEL", "config", "date", "device", "model"), str),
    **dict.fromkeys(("IoU_fg", "aAcc", "mAcc", "mIoU"), _FIGURE),
    "upsampler": (str, type(None)),
    "images": int,
    "per_class": list,
    **dict.fromkeys(("prompts", "settings", "versions"), dict),
}
_CLASS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    **dict.fromkeys(("IoU", "Acc"), _FIGURE),
    **dict.fromkeys(("intersection", "union", "prediction_pixels", "label_pixels"), int),
}


def read_runs(folder: Path) -> tuple[list[dict[str, Any]], str | None]:
    """Reads the folder of a set and method.

    Returns:
        The usable rows of its results.json, oldest first; and why the newest run gave none, None if it did.
    """
    try:
        rows = read_rows(folder)
    except UserError as error:
        return [], one_line(str(error))
    flaws = [_flaw(row) for row in rows]
    runs = [row for row, flaw in zip(rows, flaws, strict=True) if flaw is None]
    if flaws and flaws[-1] is not None:
        return runs, (
            f"the newest row of {folder / JSON_NAME} {flaws[-1]}, expected a row as eval.py writes it: delete it, or "
            "move the file away, and start again"
        )
    try:
        return runs, one_line(json.loads((folder / FAILURE).read_text(encoding="utf-8"))["error"])
    except FileNotFoundError:
        return runs, None
    except (OSError, ValueError, KeyError, TypeError):
        return runs, f"{folder / FAILURE} cannot be read"


def _flaw(row: dict[str, Any]) -> str | None:
    """What is wrong with a row, as the end of a sentence; None if nothing is."""
    if (flaw := _misfit(row, _ROW)) is not None:
        return flaw
    for entry in row["per_class"]:
        if (flaw := _misfit(entry, _CLASS)) is not None:
            return f"has a class that {flaw}"
    prompts = row["prompts"].get("classes")
    if not isinstance(prompts, list) or [type(one) for one in prompts] != [str] * len(row["per_class"]):
        return f"has not one prompt for each of its {len(row['per_class'])} classes"
    return None


def _misfit(values: Any, kinds: dict[str, type | tuple[type, ...]]) -> str | None:
    """What a JSON object lacks."""
    if not isinstance(values, dict):
        return "is no JSON object"
    for key, kind in kinds.items():
        if key not in values:
            return f"has no {key}"
        if not isinstance(values[key], kind):
            return f"has {json.dumps(values[key])[:40]} as {key}"
    return None
