"""Writes all tables of a work dir anew: results.xlsx, results.csv, results.json, results.md, report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segearth.outputs import atomic
from segearth.paper.comparison import COLUMNS, Comparison, compare
from segearth.paper.report import html
from segearth.paper.workbook import write_workbook

FILES = ("results.xlsx", "results.csv", "results.json", "results.md", "report.html")

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


def write_tables(work_dir: Path) -> Comparison:
    """Makes every table from the results.json of each set and method.

    Args:
        work_dir: of `segearth.paper.sweep`.

    Raises:
        UserError: a file that cannot be written.
    """
    import pandas as pd

    tables = compare(work_dir)
    with atomic(work_dir / "results.xlsx") as part:
        write_workbook(part, tables)
    with atomic(work_dir / "results.csv") as part:
        frame = pd.DataFrame(
            [[row[name] for name in COLUMNS] for row in tables.rows], columns=list(COLUMNS), dtype=object
        )
        frame.to_csv(part, index=False, encoding="utf-8-sig")  # with a mark, Excel reads it as UTF-8
    content = {"results": tables.rows, "classes": tables.classes}
    texts = {
        "results.json": json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "results.md": markdown(tables.rows),
        "report.html": html(tables),
    }
    for name, text in texts.items():
        with atomic(work_dir / name) as part:
            part.write_text(text, encoding="utf-8")
    return tables


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of results in Markdown, with the notes below it."""
    lines = ["| " + " | ".join(_SHORT.values()) + " |", "|" + "---|" * len(_SHORT)]
    lines += ["| " + " | ".join(cell(row, name) for name in _SHORT) + " |" for row in rows]
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row["Note"]:
            notes.setdefault(row["Note"], []).append(f"{row['Method']}, {row['Dataset']}")
    lines += ["", *(f"- {'; '.join(names)}: {note}" for note, names in notes.items())]
    return "\n".join(lines) + "\n"


def text(rows: Sequence[Mapping[str, Any]]) -> str:
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
