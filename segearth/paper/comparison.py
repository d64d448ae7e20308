"""The comparison: this machine's numbers beside the published ones, made from the records of every method and set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from segearth.paper.columns import TableColumn, column, dataset_order
from segearth.paper.published import AVERAGED, NOTES, Published, published
from segearth.paper.reading import PICTURES, read_runs
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


@dataclass(frozen=True)
class Line(ABC):
    """A number of the tables beside the published one.

    Attributes:
        row: the method.
        column: the data set.
    """

    row: TableRow
    column: TableColumn

    @property
    @abstractmethod
    def result(self) -> float | None:
        """This machine's number in percent, rounded; None: there is none."""

    @property
    @abstractmethod
    def caveats(self) -> list[str]:
        """Why it cannot be compared with the paper; empty if it can."""

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Whether the whole split was seen."""

    @property
    @abstractmethod
    def images(self) -> int | None:
        """How many images were evaluated."""

    @property
    def figures(self) -> dict[str, float | None]:
        """Other figures, by columns of tables."""
        return {"Images": self.images}

    @property
    def notes(self) -> list[str]:
        """What a reader of the difference should know."""
        return [self.row.note] if self.row.note else []

    @property
    def published(self) -> Published | None:
        """The paper's number, if one was seen."""
        return published(self.row.name, self.column.name)

    @property
    def edition(self) -> str | None:
        """Where the paper's number is printed."""
        return (self.published.edition or "not stated") if self.published else None

    @property
    def difference(self) -> float | None:
        """Result minus published, in points."""
        known = self.published is not None and self.result is not None
        return round(self.result - self.published.value, 2) if known else None  # type: ignore[operator, union-attr]

    @property
    def comparable(self) -> str | None:
        """Whether it can be compared: "yes", or why not; None where there is nothing to compare."""
        return None if self.published is None or self.images is None else "; ".join(self.caveats) or "yes"

    @property
    def grade(self) -> str | None:
        """A key of `GRADES`; None where there is no difference."""
        if self.difference is None:
            return None
        if self.comparable != "yes":
            return "none"
        size = abs(self.difference)
        return "close" if size <= CLOSE else "near" if size <= NEAR else "far"


@dataclass(frozen=True)
class Entry(Line):
    """A method on a data set.

    Attributes:
        run: the newest usable record; None: there is none.
        failure: why the newest run gave no record.
        pictures: that are there.
    """

    run: Run | None = None
    failure: str | None = None
    pictures: tuple[Path, ...] = ()

    @property
    def result(self) -> float | None:
        """What the paper compares: mIoU, or IoU of the foreground."""
        if self.run is None:
            return None
        return rounded(self.run.miou if self.column.metric == "mIoU" else self.run.foreground_iou)

    @property
    def images(self) -> int | None:
        """How many images were evaluated."""
        return None if self.run is None else self.run.images

    @property
    def figures(self) -> dict[str, float | None]:
        """Other figures, by columns of tables."""
        if (run := self.run) is None:
            return {}
        shares = {"aAcc": run.aacc, "mIoU": run.miou, "mAcc": run.macc, "Foreground IoU": rounded(run.foreground_iou)}
        return {**shares, **super().figures, "Seconds an image": run.seconds_per_image}

    @property
    def is_complete(self) -> bool:
        """Whether the run saw the whole split, as far as that is known."""
        if self.run is None:
            return False
        whole = self.run.data is None or self.run.data.complete is not False
        limited = self.run.images < (self.run.available or 0)
        return whole and not limited and self.run.images in (self.column.expected or (self.run.images,))

    @property
    def caveats(self) -> list[str]:
        """Why the run cannot be compared with the paper; empty if it can."""
        if self.run is None:
            return []
        reasons, images, expected = [], self.run.images, self.column.expected
        if self.run.model != PAPER_MODEL:
            reasons.append(f"model {self.run.model}")
        if images not in expected:
            reasons.append(f"{images} of {' or '.join(map(str, expected))} images")
        elif not self.is_complete:
            reasons.append("data set not complete")
        elif self.column.name == "openearthmap" and images < max(expected):
            reasons.append(f"{images} images, the published number is of {max(expected)}")
        return [*reasons, *([f"changed: {self.changed}"] if self.changed else [])]

    @property
    def changed(self) -> str:
        """The changes to the config that are not the method's own."""
        options = self.run.options if self.run else ()
        own = {f"{key}={value}" for key, value in self.row.changes.items()}
        if self.row.weights is not None:
            own |= {option for option in options if option.startswith("model.upsampler=")}
        return " ".join(option for option in options if option not in own and not option.startswith(_HARMLESS))

    @property
    def notes(self) -> list[str]:
        """Why there is no result, or what a reader of the difference should know."""
        notes = super().notes
        if self.row.name == "segearth-ov" and self.column.name in NOTES:
            notes.append(NOTES[self.column.name])
        if self.failure is not None:
            notes.insert(0, f"failed: {self.failure}" + ("; the result is that of an earlier run" if self.run else ""))
        return [*notes, *(self.run.warnings if self.run else ())]


