"""A map in figures: class by class, as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.json_files import write_json
from segearth.labels import UNCLASSIFIED, UNCLASSIFIED_COLOUR, label_values
from segearth.metrics import mean_iou
from segearth.provenance import versions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.result import Result


def figures(result: Result) -> list[dict[str, Any]]:
    """Pixels, share and mean confidence of every class, in index order, then of unclassified pixels.

    Returns:
        label (its value in the map), name, names, colour (RGB), pixels, percent, mean_confidence (from 0 to 1, None
        without pixels) of each class, and of *unclassified* where there can be such pixels.
    """
    count = len(result.classes)
    known = result.labels < count  # what is not is unclassified
    values = np.where(known, result.labels, count).ravel()
    pixels = np.bincount(values, minlength=count + 1)
    confidence = np.bincount(values, weights=result.confidence.ravel(), minlength=count + 1)
    names = [*result.vocabulary.classes, ()]
    colours = [*result.vocabulary.palette, UNCLASSIFIED_COLOUR]
    return [
        {
            "label": i if i < count else label_values(count).unclassified,
            "name": names[i][0] if i < count else UNCLASSIFIED,
            "names": list(names[i]),
            "colour": list(colours[i]),
            "pixels": int(pixels[i]),
            "percent": round(100 * float(pixels[i]) / result.labels.size, 3),
            "mean_confidence": round(float(confidence[i] / pixels[i]), 4) if pixels[i] else None,
        }
        for i in range(count + result.has_unclassified)
    ]


def summarise(result: Result, truth: NDArray[np.integer] | None = None) -> dict[str, Any]:
    """All that is known of a map, for a file.

    Args:
        result: the map.
        truth: (H, W) the true class indices; 255 where unknown.

    Returns:
        image, height, width, classes (as `figures` returns), miou (from 0 to 1; None without a truth, or where all of
        it is unknown), settings, device, seconds, versions, remarks.
    """
    height, width = result.labels.shape
    miou = None if truth is None else mean_iou(result.labels, truth, len(result.classes))
    return {
        "image": result.name,
        "height": height,
        "width": width,
        "classes": figures(result),
        "miou": None if miou is None or math.isnan(miou) else round(miou, 4),
        "settings": dict(result.settings),
        "device": result.device,
        "seconds": round(result.seconds, 2),
        "versions": versions(),
        "remarks": list(result.remarks),
    }


def json_writer(summary: dict[str, Any]) -> Callable[[Path], object]:
    """What writes a summary to a file."""
    return lambda path: write_json(path, summary)


def text_table(rows: Sequence[dict[str, Any]]) -> str:
    """What `figures` returns as text, the largest class first."""
    width = max(len("class"), *(len(row["name"]) for row in rows))
    lines = [f"label  {'class':<{width}}  {'pixels':>12}  {'percent':>7}  confidence"]
    for row in sorted(rows, key=lambda row: -row["pixels"]):
        mean = "-" if row["mean_confidence"] is None else f"{row['mean_confidence']:.2f}"
        lines.append(
            f"{row['label']:>5}  {row['name']:<{width}}  {row['pixels']:>12,}  {row['percent']:>7.2f}  {mean:>10}"
        )
    return "\n".join(lines)


def table(summary: dict[str, Any]) -> str:
    """A summary with `image`, `model`, `device` and `seconds` as text: the classes; then seconds and mIoU."""
    seconds = summary["seconds"]
    lines = [
        f"{summary['image']}, {summary['width']} × {summary['height']} pixels, model {summary['model']}",
        "",
        text_table(summary["classes"]),
        "",
        f"{seconds['predict']:.1f} s for the map on {summary['device']}, {seconds['load']:.1f} s to load",
    ]
    if summary["miou"] is not None:
        lines.append(f"mIoU {summary['miou']:.3f} against the image's own label map")
    return "\n".join(lines)
