"""The tables: this machine's numbers beside the published ones, made from the results.json of every set and method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segearth.datasets import DATASETS, Description, describe
from segearth.paper.methods import METHODS, Method
from segearth.paper.published import AVERAGED, NOTES, published
from segearth.paper.reading import read_runs
from segearth.paper.sweep import JOURNAL, PICTURES, dataset_order
from segearth.results.record import Run

PAPER_MODEL = "clip-vit-b16"
AVERAGE = f"average of {len(AVERAGED)} sets"

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


# Options that change how fast images are read and where they are computed, but no count.
_HARMLESS = (
    *(f"test_dataloader.{key}=" for key in ("num_workers", "persistent_workers", "prefetch_factor", "pin_memory")),
    "model.device=",
    "model.max_memory_mb=",
)


@dataclass(frozen=True)
class Comparison:
    """All tables of a work dir.

    Attributes:
        rows: one a set and method, keys as in `COLUMNS`, None where there is nothing; then the averages.
        classes: one a set, method and class, keys as in `CLASS_COLUMNS`.
        runs: the newest usable ones, that they were made from, by names of method and set.
        failures: why there is no result, or none of the newest run, by names of method and set.
        pictures: by names of method and set.
    """

    rows: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    runs: dict[tuple[str, str], Run]
    failures: dict[tuple[str, str], str]
    pictures: dict[tuple[str, str], list[Path]]

    @property
    def models(self) -> list[str]:
        """Names of the models that the results are of."""
        return sorted({run.model for run in self.runs.values()})


def compare(work_dir: Path) -> Comparison:
    """Reads a work dir of `segearth.paper.sweep` and makes its tables."""
    found = Comparison([], [], {}, {}, {})
    for method in METHODS.values():
        for dataset in dataset_order():
            folder, key = work_dir / method.name / dataset, (method.name, dataset)
            runs, failure = read_runs(folder)
            if not runs and failure is None:
                continue
            if failure is not None:
                found.failures[key] = failure
            if runs:
                found.runs[key] = runs[-1]
                found.classes.extend(_class_lines(method, dataset, runs[-1]))
                pictures = [folder / PICTURES / name for name in runs[-1].pictures]
                found.pictures[key] = [path for path in pictures if path.is_file()]
            found.rows.append(line(method, dataset, runs[-1] if runs else None, failure))
    for method in METHODS.values():
        if (average := _average(method, found.runs)) is not None:
            found.rows.append(average)
    return found


def title(dataset: str) -> str:
    """A set's name for people."""
    return describe(dataset).title + (" (J)" if dataset.endswith(JOURNAL) else "")


def line(method: Method, dataset: str, run: Run | None, failure: str | None = None) -> dict[str, Any]:
    """A row of the table of results.

    Args:
        method: a row of the paper's tables.
        dataset: the name of a config without `cfg_`.
        run: its newest; None: there is none.
        failure: why the newest run gave no result.
    """
    of, paper = describe(dataset), published(method.name, dataset)
    notes = [method.note, NOTES.get(dataset, "") if method.name == "segearth-ov" else ""]
    if failure is not None:
        notes.insert(0, f"failed: {failure}" + ("; the result is that of an earlier run" if run else ""))
    cells: dict[str, Any] = dict.fromkeys(COLUMNS)
    cells |= {
        "Method": method.title,
        "Dataset": title(dataset),
        "Metric": of.metric,
        "Published": paper.value if paper else None,
        "Edition": (paper.edition or "not stated") if paper else None,
        "Note": "; ".join(note for note in notes if note) or None,
    }
    if run is None:
        return cells
    cells["Note"] = "; ".join(filter(None, [cells["Note"], *run.warnings])) or None
    result = _rounded(run.miou if of.metric == "mIoU" else run.foreground_iou)
    reasons = caveats(method, of, run)
    return cells | {
        "Result": result,
        "Difference": None if paper is None or result is None else round(result - paper.value, 2),
        "Comparable": None if paper is None else "; ".join(reasons) or "yes",
        "Complete": "yes" if complete(of, run) else "no",
        **_figures(run),
        **_circumstances(method, run),
    }