@dataclass(frozen=True)
class Average(Line):
    """The paper's average of mIoU over a method's sets, all of which have a result.

    Attributes:
        entries: of the sets in `AVERAGED`.
    """

    entries: tuple[Entry, ...]

    @property
    def result(self) -> float | None:
        """Mean of the sets' mIoU as they were recorded."""
        values = [entry.run.miou for entry in self.entries if entry.run and entry.run.miou is not None]
        return rounded(sum(values) / len(values))

    @property
    def images(self) -> int | None:
        """Of all sets."""
        return sum(entry.images or 0 for entry in self.entries)

    @property
    def figures(self) -> dict[str, float | None]:
        """Other figures, by columns of tables."""
        return {"mIoU": self.result, **super().figures}

    @property
    def is_complete(self) -> bool:
        """Whether all sets are."""
        return all(entry.is_complete for entry in self.entries)

    @property
    def caveats(self) -> list[str]:
        """Which sets cannot be compared."""
        weak = [entry.column.title for entry in self.entries if entry.caveats]
        return [f"not comparable: {'all of them' if len(weak) == len(self.entries) else ', '.join(weak)}"] * bool(weak)

    @property
    def notes(self) -> list[str]:
        """What a reader of the difference should know."""
        return [*super().notes, "with C's prompts"]


@dataclass(frozen=True)
class Comparison:
    """All that the tables of a work dir are made from.

    Attributes:
        entries: by methods, then sets, in the paper's order; one's own sets last.
        averages: of the methods that have all sets of the average.
    """

    entries: tuple[Entry, ...]
    averages: tuple[Average, ...] = ()

    @property
    def lines(self) -> list[Line]:
        """Lines of the table of results."""
        return [*self.entries, *self.averages]

    @cached_property
    def runs(self) -> list[Run]:
        """The records that results are from."""
        return [entry.run for entry in self.entries if entry.run is not None]

    @property
    def models(self) -> list[str]:
        """Names of the models that the results are of."""
        return sorted({run.model for run in self.runs})

    @property
    def failures(self) -> dict[str, list[str]]:
        """Reasons of failures, each once -> the methods and sets that failed for it."""
        found: dict[str, list[str]] = {}
        for entry in self.entries:
            if entry.failure is not None:
                found.setdefault(entry.failure, []).append(f"{entry.row.title}, {entry.column.title}")
        return found


def compare(work_dir: Path) -> Comparison:
    """Reads the folders of all methods and sets, METHOD/SET in a work dir."""
    entries: list[Entry] = []
    order = dataset_order()
    for row in ROWS.values():
        folders = {path.name for path in (work_dir / row.name).glob("*") if path.is_dir()}
        for name in [*order, *sorted(folders - set(order))]:
            folder = work_dir / row.name / name
            runs, failure = read_runs(folder)
            if runs or failure is not None:
                pictures = [folder / PICTURES / picture for picture in (runs[-1].pictures if runs else ())]
                found = tuple(path for path in pictures if path.is_file())
                entries.append(Entry(row, column(name), runs[-1] if runs else None, failure, found))
    return Comparison(tuple(entries), tuple(averages(entries)))


def averages(entries: Sequence[Entry]) -> list[Average]:
    """The paper's averages, of methods that have all of its sets."""
    found = []
    for row in ROWS.values():
        by_name = {entry.column.name: entry for entry in entries if entry.row == row and entry.run}
        sets = tuple(by_name[name] for name in AVERAGED if name in by_name)
        if not row.datasets and len(sets) == len(AVERAGED) and all(entry.result is not None for entry in sets):
            found.append(Average(row, TableColumn("average", AVERAGE), sets))
    return found


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
