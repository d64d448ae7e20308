"""The comparison: this machine's numbers beside the published ones, made from the records of every method and set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from segearth.paper.columns import TableColumn, column, dataset_order
from segearth.paper.published import AVERAGED, NOTES, Published, published
from segearth.paper.reading import PICTURES, read_table_runs
from segearth.paper.table_rows import ROWS, TableRow
from segearth.results.record import Run

PAPER_MODEL = "clip-vit-b16"
AVERAGE = f"average of {len(AVERAGED)} sets"
CLOSE, NEAR = 0.5, 2.0  # points of difference: reproduced (half of it is the paper's rounding), near; else far
# Grades of a difference -> colour, and what it says.
GRADES = {
    "close": ("C6E7CE", f"comparable, at most {CLOSE} points from the published number"),
    "near": ("FFE9A8", f"comparable, at most {NEAR:g} points"),
    "far": ("F7C6C0", f"comparable, more than {NEAR:g} points"),
    "none": ("EDEDED", "not comparable: see the column Comparable"),
}
# Options that change how fast images are read and where they are computed, but no count.
_HARMLESS = (
    *(f"test_dataloader.{key}=" for key in ("num_workers", "persistent_workers", "prefetch_factor", "pin_memory")),
    "model.device=",
    "model.max_memory_mb=",
)


def rounded(value: float | None) -> float | None:
    """As tables show it; differences are taken of this, so that a reader's own subtraction agrees."""
    return None if value is None else round(value, 2)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A number of the tables beside the published one.

    Attributes:
        row: the method.
        column: the data set, or the average.
        run: the newest usable record; None: there is none.
        failure: why the newest run gave no record.
        pictures: that are there.
        result: this machine's number in percent, rounded; None: there is none.
        figures: other figures, by columns of tables.
        is_complete: whether the whole split was seen, as far as that is known.
        caveats: why the result cannot be compared with the paper; empty if it can.
        notes: why there is no newer result, and what a reader of the difference should know.
    """

    row: TableRow
    column: TableColumn
    run: Run | None = None
    failure: str | None = None
    pictures: tuple[Path, ...] = ()
    result: float | None = None
    figures: Mapping[str, float | None] = field(default_factory=dict)
    is_complete: bool = False
    caveats: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def published(self) -> Published | None:
        """The paper's number, if one was seen."""
        return published(self.row.name, self.column.name)

    @property
    def difference(self) -> float | None:
        """Result minus published, in points."""
        paper = self.published
        return None if paper is None or self.result is None else round(self.result - paper.value, 2)

    @property
    def comparable(self) -> str | None:
        """Whether it can be compared: "yes", or why not; None where there is nothing to compare."""
        return None if self.published is None or not self.figures else "; ".join(self.caveats) or "yes"

    @property
    def grade(self) -> str | None:
        """A key of `GRADES`; None where there is no difference."""
        if self.difference is None:
            return None
        if self.comparable != "yes":
            return "none"
        size = abs(self.difference)
        return "close" if size <= CLOSE else "near" if size <= NEAR else "far"


def result_line(
    row: TableRow,
    column: TableColumn,
    run: Run | None,
    failure: str | None = None,
    pictures: Sequence[Path] = (),
) -> Line:
    """The line of a method on a data set; see `Line`."""
    notes = [row.note, NOTES.get(column.name, "") if row.name == "segearth-ov" else ""]
    if failure is not None:
        notes.insert(0, f"failed: {failure}" + ("; the result is that of an earlier run" if run else ""))
    line = Line(row=row, column=column, run=run, failure=failure, pictures=tuple(pictures))
    if run is None:
        return replace(line, notes=tuple(filter(None, notes)))
    whole = run.data is None or run.data.complete is not False
    return replace(
        line,
        result=rounded(run.miou if column.metric == "mIoU" else run.foreground_iou),
        figures={
            "aAcc": run.aacc,
            "mIoU": run.miou,
            "mAcc": run.macc,
            "Foreground IoU": rounded(run.foreground_iou),
            "Images": run.images,
            "Seconds an image": run.seconds_per_image,
        },
        is_complete=(is_complete := whole and run.images >= (run.available or 0) and _is_split(column, run.images)),
        caveats=tuple(_caveats(row, column, run, is_complete)),
        notes=tuple(filter(None, [*notes, *run.warnings])),
    )


def _is_split(column: TableColumn, images: int) -> bool:
    """Whether the split has so many images; true where its size is not known."""
    return not column.expected or images in column.expected


