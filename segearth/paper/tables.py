"""Writes all tables of a work dir anew: results.xlsx, results.csv, results.json, results.md, report.html."""

from __future__ import annotations

from pathlib import Path

from segearth.jobs.locks import locked
from segearth.json_files import json_text
from segearth.outputs import atomic
from segearth.paper.comparison import COLUMNS, Comparison, compare
from segearth.paper.report import html
from segearth.paper.text import markdown
from segearth.paper.workbook import write_workbook

FILES = ("results.xlsx", "results.csv", "results.json", "results.md", "report.html")


def write_tables(work_dir: Path) -> Comparison:
    """Makes every table from the results.json of each set and method.

    Args:
        work_dir: of `segearth.paper.sweep`.

    Raises:
        UserError: a file that cannot be written.
    """
    import pandas as pd

    with locked(work_dir / "results.json"):  # else an older table of a second process could come last
        tables = compare(work_dir)
        with atomic(work_dir / "results.xlsx") as part:
            write_workbook(part, tables)
        with atomic(work_dir / "results.csv") as part:
            frame = pd.DataFrame(
                [[row[name] for name in COLUMNS] for row in tables.rows], columns=list(COLUMNS), dtype=object
            )
            frame.to_csv(
                part, index=False, encoding="utf-8-sig", errors="backslashreplace"
            )  # with a mark, Excel reads it as UTF-8
        content = {"results": tables.rows, "classes": tables.classes}
        texts = {
            "results.json": json_text(content),
            "results.md": markdown(tables.rows),
            "report.html": html(tables),
        }
        for name, text in texts.items():
            with atomic(work_dir / name) as part:
                part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return tables
