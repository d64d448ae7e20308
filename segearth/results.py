"""Results of evaluations: a row a run in results.json, the truth, and results.xlsx, made from it for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.cells import fitting, keep_texts
from segearth.counts import ClassCounts
from segearth.errors import UserError, option, printable
from segearth.jobs.locks import locked
from segearth.json_files import Kind, misfit, read_json, write_json
from segearth.outputs import atomic

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

# What tables cannot do without, and the kind of each.
_FIGURE = (int, float, type(None))
_ROW: dict[str, Kind] = {
    **dict.fromkeys(("MODEL", "config", "date", "device", "model"), str),
    **dict.fromkeys(("IoU_fg", "aAcc", "mAcc", "mIoU"), _FIGURE),
    "upsampler": (str, type(None)),
    "images": int,
    "per_class": list,
    **dict.fromkeys(("prompts", "settings", "versions"), dict),
}
_OPTIONAL: dict[str, Kind] = {
    **dict.fromkeys(("data", "weights"), dict),
    **dict.fromkeys(("options", "pictures", "scale"), list),
    **dict.fromkeys(("available", "limit", "processes"), int),
    "seconds_per_image": (int, float),
}
_CLASS: dict[str, Kind] = {
    "name": str,
    **dict.fromkeys(("IoU", "Acc"), _FIGURE),
    **dict.fromkeys(("intersection", "union", "prediction_pixels", "label_pixels"), int),
}


def scores(counts: Sequence[ClassCounts], summary: dict[str, float], background: int) -> dict[str, Any]:
    """The figures of a row.

    Args:
        counts: of every class.
        summary: "aAcc", "mIoU", "mAcc" in percent, as mmsegmentation reports them; NaN becomes None.
        background: of two classes, the one that is not the foreground.
    """
    figures = {key: finite(summary[key]) for key in ("aAcc", "mIoU", "mAcc")}
    foreground = counts[1 - background].iou if len(counts) == 2 else None
    return {**figures, "IoU_fg": foreground, "per_class": [count.as_row() for count in counts]}


def finite(value: float) -> float | None:
    """A number that JSON can hold, to 2 decimals as mmsegmentation rounds; None for NaN."""
    return None if math.isnan(value) else round(float(value), 2)


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


def flaw(row: dict[str, Any]) -> str | None:
    """What is wrong with a row that somebody edited, as the end of a sentence; None if nothing is."""
    if (found := misfit(row, _ROW, _OPTIONAL)) is not None:
        return found
    for entry in row["per_class"]:
        if (found := misfit(entry, _CLASS)) is not None:
            return f"has a class that {found}"
    prompts = row["prompts"].get("classes")
    if not isinstance(prompts, list) or [type(one) for one in prompts] != [str] * len(row["per_class"]):
        return f"has not one prompt for each of its {len(row['per_class'])} classes"
    return None


def zero_shot(row: dict[str, Any]) -> bool:
    """Whether no class of a row had a threshold or a scale of its own: such come from labels, as a rule."""
    return not {"thresholds", "scales"} & set(row["prompts"])


def remarks(row: dict[str, Any]) -> list[str]:
    """What a row says of its labels, and whether labels went into it; without what has something else in its place."""
    found = row.get("remarks")
    said = [str(one) for one in found] if isinstance(found, list) else []
    if isinstance(prompts := row.get("prompts"), dict) and not zero_shot(row):
        said.append(
            f"{prompts.get('file')} sets thresholds and scales of classes, as calibration on labels gives them: not a "
            "zero-shot result"
        )
    return said


def append_row(folder: Path, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Adds a run to results.json and makes results.xlsx anew.

    Args:
        folder: an existing folder.
        row: what JSON can hold, without NaN.

    Returns:
        All rows, the new one last.

    Raises:
        UserError: a damaged results.json, or a file that cannot be written.
    """
    with locked(folder / JSON_NAME):  # other processes may add theirs
        rows = [*read_rows(folder), row]
        with atomic(folder / JSON_NAME) as part:
            write_json(part, rows)
        with atomic(folder / XLSX_NAME) as part:
            write_workbook(part, rows)
    return rows


def write_workbook(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows as a workbook: a sheet with a line a run, and one with a line a class and run."""
    import pandas as pd

    runs = [{**row, "run": i, "remarks": "; ".join(remarks(row)) or None} for i, row in enumerate(rows, start=1)]
    classes = [{**run, **entry} for run in runs if flaw(run) is None for entry in run["per_class"]]
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        for sheet, columns, lines in (("runs", RUN_COLUMNS, runs), ("classes", CLASS_COLUMNS, classes)):
            table = [[fitting(_pick(line, key)) for key in columns.values()] for line in lines]
            pd.DataFrame(table, columns=list(columns), dtype=object).to_excel(writer, sheet_name=sheet, index=False)
            keep_texts(writer.sheets[sheet])
            _dress(writer.sheets[sheet], list(columns))


def table(row: dict[str, Any]) -> str:
    """A run as text: a line a class with IoU, accuracy and labelled pixels, then the totals."""
    width = max(len("class"), *(len(entry["name"]) for entry in row["per_class"]))
    lines = [f"{'class':<{width}}  {'IoU %':>7}  {'Acc %':>7}  {'pixels':>15}"]
    for entry in row["per_class"]:
        iou, accuracy = _figure(entry["IoU"]), _figure(entry["Acc"])
        lines.append(f"{entry['name']:<{width}}  {iou:>7}  {accuracy:>7}  {entry['label_pixels']:>15,}")
    lines += ["", f"mIoU {_figure(row['mIoU'])}   mAcc {_figure(row['mAcc'])}   aAcc {_figure(row['aAcc'])}"]
    if row["IoU_fg"] is not None:
        lines[-1] += f"   foreground IoU {_figure(row['IoU_fg'])}"
    lines.append(
        f"{row['Dataset']}, {row['images']} images in {row['seconds']:.1f} s on {row['device']}, "
        f"CLIP: {row['CLIP']}, method {row['MODEL']}"
    )
    if row.get("about"):
        lines.append(f"{row['model']}: {row['about']}")
    lines.extend(f"warning: {remark}" for remark in remarks(row))
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