def complete(of: Description, run: Run) -> bool:
    """Whether a run saw the whole split."""
    whole = run.data is None or run.data.complete is not False
    limited = run.images < (run.available or 0)
    return bool(whole and not limited and run.images in of.expected)


def caveats(method: Method, of: Description, run: Run) -> list[str]:
    """Why a run cannot be compared with the paper; empty if it can."""
    reasons = []
    if run.model != PAPER_MODEL:
        reasons.append(f"model {run.model}")
    if run.images not in of.expected:
        reasons.append(f"{run.images} of {' or '.join(map(str, of.expected))} images")
    elif not complete(of, run):
        reasons.append("data set not complete")
    elif of.name == "openearthmap" and run.images < max(of.expected):
        reasons.append(f"{run.images} images, the published number is of {max(of.expected)}")
    if changed := _changed(method, run):
        reasons.append(f"changed: {changed}")
    return reasons


def _figures(run: Run) -> dict[str, Any]:
    return {
        "aAcc": run.aacc,
        "mIoU": run.miou,
        "mAcc": run.macc,
        "Foreground IoU": _rounded(run.foreground_iou),
        "Images": run.images,
        "Seconds an image": run.seconds_per_image,
    }


def _circumstances(method: Method, run: Run) -> dict[str, Any]:
    """Everything that a number depends on."""
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
        "Changed": _changed(method, run) or None,
        "Precision": run.settings.get("precision"),
        "Device": run.device,
        "Processes": run.processes,
        **{name: run.versions.get(name) for name in ("torch", "mmseg", "segearth")},
        "Commit": run.commit,
        "Date (UTC)": run.date,
    }


def _changed(method: Method, run: Run) -> str:
    """The changes to the config that are not the method's own."""
    own = {f"{key}={value}" for key, value in method.changes.items()}
    if method.weights is not None:
        own |= {one for one in run.options if one.startswith("model.upsampler=")}
    return " ".join(one for one in run.options if one not in own and not one.startswith(_HARMLESS))


def _rounded(value: float | None) -> float | None:
    """As tables show it; differences are taken of this, so that a reader's own subtraction agrees."""
    return None if value is None else round(value, 2)


def _average(method: Method, runs: dict[tuple[str, str], Run]) -> dict[str, Any] | None:
    """The paper's average of mIoU; says which sets are missing or not whole."""
    found = {name: runs[method.name, name] for name in AVERAGED if (method.name, name) in runs}
    if method.datasets or not found:
        return None
    values = [run.miou for run in found.values() if run.miou is not None]
    value = _rounded(sum(values) / len(values) if values else None)
    missing = [title(name) for name in AVERAGED if name not in found]
    reasons = [f"{len(found)} of {len(AVERAGED)} sets: without {', '.join(missing)}"] if missing else []
    weak = [title(name) for name, run in found.items() if caveats(method, DATASETS[name], run)]
    if weak:
        reasons.append(f"not comparable: {'all of them' if len(weak) == len(found) else ', '.join(weak)}")
    whole = all(complete(DATASETS[name], run) for name, run in found.items())
    paper = published(method.name, "average")
    return dict.fromkeys(COLUMNS) | {
        "Method": method.title,
        "Dataset": AVERAGE,
        "Metric": "mIoU",
        "Result": value,
        "mIoU": value,
        "Published": paper.value if paper else None,
        "Edition": paper.edition if paper else None,
        "Difference": None if paper is None or value is None or missing else round(value - paper.value, 2),
        "Comparable": "; ".join(reasons) or "yes",
        "Images": sum(run.images for run in found.values()),
        "Complete": "yes" if whole and not missing else "no",
        "Note": "; ".join([*([method.note] if method.note else []), "with C's prompts"]),
    }


def _class_lines(method: Method, dataset: str, run: Run) -> list[dict[str, Any]]:
    """Rows of the table of classes."""
    return [
        {
            "Method": method.title,
            "Dataset": title(dataset),
            "Class": entry.name,
            "Prompt": prompt,
            "IoU": _rounded(entry.iou),
            "Acc": _rounded(entry.accuracy),
            "Intersection": entry.intersection,
            "Union": entry.union,
            "Predicted pixels": entry.prediction_pixels,
            "Label pixels": entry.label_pixels,
        }
        for entry, prompt in zip(run.per_class, run.prompts.classes, strict=True)
    ]
