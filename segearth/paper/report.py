"""report.html: the tables and some pictures in one file that needs neither a server nor a network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from segearth.datasets import describe
from segearth.paper.comparison import AVERAGE, PAPER_MODEL, Comparison, complete, title
from segearth.paper.methods import METHODS
from segearth.paper.published import AVERAGED, published
from segearth.paper.sweep import dataset_order
from segearth.paper.text import cell, notes_of, signed
from segearth.paper.workbook import COLOURS, MEANING, grade
from segearth.results.record import Run

_PICTURE_WIDTH, _QUALITY = 1500, 82
_COLUMNS = (
    *("Method", "Dataset", "Metric", "Result", "Published", "Edition", "Difference", "aAcc", "mIoU", "mAcc"),
    *("Images", "Seconds an image", "Comparable"),
)


def html(tables: Comparison) -> str:
    """The report as a page of HTML."""
    style = (files("segearth") / "data" / "report.css").read_text(encoding="utf-8")
    keys = list(dict.fromkeys([*tables.runs, *tables.failures]))
    datasets = [name for name in dataset_order() if any(dataset == name for _, dataset in keys)]
    several = [name for name in datasets if describe(name).metric == "mIoU"]
    single = [name for name in datasets if describe(name).metric != "mIoU"]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>SegEarth: evaluation</title><style>{style}</style></head><body><main>",
        "<h1>SegEarth: results beside the paper's</h1>",
        _circumstances(tables),
        _failures(tables),
        _grid(tables, "mIoU over all classes, background included", several),
        _grid(tables, "IoU of the foreground", single),
        _key(),
        _details(tables),
        *(_dataset(tables, name) for name in datasets),
        "</main></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _circumstances(tables: Comparison) -> str:
    """Where the numbers come from, and a warning if they are not of the paper's model."""
    runs = list(tables.runs.values())
    if not runs:
        return "<p>There are no results yet.</p>"
    versions = sorted({f"torch {run.versions.get('torch')}, mmseg {run.versions.get('mmseg')}" for run in runs})
    facts = {
        "Model": ", ".join(tables.models),
        "Device": ", ".join(sorted({run.device for run in runs})),
        "Versions": "; ".join(versions),
        "Commit": ", ".join(sorted({run.commit or "not known" for run in runs})),
        "Finished": max(run.date for run in runs).replace("T", " ").replace("+00:00", " UTC"),
    }
    lines = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    others = [name for name in tables.models if name != PAPER_MODEL]
    warning = (
        f"<p class='warning'><b>{escape(', '.join(others))}</b> is not the model of the paper: differences from "
        "the published numbers say nothing about the method.</p>"
        if others
        else ""
    )
    return f"<dl class='facts'>{lines}</dl>{warning}"


def _failures(tables: Comparison) -> str:
    if not tables.failures:
        return ""
    items = "".join(
        f"<li><b>{escape(METHODS[method].title)}, {escape(title(dataset))}</b>: {escape(text)}</li>"
        for (method, dataset), text in tables.failures.items()
    )
    return f"<section class='failures'><h2>Failed</h2><ul>{items}</ul></section>"


def _grid(tables: Comparison, heading: str, datasets: Sequence[str]) -> str:
    """A table as the paper has it: methods down, sets across, each number above the published one."""
    if not datasets:
        return ""
    lines = {(row["Method"], row["Dataset"]): row for row in tables.rows}
    methods = [one for one in METHODS.values() if any((one.name, name) in tables.runs for name in datasets)]
    averages = [row for row in tables.rows if row["Dataset"] == AVERAGE]
    mean = {row["Method"]: row for row in averages} if set(datasets) & set(AVERAGED) else {}
    head = "".join(f"<th>{escape(title(name))}</th>" for name in datasets) + ("<th>Average</th>" if mean else "")
    body = ""
    for method in methods:
        rows = [lines.get((method.title, title(name))) for name in datasets]
        rows += [mean.get(method.title)] if mean else []
        short = " class='short'" if len(method.title) < 15 else ""  # those have hyphens to break at, but need not
        body += f"<tr><th{short}>{escape(method.title)}</th>{''.join(_cell(row) for row in rows)}</tr>"
    return (
        f"<section><h2>{escape(heading)}</h2><div class='scroll'><table class='grid'><thead><tr><th></th>{head}</tr>"
        f"</thead><tbody>{body}</tbody></table></div></section>"
    )


