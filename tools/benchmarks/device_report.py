"""The measurements of `on_device` as text."""

from __future__ import annotations

from typing import Any

TITLES = {
    "ways": "One image, by the way of its upsampling, against float32 on the CPU",
    "published": "The same by the published method",
    "sizes": "By size and batch; (a) is open_clip's own visual on the same windows in the same precision",
}
NAMES = ("way", "by", "side", "batch", "precision")  # what a row is told by, and then its figures
STARTED = ("operations", "launches", "kernels")


def device_report(found: dict[str, Any]) -> str:
    """All tables, with what they were measured on."""
    facts = found["machine"]
    where = facts.get("gpu", facts["processor"])
    versions = [f"{name} {facts[name]}" for name in ("torch", "cuda", "triton") if facts.get(name)]
    lines = [", ".join([str(where), *versions, facts["date"]])]
    for table, title in TITLES.items():
        if rows := found.get(table):
            lines += ["", title, *(f"  {_name(row):<44}{_figures(row)}" for row in rows)]
    if peer := _peer(found):
        lines += ["", peer]
    if found["left out"]:
        lines += ["", f"left out for lack of time: {found['left out']} rows (see --seconds)"]
    return "\n".join(lines)


def _name(row: dict[str, Any]) -> str:
    return ", ".join(f"{key} {row[key]}" if isinstance(row[key], int) else row[key] for key in NAMES if key in row)


def _figures(row: dict[str, Any]) -> str:
    if "error" in row:
        return str(row["error"])
    figures = [f"{1e3 * row['seconds']:>10.1f} ms"]
    if "visual" in row:
        figures.append(f"{row['seconds'] / row['visual']:>6.2f} × (a)")
        figures.append(f"{row['images a second']:>8.2f} images/s, {row['maps a second']:>8.2f} from pixels to maps")
    if row["peak"] is not None:
        figures.append(f"{row['peak']:>7.0f} MB")
    figures += [f"{row[kind]:>6} {kind}" for kind in STARTED if kind in row]
    if "logit difference" in row:
        figures.append(f"logits differ by {row['logit difference']:.1e}, {row['labels agree']:.2%} of labels agree")
    return "  ".join(figures)


def _peer(found: dict[str, Any]) -> str:
    """How many times as long the published method takes, in each precision."""
    ours: dict[str, float] = {}
    for row in found.get("ways", []):
        if "seconds" in row:
            ours[row["precision"]] = min(row["seconds"], ours.get(row["precision"], row["seconds"]))
    ratios = [
        f"{row['seconds'] / ours[row['precision']]:.1f} times in {row['precision']}"
        for row in found.get("published", [])
        if "seconds" in row and row["precision"] in ours
    ]
    return f"The published method takes {', '.join(ratios)}." if ratios else ""