def _caveats(row: TableRow, column: TableColumn, run: Run, is_complete: bool) -> list[str]:
    """Why a run cannot be compared with the paper."""
    reasons = [] if run.model == PAPER_MODEL else [f"model {run.model}"]
    if not _is_split(column, run.images):
        reasons.append(f"{run.images} of {' or '.join(map(str, column.expected))} images")
    elif not is_complete:
        reasons.append("data set not complete")
    elif column.name == "openearthmap" and run.images < max(column.expected):
        reasons.append(f"{run.images} images, the published number is of {max(column.expected)}")
    if changed := changed_options(row, run):
        reasons.append(f"changed: {changed}")
    return reasons


def changed_options(row: TableRow, run: Run) -> str:
    """The changes to the config that are not the method's own."""
    own = {f"{key}={value}" for key, value in row.changes.items()}
    if row.weights is not None:
        own |= {option for option in run.options if option.startswith("model.upsampler=")}
    return " ".join(option for option in run.options if option not in own and not option.startswith(_HARMLESS))


def average_lines(lines: Sequence[Line]) -> list[Line]:
    """The paper's averages of mIoU, of methods that have a result for all of its sets."""
    averages = []
    for row in ROWS.values():
        by_name = {line.column.name: line for line in lines if line.row == row and line.result is not None}
        sets = [by_name[name] for name in AVERAGED if name in by_name]
        if row.datasets or len(sets) < len(AVERAGED):
            continue
        result = rounded(sum(line.figures["mIoU"] or 0 for line in sets) / len(sets))
        weak = [line.column.title for line in sets if line.caveats]
        caveat = f"not comparable: {'all of them' if len(weak) == len(sets) else ', '.join(weak)}"
        averages.append(
            Line(
                row=row,
                column=TableColumn("average", AVERAGE),
                result=result,
                figures={"mIoU": result, "Images": sum(line.figures["Images"] or 0 for line in sets)},
                is_complete=all(line.is_complete for line in sets),
                caveats=(caveat,) if weak else (),
                notes=tuple(filter(None, [row.note, "with C's prompts"])),
            )
        )
    return averages


@dataclass(frozen=True)
class Comparison:
    """All that the tables of a work dir are made from.

    Attributes:
        results: lines by methods, then sets, in the paper's order; one's own sets last.
        averages: lines of the methods that have all sets of the average.
    """

    results: Sequence[Line]
    averages: Sequence[Line] = ()

    @property
    def lines(self) -> list[Line]:
        """Lines of the table of results."""
        return [*self.results, *self.averages]

    @property
    def runs(self) -> list[Run]:
        """The records that results are from."""
        return [line.run for line in self.results if line.run is not None]

    @property
    def models(self) -> list[str]:
        """Names of the models that the results are of."""
        return sorted({run.model for run in self.runs})

    @property
    def failures(self) -> dict[str, list[str]]:
        """Reasons of failures, each once -> the methods and sets that failed for it."""
        reasons: dict[str, list[str]] = {}
        for line in self.results:
            if line.failure is not None:
                reasons.setdefault(line.failure, []).append(f"{line.row.title}, {line.column.title}")
        return reasons


def compare(work_dir: Path) -> Comparison:
    """Reads the folders of all methods and sets, METHOD/SET in a work dir."""
    lines: list[Line] = []
    order = dataset_order()
    for row in ROWS.values():
        folders = {path.name for path in (work_dir / row.name).glob("*") if path.is_dir()}
        for name in [*order, *sorted(folders - set(order))]:
            folder = work_dir / row.name / name
            runs, failure = read_table_runs(folder)
            if name not in order:  # of a config of one's own; a copy of another folder is none
                runs = [run for run in runs if Path(run.config).stem.removeprefix("cfg_") == name]
            if runs or (failure is not None and (name in order or " " not in name)):
                pictures = [folder / PICTURES / picture for picture in (runs[-1].pictures if runs else ())]
                shown = [path for path in pictures if path.is_file()]
                lines.append(result_line(row, column(name), runs[-1] if runs else None, failure, shown))
    return Comparison(lines, average_lines(lines))


def notes_of(lines: Sequence[Line]) -> list[tuple[str, list[str]]]:
    """Every note once, with the lines that it is about: data sets and methods, or the method for all of its sets."""
    about: dict[str, list[Line]] = {}
    for line in lines:
        for note in line.notes:
            about.setdefault(note, []).append(line)
    found = []
    for note, those in about.items():
        datasets = list(dict.fromkeys(line.column.title for line in those))
        found.append((note, datasets if len(datasets) == 1 else list(dict.fromkeys(line.row.title for line in those))))
    return found
