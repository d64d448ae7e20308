"""report.html: the results and some pictures in one file that needs neither a server nor a network."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from segearth.paper.comparison import AVERAGE, GRADES, PAPER_MODEL, Comparison, Line, notes_of
from segearth.paper.published import AVERAGED
from segearth.results.tables import cell_text

TEMPLATE = "report.html.jinja"  # in segearth/data, as report.css
_PICTURE_WIDTH, _QUALITY = 1500, 82


def html(comparison: Comparison) -> str:
    """The report as a page of HTML: the results, then what failed, then classes and pictures of each set."""
    environment = Environment(
        loader=PackageLoader("segearth", "data"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(signed=signed, cell=lambda value, name: cell_text(name, value))
    lines = [line for line in comparison.lines if line.figures]
    return environment.get_template(TEMPLATE).render(
        facts=_facts(comparison),
        other_models=[name for name in comparison.models if name != PAPER_MODEL],
        grids=_grids(comparison),
        grades=GRADES,
        lines=lines,
        average=AVERAGE,
        notes=[(note, names) for note, names in notes_of(lines) if not note.startswith("failed: ")],
        failures=comparison.failures,
        sets=_by_set(line for line in comparison.results if line.run is not None),
        embed=lambda path: _embed(path, path.stat().st_mtime_ns),
    )


def signed(value: float, digits: int) -> str:
    """A difference, with a plus or a proper minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _facts(comparison: Comparison) -> dict[str, str]:
    """Where the numbers come from."""
    runs = comparison.runs
    if not runs:
        return {}
    versions = {f"torch {run.versions.get('torch')}, mmseg {run.versions.get('mmseg')}" for run in runs}
    return {
        "Model": ", ".join(comparison.models),
        "Device": ", ".join(sorted({run.device for run in runs})),
        "Versions": "; ".join(sorted(versions)),
        "Commit": ", ".join(sorted({run.commit or "not known" for run in runs})),
        "Finished": max(run.date for run in runs).replace("T", " ").replace("+00:00", " UTC"),
    }


def _by_set(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Titles of sets, in their order, -> the lines of each."""
    sets: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda line: (line.column.order, line.column.title)):
        sets.setdefault(line.column.title, []).append(line)
    return sets


def _grids(comparison: Comparison) -> list[tuple[str, list[str], dict[str, list[Line | None]]]]:
    """Tables as the paper has them: a heading, titles of sets across, and titles of methods with their lines down."""
    grids = []
    for heading, is_mean in (("mIoU over all classes, background included", True), ("IoU of the foreground", False)):
        lines = [line for line in comparison.results if line.run and (line.column.metric == "mIoU") == is_mean]
        sets = _by_set(lines)
        if {line.column.name for line in lines} & set(AVERAGED) and is_mean and comparison.averages:
            sets["Average"] = list(comparison.averages)
        cells = [{line.row.title: line for line in column} for column in sets.values()]
        methods = dict.fromkeys(line.row.title for line in lines)
        if lines:
            grids.append((heading, list(sets), {method: [cell.get(method) for cell in cells] for method in methods}))
    return grids


@cache
def _embed(path: Path, changed: int) -> str:  # noqa: ARG001 (part of the key)
    """A picture as a part of the page, small enough for many of them; made once, though reports are made often."""
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
    except (OSError, ValueError):  # damaged: the tables are made without it
        small = Image.new("RGB", (1, 1), "white")
    small.thumbnail((_PICTURE_WIDTH, 2 * _PICTURE_WIDTH))
    data = BytesIO()
    small.save(data, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
