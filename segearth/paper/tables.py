"""Writes all tables of a work dir anew: results.xlsx, results.csv, results.json, results.md, report.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.jobs.locks import locked
from segearth.json_files import json_text
from segearth.outputs import atomic
from segearth.paper.comparison import AVERAGE, GRADES, Comparison, Line, changed_options, compare, notes_of, rounded
from segearth.paper.report import html
from segearth.paper.table_rows import TableRow
from segearth.results.record import Run
from segearth.results.tables import DARK, FONT, frame, markdown, plain_text, write_csv, write_workbook

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

FILES = ("results.xlsx", "results.csv", "results.json", "results.md", "report.html")

# Columns of the table of results, and what they say.
COLUMNS = {
    "Method": "row of the paper's table",
    "Dataset": "the data set; (J): with the prompts of the journal edition",
    "Metric": "what the paper compares: mIoU over all classes, or the IoU of the foreground",
    "Result": "this metric here, in percent",
    "Published": "the paper's number",
    "Edition": "where it is printed: C, CVPR 2025; J, the journal extension",
    "Difference": "Result minus Published, in points",
    "Comparable": "yes, or why the difference says nothing about the method",
    "aAcc": "share of pixels that are right, in percent",
    "mIoU": "mean IoU over all classes, background included, in percent; classes that are nowhere are left out",
    "mAcc": "mean share of each class's pixels that were found, in percent",
    "Foreground IoU": "for sets with one class: IoU of that class, in percent",
    "Images": "images that were evaluated",
    "Complete": "yes or no: whether these are all images of the split",
    "Seconds an image": "of one process, images read and results counted",
    "Note": "what a reader of the difference should know; or why there is no result",
    "Config": "the config file",
    "Prompts": "names of the classes: commas between synonyms, semicolons between classes",
    "Model": "name of the model",
    "CLIP weights": "their file",
    "CLIP SHA-256": "its checksum",
    "Upsampler": "what brings patches to pixels",
    "Upsampler SHA-256": "checksum of its weights",
    "Method in code": "model_type of the config",
    "ignore_residual": "whether the last block is attention alone",
    "prob_thd": "pixels whose best score is below become background",
    "cls_token_lambda": "factor of the [CLS] token",
    "Long side": "of the images in pixels, before windows are cut",
    "Changed": "further changes to the config",
    "Precision": "of the image encoder",
    "Device": "where it ran",
    "Processes": "how many shared the images",
    "torch": "version",
    "mmseg": "version",
    "segearth": "version",
    "Commit": "of this code",
    "Date (UTC)": "when it was finished",
}
CLASS_COLUMNS = {
    "Method": "row of the paper's table",
    "Dataset": "the data set",
    "Class": "its name",
    "Prompt": "what was searched for",
    "IoU": "intersection over union, in percent; empty: the class is nowhere",
    "Acc": "share of the class's pixels that were found, in percent",
    "Intersection": "pixels",
    "Union": "pixels",
    "Predicted pixels": "pixels",
    "Label pixels": "pixels",
}
_ON_A_PAGE = (
    *("Method", "Dataset", "Metric", "Result", "Published", "Edition", "Difference", "Comparable"),
    *("aAcc", "mIoU", "mAcc", "Images", "Seconds an image"),
)
_ON_A_TERMINAL = ("Method", "Dataset", "Metric", "Result", "Published", "Edition", "Difference", "Images", "Comparable")


def write_tables(work_dir: Path) -> Comparison:
    """Makes every table from the records of each method and set.

    Args:
        work_dir: of `segearth.paper.sweep`.

    Raises:
        UserError: a file that cannot be written.
    """
    with locked(work_dir / "results.json"):  # else an older table of a second process could come last
        comparison = compare(work_dir)
        rows, classes = [cells(line) for line in comparison.lines], class_rows(comparison)
        with atomic(work_dir / "results.xlsx") as part:
            write_comparison(part, comparison)
        with atomic(work_dir / "results.csv") as part:
            write_csv(part, frame(COLUMNS, rows))
        texts = {
            "results.json": json_text({"results": rows, "classes": classes}),
            "results.md": results_markdown(comparison),
            "report.html": html(comparison),
        }
        for name, text in texts.items():
            with atomic(work_dir / name) as part:
                part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return comparison


def results_text(comparison: Comparison) -> str:
    """The table of results for a terminal."""
    return plain_text(frame(_ON_A_TERMINAL, map(_shown, comparison.lines)))


def results_markdown(comparison: Comparison) -> str:
    """The table of results in Markdown, with the notes below it."""
    notes = [f"- {', '.join(names)}: {note}\n" for note, names in notes_of(comparison.lines)]
    return "\n".join([markdown(frame(_ON_A_PAGE, map(_shown, comparison.lines))), "".join(notes)])


def _shown(line: Line) -> dict[str, Any]:
    """A line of a table that people read, where a failed run has "failed" as its result."""
    row = cells(line)
    return row | {"Result": "failed"} if line.result is None and line.failure else row


def cells(line: Line) -> dict[str, Any]:
    """A line of the table of results, keys as in `COLUMNS`; None where there is nothing."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "Method": line.row.title,
        "Dataset": line.column.title,
        "Metric": line.column.metric,
        "Result": line.result,
        "Published": line.published.value if line.published else None,
        "Edition": (line.published.edition or "not stated") if line.published else None,
        "Difference": line.difference,
        "Comparable": line.comparable,
        "Complete": None if not line.figures else "yes" if line.is_complete else "no",
        "Note": "; ".join(line.notes) or None,
    }
    return {**row, **line.figures, **(_circumstances(line.row, line.run) if line.run else {})}


