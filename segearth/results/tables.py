"""Tables made with pandas, as workbook, csv, Markdown and text: one formatting of cells, and one styling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from segearth.cells import fitting, keep_texts

if TYPE_CHECKING:
    from openpyxl.cell import Cell
    from openpyxl.worksheet.worksheet import Worksheet
    from pandas import DataFrame

# Columns of numbers, and how they are written; all else is text.
FORMATS = {
    **dict.fromkeys(("Result", "aAcc", "mIoU", "mAcc", "Foreground IoU", "IoU", "Acc", "IoU %", "Acc %"), ".2f"),
    "Published": ".1f",
    "Difference": "+.2f",
    "Seconds an image": ".3f",
    **dict.fromkeys(("Images", "Intersection", "Union", "Predicted pixels", "Label pixels", "pixels"), ","),
}
_EXCEL = {".1f": "0.0", ".2f": "0.00", ".3f": "0.000", "+.2f": "+0.00;-0.00;0.00", ",": "#,##0"}
_WRAPPED = {"Note": 58, "Comparable": 44, "Meaning": 110, "Remarks": 58}  # in characters, like all widths
_WIDTHS = {**_WRAPPED, "Dataset": 31, "Prompts": 60, "Prompt": 34, "Changed": 40, "Predicted pixels": 20}
_HASH_WIDTH, _WIDEST, _LINE_POINTS = 16, 40, 15
_LAST_PRINTED = "Note"  # what follows says where numbers come from
FONT, DARK = "Calibri", "2F4B63"


def frame(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> DataFrame:
    """Rows as a table; what a row lacks is None."""
    import pandas as pd

    columns = list(columns)
    return pd.DataFrame([[row.get(name) for name in columns] for row in rows], columns=columns, dtype=object)


def cell_text(name: str, value: object) -> str:
    """A value of a column as text of one line; "" for None."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format(value, FORMATS.get(name, ".2f"))
    return str(value).replace("\n", " ")


def cell_texts(table: DataFrame) -> list[list[str]]:
    """All cells as text, row by row."""
    lines = table.itertuples(index=False, name=None)
    return [[cell_text(*pair) for pair in zip(table.columns, line, strict=True)] for line in lines]


def plain_text(table: DataFrame, empty: str = "") -> str:
    """A table as lines for a terminal.

    Args:
        table: of `frame`.
        empty: what is written where there is no value.
    """
    grid = [list(table.columns), *([text or empty for text in line] for line in cell_texts(table))]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    pads = [str.rjust if name in FORMATS else str.ljust for name in table.columns]
    lines = [[pad(text, width) for pad, text, width in zip(pads, line, widths, strict=True)] for line in grid]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def markdown(table: DataFrame) -> str:
    """A table in Markdown."""
    lines = [list(table.columns), ["---"] * len(table.columns), *cell_texts(table)]
    return "".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n" for line in lines)


def write_csv(path: Path, table: DataFrame) -> None:
    """Writes a table as csv, with the byte order mark by which Excel knows UTF-8."""
    table.to_csv(path, index=False, encoding="utf-8-sig", errors="backslashreplace")


def write_workbook(
    path: Path,
    tables: Mapping[str, DataFrame],
    finish: Callable[[Mapping[str, Worksheet]], object] = lambda sheets: None,  # noqa: ARG005
) -> None:
    """Writes tables as the sheets of a workbook.

    Args:
        path: of the workbook.
        tables: by the names of the sheets.
        finish: given the styled sheets, for what is special to some of them.
    """
    import pandas as pd

    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        for name, table in tables.items():
            lines = [[fitting(value) for value in line] for line in table.itertuples(index=False, name=None)]
            shown = pd.DataFrame(lines, columns=table.columns, dtype=object)
            shown.to_excel(writer, sheet_name=name, index=False)
            keep_texts(writer.sheets[name])
            _style(writer.sheets[name], list(table.columns))
        finish(writer.sheets)


def _style(sheet: Worksheet, columns: Sequence[str]) -> None:
    """Sets header, widths, number formats, and how a sheet is printed."""
    from openpyxl.styles import Alignment, Font, PatternFill
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.page import PageMargins

    sheet.freeze_panes = "C2" if "Method" in columns else "A2"
    sheet.auto_filter.ref = sheet.dimensions
    sheet.row_dimensions[1].height = 2 * _LINE_POINTS + 2
    for i, name in enumerate(columns, start=1):
        head, is_text = sheet.cell(1, i), name not in FORMATS
        head.font, head.fill = Font(FONT, bold=True, color="FFFFFF"), PatternFill("solid", fgColor=DARK)
        side = "left" if is_text else "right"
        head.alignment = Alignment(side, vertical="center", wrap_text=True, indent=int(is_text))
        cells: list[Cell] = [sheet.cell(line, i) for line in range(2, sheet.max_row + 1)]
        sheet.column_dimensions[get_column_letter(i)].width = _width(name, cells)
        for cell in cells:
            left = isinstance(cell.value, str)
            side = "left" if left else "right"
            cell.alignment = Alignment(side, vertical="top", wrap_text=name in _WRAPPED, indent=int(left))
            if name in FORMATS:
                cell.number_format = _EXCEL[FORMATS[name]]
    wrapped = {i: _WIDTHS[name] for i, name in enumerate(columns, start=1) if name in _WRAPPED}
    for line in range(2, sheet.max_row + 1):  # not every program makes rows as high as wrapped text needs
        heights = [_lines(str(sheet.cell(line, i).value or ""), width) for i, width in wrapped.items()]
        sheet.row_dimensions[line].height = _LINE_POINTS * max([1, *heights])
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", 8  # A3
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, int("Meaning" in columns)  # that one on one page
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.page_margins = PageMargins(left=0.4, right=0.4, top=0.5, bottom=0.75, footer=0.4)
    sheet.oddFooter.center.text = "&A, page &P of &N"
    sheet.print_title_rows = "1:1"
    if _LAST_PRINTED in columns:
        last = get_column_letter(columns.index(_LAST_PRINTED) + 1)
        sheet.print_area = f"A1:{last}{sheet.max_row}"


def _width(name: str, cells: Sequence[Cell]) -> float:
    """The width of a column, in characters."""
    if name in _WIDTHS:
        return _WIDTHS[name]
    if "SHA-256" in name or name == "Commit":
        return _HASH_WIDTH
    if name in FORMATS:  # a number is shorter than its digits
        longest = max((len(f"{cell.value:,.2f}") for cell in cells if isinstance(cell.value, int | float)), default=0)
        return max(len(max(name.split(), key=len)), longest) + 3
    longest = max((len(str(cell.value)) for cell in cells if cell.value is not None), default=0)
    return min(max(len(name), longest) + 3, _WIDEST)


def _lines(text: str, width: float) -> int:
    """How many lines a text needs in a column."""
    return len(wrap(text, round(1.15 * width)))  # columns are measured in digits, wider than most letters
