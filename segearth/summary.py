"""A map in figures and files: class by class, on disk and as a table."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.metrics import mean_iou
from segearth.outputs import atomic
from segearth.pictures import blend, label_image, with_legend
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.predictor import Result


def summarise(result: Result, vocabulary: Vocabulary, truth: NDArray[np.integer] | None = None) -> dict[str, Any]:
    """Pixels, share and mean confidence of every class, and mIoU where the truth is known.

    Args:
        result: the map, C classes.
        vocabulary: what was searched for.
        truth: (H, W) the true class indices; 255 where unknown.

    Returns:
        height, width, classes (a list of C: name, names, colour, pixels, percent, mean_confidence from 0 to
        1 or None) and miou (from 0 to 1, or None).
    """
    count = len(result.classes)
    pixels = np.bincount(result.labels.ravel(), minlength=count)
    confidence = np.bincount(result.labels.ravel(), weights=result.confidence.ravel(), minlength=count)
    rows = [
        {
            "name": name,
            "names": list(vocabulary.classes[i]),
            "colour": result.palette[i].tolist(),
            "pixels": int(pixels[i]),
            "percent": round(100 * float(pixels[i]) / result.labels.size, 3),
            "mean_confidence": round(float(confidence[i] / pixels[i]), 4) if pixels[i] else None,
        }
        for i, name in enumerate(result.classes)
    ]
    height, width = result.labels.shape
    miou = None if truth is None else round(mean_iou(result.labels, truth, count), 4)
    return {"height": height, "width": width, "classes": rows, "miou": miou}


def save(folder: Path, pixels: NDArray[np.uint8], result: Result, summary: dict[str, Any]) -> None:
    """Writes labels.png, overlay.png and summary.json: all three, or none.

    Args:
        folder: an existing folder.
        pixels: (H, W, 3) uint8 RGB, the image that was mapped.
        result: its map.
        summary: what `summarise` returns, with `model` and whatever else is to be kept.

    Raises:
        UserError: more than 256 classes, or a file that cannot be written.
    """
    shares = [f"{row['percent']:.1f} %" for row in summary["classes"]]
    picture = blend(pixels, result.labels, result.palette)
    overlay = with_legend(picture, result.classes, result.palette, shares, f"model: {summary['model']}")
    labels = label_image(result.labels, result.palette)
    with ExitStack() as files:
        names = ("labels.png", "overlay.png", "summary.json")
        label_part, overlay_part, summary_part = (files.enter_context(atomic(folder / name)) for name in names)
        labels.save(label_part)
        overlay.save(overlay_part)
        summary_part.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table(summary: dict[str, Any]) -> str:
    """The summary as text: class, pixels, percent, mean confidence; then seconds and mIoU."""
    width = max(len("class"), *(len(row["name"]) for row in summary["classes"]))
    lines = [
        f"{summary['image']}, {summary['width']} × {summary['height']} pixels, model {summary['model']}",
        "",
        f"{'class':<{width}}  {'pixels':>12}  {'percent':>7}  confidence",
    ]
    for row in sorted(summary["classes"], key=lambda row: -row["pixels"]):
        mean = "-" if row["mean_confidence"] is None else f"{row['mean_confidence']:.2f}"
        lines.append(f"{row['name']:<{width}}  {row['pixels']:>12,}  {row['percent']:>7.2f}  {mean:>10}")
    seconds = summary["seconds"]
    lines += ["", f"{seconds['predict']:.1f} s for the map on {summary['device']}, {seconds['load']:.1f} s to load"]
    if summary["miou"] is not None:
        lines.append(f"mIoU {summary['miou']:.3f} against the image's own label map")
    return "\n".join(lines)
