"""A folder of runs: results.json, the truth, with a row a run, and results.xlsx, made from it for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segearth.errors import UserError, option, printable
from segearth.jobs.locks import locked
from segearth.json_files import read_json, write_json
from segearth.outputs import atomic
from segearth.results.record import Run
from segearth.results.tables import cell_text, frame, plain_text, write_workbook

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
# Column of the sheet of classes -> key of an element of `per_class`.
CLASS_FIGURES = {
    "Class": "name",
    "IoU": "IoU",
    "Acc": "Acc",
    "Intersection": "intersection",
    "Union": "union",
    "Predicted pixels": "prediction_pixels",
    "Label pixels": "label_pixels",
}


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
            write_runs(part, rows)


def write_runs(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows as a workbook: a sheet with a line a run, and one with a line a class and run.

    Args:
        path: of the workbook.
        rows: of results.json; of one that is not usable the first sheet has what is there.
    """
    lines, classes = [], []
    for number, row in enumerate(rows, start=1):
        run = usable(row)
        line = {name: _pick(row, key) for name, key in RUN_COLUMNS.items()}
        lines.append(line | {"Run": number, "Remarks": "; ".join(run.warnings) or None if run else None})
        for entry in row["per_class"] if run else ():
            classes.append(lines[-1] | {name: entry[key] for name, key in CLASS_FIGURES.items()})
    class_columns = ("Run", "Dataset", "CLIP", "MODEL", *CLASS_FIGURES)
    write_workbook(path, {"runs": frame(RUN_COLUMNS, lines), "classes": frame(class_columns, classes)})


def run_text(run: Run) -> str:
    """A run as text: a line a class with IoU, accuracy and labelled pixels, then the totals."""
    classes = [
        {"class": result.name, "IoU %": result.iou, "Acc %": result.accuracy, "pixels": result.label_pixels}
        for result in run.per_class
    ]
    figures = {"mIoU": run.miou, "mAcc": run.macc, "aAcc": run.aacc}
    if run.foreground_iou is not None:
        figures["foreground IoU"] = run.foreground_iou
    lines = [
        plain_text(frame(("class", "IoU %", "Acc %", "pixels"), classes), empty="-"),
        "",
        "   ".join(f"{name} {cell_text(name, value) or '-'}" for name, value in figures.items()),
        f"{run.dataset}, {run.images} images in {run.seconds:.1f} s on {run.device}, "
        f"CLIP: {run.clip}, method {run.method}",
        *([f"{run.model}: {run.about}"] if run.about else []),
        *(f"warning: {warning}" for warning in run.warnings),
    ]
    return printable("\n".join(lines), keep="\n")


def _pick(row: dict[str, Any], key: str) -> Any:
    """A value by its key, with dots into nested objects; None where there is none."""
    value: Any = row
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