def _circumstances(row: TableRow, run: Run) -> dict[str, Any]:
    """Everything that the figures of a run depend on."""
    clip, upsampler = run.weights.clip, run.weights.upsampler
    return {
        "Config": Path(run.config).name,
        "Prompts": "; ".join(run.prompts.classes),
        "Model": run.model,
        "CLIP weights": clip and clip.file,
        "CLIP SHA-256": clip and clip.sha256,
        "Upsampler": run.upsampler or "none",
        "Upsampler SHA-256": upsampler and upsampler.sha256,
        "Method in code": run.method,
        **{key: run.settings.get(key) for key in ("ignore_residual", "prob_thd", "cls_token_lambda")},
        "Long side": max(run.scale) if run.scale else None,
        "Changed": changed_options(row, run) or None,
        "Precision": run.settings.get("precision"),
        "Device": run.device,
        "Processes": run.processes,
        **{name: run.versions.get(name) for name in ("torch", "mmseg", "segearth")},
        "Commit": run.commit,
        "Date (UTC)": run.date,
    }


def class_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Lines of the table of classes, keys as in `CLASS_COLUMNS`."""
    return [
        {
            "Method": line.row.title,
            "Dataset": line.column.title,
            "Class": result.name,
            "Prompt": prompt,
            "IoU": rounded(result.iou),
            "Acc": rounded(result.accuracy),
            "Intersection": result.intersection,
            "Union": result.union,
            "Predicted pixels": result.prediction_pixels,
            "Label pixels": result.label_pixels,
        }
        for line in comparison.results
        if line.run is not None
        for result, prompt in zip(line.run.per_class, line.run.prompts.classes, strict=True)
    ]


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Writes a workbook with the sheets "results", "classes" and "columns", which explains the others."""
    meanings = [
        *(("results", *item) for item in COLUMNS.items()),
        *(("classes", *item) for item in CLASS_COLUMNS.items()),
        *(("results", "Difference", text) for _, text in GRADES.values()),
    ]
    header = ("Sheet", "Column", "Meaning")
    tables = {
        "results": frame(COLUMNS, map(cells, comparison.lines)),
        "classes": frame(CLASS_COLUMNS, class_rows(comparison)),
        "columns": frame(header, [dict(zip(header, meaning, strict=True)) for meaning in meanings]),
    }
    write_workbook(path, tables, lambda sheets: _colour(sheets, comparison))


def _colour(sheets: Mapping[str, Worksheet], comparison: Comparison) -> None:
    """Colours differences and, in the last lines of the sheet that explains columns, their key; averages are bold."""
    from openpyxl.styles import Border, Font, PatternFill, Side

    difference = list(COLUMNS).index("Difference") + 1
    for i, line in enumerate(comparison.lines, start=2):
        is_average = line.column.title == AVERAGE
        cell = sheets["results"].cell(i, difference)
        for one in sheets["results"][i]:
            if is_average:
                one.font, one.border = Font(FONT, bold=True), Border(top=Side("thin", color=DARK))
            elif line.failure:
                one.font = Font(FONT, color="A32A1E")
        if line.grade is not None:
            cell.fill = PatternFill("solid", fgColor=GRADES[line.grade][0])
        if line.grade == "none":
            cell.font = Font(FONT, italic=True, color="707070", bold=is_average)
    key = sheets["columns"]
    for i, (colour, _) in enumerate(GRADES.values(), start=key.max_row - len(GRADES) + 1):
        key.cell(i, 2).fill = PatternFill("solid", fgColor=colour)
