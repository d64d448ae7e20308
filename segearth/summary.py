"""Statistics of a map by class, as a table and as JSON."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Iterable, Sequence
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
    from segearth.scenes.class_areas import AreaSums
    from segearth.vocabulary import Vocabulary

_BAND_PIXELS = 1 << 20  # counted at once
COLUMNS = ("image", "class", "pixels", "percent", "area_m2", "mean_confidence")


def result_rows(result: Result) -> list[dict[str, Any]]:
    """Statistics of every class of a map, in index order, then of unclassified pixels.

    Returns:
        See `class_rows`, with *unclassified* if such pixels are possible; for a scene also `area_m2`, None if unknown.
    """
    return _rows(result, result.area_sums())


def _rows(result: Result, sums: AreaSums | None) -> list[dict[str, Any]]:
    """As `result_rows`, with the areas of the classes, if known."""
    count = len(result.classes)
    nodata = label_values(count).nodata
    pixels, confidence = np.zeros(count + 1, np.int64), np.zeros(count + 1)
    step = max(1, _BAND_PIXELS // result.labels.shape[1])
    for band in (slice(top, top + step) for top in range(0, len(result.labels), step)):
        labels = result.labels[band]
        valid = labels != nodata
        values = np.minimum(labels[valid], count)  # other values are unclassified
        pixels += np.bincount(values, minlength=count + 1)
        confidence += np.bincount(values, weights=result.confidence[band][valid], minlength=count + 1)
    rows = class_rows(result.vocabulary, pixels, confidence, result.has_unclassified)
    if sums is not None:
        for row, area in zip(rows, sums.areas_m2(), strict=False):
            row["area_m2"] = area
    return rows


def class_rows(
    vocabulary: Vocabulary, pixels: NDArray[np.integer], confidence: NDArray[np.number], unclassified: bool
) -> list[dict[str, Any]]:
    """One row of statistics per class, in index order, then for unclassified pixels.

    Args:
        vocabulary: the C classes.
        pixels: (C + 1,) pixel counts of the classes, then of unclassified pixels.
        confidence: (C + 1,) sums of the confidence, likewise.
        unclassified: whether unclassified pixels are possible.

    Returns:
        For each: label (value in the map), name, names, colour (RGB), pixels, percent (of the sum of `pixels`),
        mean_confidence (0 to 1, None without pixels).
    """
    count, total = len(vocabulary), max(1, int(pixels.sum()))
    names = [*vocabulary.classes, ()]
    colours = [*vocabulary.palette, UNCLASSIFIED_COLOUR]
    return [
        {
            "label": i if i < count else label_values(count).unclassified,
            "name": names[i][0] if i < count else UNCLASSIFIED,
            "names": list(names[i]),
            "colour": list(colours[i]),
            "pixels": int(pixels[i]),
            "percent": round(100 * float(pixels[i]) / total, 3),
            "mean_confidence": round(float(confidence[i] / pixels[i]), 4) if pixels[i] else None,
        }
        for i in range(count + unclassified)
    ]


def summarise(result: Result, truth: NDArray[np.integer] | None = None) -> dict[str, Any]:
    """The summary of a map, for a JSON file.

    Args:
        result: the map.
        truth: (H, W) the true class indices; 255 where unknown.

    Returns:
        image, height, width, classes (see `result_rows`), miou (0 to 1; None without a truth, or if all of it is
        unknown), settings, device, seconds, versions, remarks; of a scene also crs, transform, bounds, pixel_m,
        valid_pixels, nodata_pixels, area_m2 and area_method.
    """
    (height, width), sums = result.labels.shape, result.area_sums()
    if truth is not None:
        truth = np.where(result.valid, truth, 255)  # pixels without data do not count
    miou = None if truth is None else mean_iou(result.labels, truth, len(result.classes))
    return {
        "image": result.name,
        "height": height,
        "width": width,
        **result.place(),
        "classes": _rows(result, sums),
        **_valid_part(result, sums),
        "miou": None if miou is None or math.isnan(miou) else round(miou, 4),
        "settings": dict(result.settings),
        "device": result.device,
        "seconds": round(result.seconds, 2),
        "versions": versions() | _scene_versions(result),
        "remarks": list(result.remarks),
    }


def _valid_part(result: Result, sums: AreaSums | None) -> dict[str, Any]:
    """Valid pixels and area of a scene."""
    if sums is None:
        return {}
    valid = int(sums.pixels.sum())
    return {
        "valid_pixels": valid,
        "nodata_pixels": result.labels.size - valid,
        "area_m2": sums.total_m2(),
        "area_method": sums.method,
    }


def _scene_versions(result: Result) -> dict[str, str]:
    """Versions of the packages that read a scene."""
    if result.transform is None or "rasterio" not in sys.modules:
        return {}
    from segearth.scenes.scene_summary import scene_versions

    return scene_versions()


def json_writer(summary: dict[str, Any]) -> Callable[[Path], object]:
    """A writer of a summary for `write_all`."""
    return lambda path: write_json(path, summary)


def text_table(rows: Sequence[dict[str, Any]]) -> str:
    """Formats `result_rows` as text, the largest class first; with hectares if rows have areas."""
    width = max(len("class"), *(len(row["name"]) for row in rows))
    areas = any(row.get("area_m2") is not None for row in rows)
    head = f"label  {'class':<{width}}  {'pixels':>12}  {'percent':>7}  confidence"
    lines = [f"{head}  {'ha':>12}" if areas else head]
    for row in sorted(rows, key=lambda row: -row["pixels"]):
        mean = "-" if row["mean_confidence"] is None else f"{row['mean_confidence']:.2f}"
        line = f"{row['label']:>5}  {row['name']:<{width}}  {row['pixels']:>12,}  {row['percent']:>7.2f}  {mean:>10}"
        lines.append(f"{line}  {hectares(row['area_m2']):>12}" if areas else line)
    return "\n".join(lines)


def hectares(area_m2: float) -> str:
    """An area in hectares for display: at least four significant digits, at most six decimals."""
    value = area_m2 / 1e4
    digits = min(6, 3 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{max(0, digits)}f}"


def csv_table(summaries: Iterable[dict[str, Any]]) -> str:
    """Summaries as one CSV table with `COLUMNS`, one line per class."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for summary in summaries:
        for row in summary["classes"]:
            values = {**row, "image": summary["image"], "class": row["name"]}
            writer.writerow(["" if (value := values.get(key)) is None else value for key in COLUMNS])
    return text.getvalue()


def demo_report(summary: dict[str, Any]) -> str:
    """The report of the demo as text: the classes, then seconds and mIoU."""
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