def _cell(row: dict[str, Any] | None) -> str:
    """Here above, published below."""
    if row is None:
        return "<td></td>"
    if row["Result"] is None:
        return "<td class='failed'>failed</td>"
    kind, paper, difference = grade(row), row["Published"], row["Difference"]
    below = "–" if paper is None else f"{paper:.1f}"
    if difference is not None:
        below += f" ({signed(difference, 1)})"
    below = f"<small>{below}</small>"
    mark = "" if row["Complete"] == "yes" else "<sup title='not the whole split'>*</sup>"
    tip = escape(str(row["Comparable"] or ""), quote=True)
    return f"<td class='{kind or ''}' title='{tip}'><span>{row['Result']:.1f}{mark}</span>{below}</td>"


def _key() -> str:
    items = "".join(f"<li><i class='{kind}'></i>{escape(MEANING[kind])}</li>" for kind in COLOURS)
    return (
        "<p class='note'>In each cell: the number here; below it the published one, and the difference in points. "
        f"* not the whole split.</p><ul class='key'>{items}</ul>"
    )


def _details(tables: Comparison) -> str:
    """All results, a line each, and the notes below."""
    body = ""
    for row in tables.rows:
        cells = ""
        for name in _COLUMNS:
            value, kind = row[name], grade(row) if name == "Difference" else None
            number = isinstance(value, int | float)
            shown = signed(value, 2) if number and name == "Difference" else cell(row, name).replace("\\|", "|")
            if name == "Result" and value is None and shown:
                number, kind = True, "failed"
            cells += f"<td class='{'number ' if number else ''}{kind or ''}'>{escape(shown)}</td>"
        body += f"<tr class='{'average' if row['Dataset'] == AVERAGE else ''}'>{cells}</tr>"
    head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
    notes = "".join(f"<li>{escape(', '.join(names))}: {escape(note)}</li>" for note, names in notes_of(tables.rows))
    return (
        "<section><h2>All results</h2><div class='scroll'><table class='lines'><thead><tr>"
        f"{head}</tr></thead><tbody>{body}</tbody></table></div><ul class='notes'>{notes}</ul></section>"
    )


def _dataset(tables: Comparison, dataset: str) -> str:
    """A set: classes with their IoU as bars, and pictures, by method."""
    of = describe(dataset)
    blocks = ""
    for method in METHODS.values():
        if (run := tables.runs.get((method.name, dataset))) is None:
            continue
        paper = published(method.name, dataset)
        result = run.miou if of.metric == "mIoU" else run.foreground_iou
        facts = [
            f"{of.metric}: {'–' if result is None else format(result, '.2f')}",
            f"published: {paper.value}" if paper else "",
            f"{run.images:,} images{'' if complete(of, run) else ' (not the whole split)'}",
            f"{run.seconds_per_image or 0:.2f} s an image",
        ]
        figures = "".join(
            f"<img alt='{escape(path.stem, quote=True)}: image, label, prediction' "
            f"src='{_embed(path, path.stat().st_mtime_ns)}'>"
            for path in tables.pictures.get((method.name, dataset), [])
        )
        blocks += (
            f"<h3>{escape(method.title)}</h3><p class='note'>{escape(', '.join(fact for fact in facts if fact))}</p>"
            f"{_bars(run)}<div class='pictures'>{figures}</div>"
        )
    return f"<section class='dataset'><h2>{escape(title(dataset))}</h2>{blocks}</section>" if blocks else ""


def _bars(run: Run) -> str:
    """IoU of every class."""
    lines = ""
    for entry in run.per_class:
        value = entry.iou
        shown = "nowhere" if value is None else f"{value:.1f}"
        lines += (
            f"<tr><th>{escape(entry.name)}</th><td><div class='bar'><b style='width:{value or 0:.1f}%'></b></div>"
            f"</td><td class='number'>{shown}</td></tr>"
        )
    return f"<table class='bars'><tbody>{lines}</tbody></table>"


@cache
def _embed(path: Path, changed: int) -> str:  # noqa: ARG001 (part of the key)
    """A picture as a part of the page, small enough for many of them; made once, though reports are made often."""
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_PICTURE_WIDTH, 2 * _PICTURE_WIDTH))
    data = BytesIO()
    small.save(data, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
