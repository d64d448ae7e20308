"""results.xlsx: the tables, formatted to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from segearth.cells import fitting, keep_texts
from segearth.paper.comparison import AVERAGE, CLASS_COLUMNS, COLUMNS, Comparison

if TYPE_CHECKING:
    from openpyxl.cell import Cell
    from openpyxl.worksheet.worksheet import Worksheet

SHEETS = {"results": COLUMNS, "classes": CLASS_COLUMNS}
CLOSE, NEAR = 0.5, 2.0  # points of difference: reproduced (half of it is the paper's rounding), near; else far
COLOURS = {"close": "C6E7CE", "near": "FFE9A8", "far": "F7C6C0", "none": "EDEDED"}
MEANING = {
    "close": f"comparable, at most {CLOSE} points from the published number",
    "near": f"comparable, at most {NEAR:g} points",
    "far": f"comparable, more than {NEAR:g} points",
    "none": "not comparable: see the column Comparable",
}
_FORMATS = {
    **dict.fromkeys(("Result", "aAcc", "mIoU", "mAcc", "Foreground IoU", "IoU", "Acc"), "0.00"),
    "Published": "0.0",
    "Difference": "+0.00;-0.00;0.00",
    "Seconds an image": "0.000",
    **dict.fromkeys(("Images", "Intersection", "Union", "Predicted pixels", "Label pixels"), "#,##0"),
}
_WRAPPED = {"Note": 58, "Comparable": 44, "Meaning": 110}
_WIDTHS = {**_WRAPPED, "Dataset": 31, "Prompts": 60, "Prompt": 34, "Changed": 40, "Predicted pixels": 20}
_HASH_WIDTH, _WIDEST, _LINE = 16, 40, 15
_FONT = "Calibri"
_PRINTED = "Note"  # the last column on paper; what follows says where numbers come from


def grade(row: Mapping[str, Any]) -> str | None:
    """A key of `COLOURS` for a row's difference; None where there is none."""
    if row["Difference"] is None:
        return None
    if row["Comparable"] != "yes":
        return "none"
    size = abs(row["Difference"])
    return "close" if size <= CLOSE else "near" if size <= NEAR else "far"


def write_workbook(path: Path, tables: Comparison) -> None:
    """Writes a workbook with the sheets "results", "classes" and "columns", which explains the others."""
    import pandas as pd

    explained = [
        *(
            {"Sheet": sheet, "Column": name, "Meaning": text}
            for sheet in SHEETS
            for name, text in SHEETS[sheet].items()
        ),
        *({"Sheet": "results", "Column": "Difference", "Meaning": text} for text in MEANING.values()),
    ]
    sheets: dict[str, tuple[Sequence[str], Sequence[Mapping[str, Any]]]] = {
        "results": (list(COLUMNS), tables.rows),
        "classes": (list(CLASS_COLUMNS), tables.classes),
        "columns": (["Sheet", "Column", "Meaning"], explained),
    }
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        for name, (columns, rows) in sheets.items():
            table = [[fitting(row[column]) for column in columns] for row in rows]
            frame = pd.DataFrame(table, columns=columns, dtype=object)
            frame.to_excel(writer, sheet_name=name, index=False)
            keep_texts(writer.sheets[name])
            _dress(writer.sheets[name], columns)
        _colour(writer.sheets["results"], tables.rows)
        _explain(writer.sheets["columns"])


def _dress(sheet: Worksheet, columns: Sequence[str]) -> None:
    """Header, widths, number formats, and how it is printed."""
    from openpyxl.styles import Alignment, Font, PatternFill
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.page import PageMargins

    sheet.freeze_panes = "C2" if "Method" in columns else "A2"
    sheet.auto_filter.ref = sheet.dimensions
    sheet.row_dimensions[1].height = 32
    for i, name in enumerate(columns, start=1):
        head = sheet.cell(1, i)
        head.font, head.fill = Font(_FONT, bold=True, color="FFFFFF"), PatternFill("solid", fgColor="2F4B63")
        left = name not in _FORMATS
        head.alignment = Alignment("left" if left else "right", vertical="center", wrap_text=True, indent=int(left))
        cells: list[Cell] = [sheet.cell(line, i) for line in range(2, sheet.max_row + 1)]
        sheet.column_dimensions[get_column_letter(i)].width = _width(name, cells)
        for cell in cells:
            words = isinstance(cell.value, str)
            cell.alignment = Alignment(
                "left" if words else "right", vertical="top", wrap_text=name in _WRAPPED, indent=int(words)
            )
            if name in _FORMATS:
                cell.number_format = _FORMATS[name]
    for i in range(2, sheet.max_row + 1):  # not every program makes rows as high as wrapped text needs
        texts = {name: str(sheet.cell(i, columns.index(name) + 1).value or "") for name in _WRAPPED if name in columns}
        sheet.row_dimensions[i].height = _LINE * max(
            [1, *(_lines(text, _WIDTHS[name]) for name, text in texts.items())]
        )
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", 8  # A3
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, int("Meaning" in columns)  # that one on one page
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.page_margins = PageMargins(left=0.4, right=0.4, top=0.5, bottom=0.75, footer=0.4)
    sheet.oddFooter.center.text = "&A, page &P of &N"
    sheet.print_title_rows = "1:1"
    if _PRINTED in columns:
        last = get_column_letter(list(columns).index(_PRINTED) + 1)
        sheet.print_area = f"A1:{last}{sheet.max_row}"


def _width(name: str, cells: Sequence[Cell]) -> float:
    """Of a column, in characters."""
    if name in _WIDTHS:
        return _WIDTHS[name]
    if "SHA-256" in name or name == "Commit":
        return _HASH_WIDTH
    if name in _FORMATS:  # a number is shorter than its digits
        longest = max((len(f"{cell.value:,.2f}") for cell in cells if isinstance(cell.value, int | float)), default=0)
        return max(len(max(name.split(), key=len)), longest) + 3
    longest = max((len(str(cell.value)) for cell in cells if cell.value is not None), default=0)
    return min(max(len(name), longest) + 3, _WIDEST)


def _lines(text: str, width: float) -> int:
    """How many lines a text needs in a column."""
    return len(wrap(text, round(1.15 * width)))  # columns are measured in digits, wider than most letters


def _colour(sheet: Worksheet, rows: Sequence[Mapping[str, Any]]) -> None:
    """The colour of differences; averages in bold."""
    from openpyxl.styles import Border, Font, PatternFill, Side

    difference = list(COLUMNS).index("Difference") + 1
    for i, row in enumerate(rows, start=2):
        if row["Dataset"] == AVERAGE:
            for cell in sheet[i]:
                cell.font, cell.border = Font(_FONT, bold=True), Border(top=Side("thin", color="2F4B63"))
        if str(row["Note"] or "").startswith("failed"):
            for cell in sheet[i]:
                cell.font = Font(_FONT, color="A32A1E")
        if (kind := grade(row)) is not None:
            cell = sheet.cell(i, difference)
            cell.fill = PatternFill("solid", fgColor=COLOURS[kind])
            if kind == "none":
                cell.font = Font(_FONT, italic=True, color="707070", bold=row["Dataset"] == AVERAGE)


def _explain(sheet: Worksheet) -> None:
    """The key of the colours: the last lines of the sheet that explains columns."""
    from openpyxl.styles import PatternFill

    first = sheet.max_row - len(COLOURS) + 1
    for i, colour in enumerate(COLOURS.values()):
        sheet.cell(first + i, 2).fill = PatternFill("solid", fgColor=colour)
