"""The table of results as text: Markdown, and lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Columns of the Markdown table: what fits a page.
_SHORT = {
    "Method": "Method",
    "Dataset": "Dataset",
    "Metric": "Metric",
    "Result": "Result",
    "Published": "Published",
    "Edition": "Edition",
    "Difference": "Difference",
    "aAcc": "aAcc",
    "mIoU": "mIoU",
    "mAcc": "mAcc",
    "Images": "Images",
    "Seconds an image": "s/image",
    "Comparable": "Comparable",
}
_DIGITS = {"Published": ".1f", "Difference": "+.2f", "Images": ",", "Seconds an image": ".3f"}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of results in Markdown, with the notes below it."""
    lines = ["| " + " | ".join(_SHORT.values()) + " |", "|" + "---|" * len(_SHORT)]
    lines += ["| " + " | ".join(cell(row, name) for name in _SHORT) + " |" for row in rows]
    lines += ["", *(f"- {', '.join(names)}: {note}" for note, names in notes_of(rows))]
    return "\n".join(lines) + "\n"


def plain(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of results for a terminal."""
    columns = ("Method", "Dataset", "Metric", "Result", "Published", "Edition", "Difference", "Images", "Comparable")
    grid = [list(columns), *([cell(row, name) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in grid) for i in range(len(columns))]
    right = {columns.index(name) for name in ("Result", "Published", "Difference", "Images")}
    return "\n".join(
        "  ".join(
            word.rjust(width) if i in right else word.ljust(width)
            for i, (word, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in grid
    )


def cell(row: Mapping[str, Any], name: str) -> str:
    """A value as text; failed runs say so in the column Result."""
    value = row[name]
    if value is None:
        return "failed" if name == "Result" and str(row["Note"] or "").startswith("failed") else ""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return format(value, _DIGITS.get(name, ".2f"))
    return str(value).replace("|", "\\|").replace("\n", " ")


def notes_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Every note once, with the rows that it is about: data sets and methods, or the method for all of its sets."""
    about: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        text = str(row["Note"] or "")
        for note in [text] if text.startswith("failed") else filter(None, text.split("; ")):
            about.setdefault(note, []).append(row)
    found = []
    for note, those in about.items():
        methods, datasets = (list(dict.fromkeys(row[key] for row in those)) for key in ("Method", "Dataset"))
        found.append((note, datasets if len(datasets) == 1 else methods))
    return found


def one_line(text: str) -> str:
    """A message that every table can hold: file names and libraries' words may have control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def signed(value: float, digits: int) -> str:
    """A difference, with a plus or a proper minus."""
    return f"{value:+.{digits}f}".replace("-", "−")
