"""A folder of runs: results.json, the truth, with a row a run, and results.xlsx, made from it for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.cells import fitting, keep_texts
from segearth.errors import UserError, option, printable
from segearth.jobs.locks import locked
from segearth.json_files import read_json, write_json
from segearth.outputs import atomic
from segearth.results.record import Run

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

JSON_NAME, XLSX_NAME = "results.json", "results.xlsx"

# Column of the workbook -> key of a row, with dots into nested objects.
RUN_COLUMNS = {
    "Run": "run",
    "Date (UTC)": "date",
    "CLIP": "CLIP",
    "VIT": "VIT",
    "MODEL": "MODEL",
    "Dataset": "Dataset",
    "aAcc": "aAcc",
    "mIoU": "mIoU",
    "mAcc": "mAcc",
    "Foreground IoU": "IoU_fg",
    "Images": "images",
    "Data complete": "data.complete",
    "Remarks": "remarks",
    "Seconds": "seconds",
    "Weights": "model",
    "Upsampler": "upsampler",
    "prob_thd": "settings.prob_thd",
    "bg_idx": "settings.bg_idx",
    "cls_token_lambda": "settings.cls_token_lambda",
    "slide_crop": "settings.slide_crop",
    "slide_stride": "settings.slide_stride",
    "Precision": "settings.precision",
    "Config": "config",
    "Prompts": "prompts.file",
    "Device": "device",
    "torch": "versions.torch",
    "mmseg": "versions.mmseg",
    "segearth": "versions.segearth",
    "About": "about",
}
CLASS_COLUMNS = {
    "Run": "run",
    "Dataset": "Dataset",
    "CLIP": "CLIP",
    "MODEL": "MODEL",
    "Class": "name",
    "IoU": "IoU",
    "Acc": "Acc",
    "Intersection": "intersection",
    "Union": "union",
    "Predicted pixels": "prediction_pixels",
    "Label pixels": "label_pixels",
}
PERCENT = ("aAcc", "mIoU", "mAcc", "Foreground IoU", "IoU", "Acc")
PIXELS = ("Intersection", "Union", "Predicted pixels", "Label pixels")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder's results.json, oldest first; none where there is no such file.

    Raises:
        UserError: the file is damaged; it is never overwritten then.
    """
    path = folder / JSON_NAME
    if not path.is_file():
        return []
    try:
        rows = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({error}): expected a JSON list of results; mend it, move it away, or give another "
            f"{option('work_dir')}"
        ) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is no list of results: move it away, or give another {option('work_dir')}")
    return rows


def read_runs(folder: Path) -> list[Run]:
    """The usable runs of a folder, oldest first.

    Raises:
        UserError: see `read_rows`.
    """
    return [run for run in map(usable, read_rows(folder)) if run is not None]


def usable(row: object) -> Run | None:
    """The run of a row; None for a row that somebody edited, or that a newer segearth wrote."""
    try:
        return Run.from_json(row)
    except ValueError:
        return None


def append_run(folder: Path, run: Run) -> None:
    """Adds a run to results.json and makes results.xlsx anew.

    Args:
        folder: an existing folder.
        run: without NaN.

    Raises:
        UserError: a damaged results.json, or a file that cannot be written.
    """
    with locked(folder / JSON_NAME):  # other processes may add theirs
        rows = [*read_rows(folder), run.to_json()]  # what others wrote stays as it is
        with atomic(folder / JSON_NAME) as part:
            write_json(part, rows)
        with atomic(folder / XLSX_NAME) as part:
            write_workbook(part, rows)


def write_workbook(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows as a workbook: a sheet with a line a run, and one with a line a class and run."""
    import pandas as pd

    runs, classes = [], []
    for i, row in enumerate(rows, start=1):
        run = usable(row)
        runs.append({**row, "run": i, "remarks": "; ".join(run.warnings) or None if run else None})
        classes += [{**runs[-1], **entry} for entry in row["per_class"]] if run else []
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        for sheet, columns, lines in (("runs", RUN_COLUMNS, runs), ("classes", CLASS_COLUMNS, classes)):
            table = [[fitting(_pick(line, key)) for key in columns.values()] for line in lines]
            pd.DataFrame(table, columns=list(columns), dtype=object).to_excel(writer, sheet_name=sheet, index=False)
            keep_texts(writer.sheets[sheet])
            _dress(writer.sheets[sheet], list(columns))


def run_text(run: Run) -> str:
    """A run as text: a line a class with IoU, accuracy and labelled pixels, then the totals."""
    width = max(len("class"), *(len(result.name) for result in run.per_class))
    lines = [f"{'class':<{width}}  {'IoU %':>7}  {'Acc %':>7}  {'pixels':>15}"]
    for result in run.per_class:
        iou, accuracy = _figure(result.iou), _figure(result.accuracy)
        lines.append(f"{result.name:<{width}}  {iou:>7}  {accuracy:>7}  {result.label_pixels:>15,}")
    lines += ["", f"mIoU {_figure(run.miou)}   mAcc {_figure(run.macc)}   aAcc {_figure(run.aacc)}"]
    if run.foreground_iou is not None:
        lines[-1] += f"   foreground IoU {_figure(run.foreground_iou)}"
    lines.append(
        f"{run.dataset}, {run.images} images in {run.seconds:.1f} s on {run.device}, "
        f"CLIP: {run.clip}, method {run.method}"
    )
    if run.about:
        lines.append(f"{run.model}: {run.about}")
    lines.extend(f"warning: {warning}" for warning in run.warnings)
    return printable("\n".join(lines), keep="\n")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _pick(row: dict[str, Any], key: str) -> Any:
    """A value by its key, with dots into nested objects; None where there is none."""
    value: Any = row
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _dress(sheet: Worksheet, columns: Sequence[str]) -> None:
    """Freezes the header, and gives columns their widths and number formats."""
    from openpyxl.utils import get_column_letter

    sheet.freeze_panes = "A2"
    for i, name in enumerate(columns, start=1):
        cells = [sheet.cell(line, i) for line in range(2, sheet.max_row + 1)]
        longest = max([len(name), *(len(str(cell.value)) for cell in cells if cell.value is not None)])
        sheet.column_dimensions[get_column_letter(i)].width = min(longest + 3, 60)
        for cell in cells:
            if name in PERCENT:
                cell.number_format = "0.00"
            elif name in PIXELS:
                cell.number_format = "#,##0"
