"""Values in the cells of workbooks: a text is a text, whatever it begins with, and any value fits.

A workbook is made from rows that others may have written: a class called "=HYPERLINK(...)" is a name, and no program
that opens the file may run it. CSV files have no kinds of cells: they keep every value as it is, for programs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from segearth.errors import printable
from segearth.json_files import json_line

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

_FORMULAS = ("=", "+", "-", "@")  # what a spreadsheet takes for the beginning of a formula
_NO_CELL = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\ufffe\\uffff]"
)  # XML has none of them
_LONGEST = 32_767  # characters of a cell
_LARGEST = 10**15  # of whole numbers that a spreadsheet keeps exactly


def fitting(value: Any) -> Any:
    """A value of a row as a cell can hold it: finite numbers as they are, all else as text that can be shown."""
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) <= _LARGEST):
        return value
    text = value if isinstance(value, str) else json_line(value)[:-1]
    return _NO_CELL.sub(lambda found: printable(found[0]), text)[:_LONGEST]


def keep_texts(sheet: Worksheet) -> None:
    """Makes every text of a sheet a text that stays one, also when somebody edits the cell; numbers stay numbers."""
    for cells in sheet.iter_rows():
        for cell in cells:
            if isinstance(cell.value, str):
                cell.data_type = "s"  # openpyxl takes what begins with "=" for a formula
                if cell.value.lstrip().startswith(_FORMULAS):
                    cell.quotePrefix = True
