"""Statistics of a map: histogram of scores by class, and the scores of one pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.scenes.layers import dequantised
from segearth.web.responses import RequestError

if TYPE_CHECKING:
    from segearth.web.state import WebJob


def histogram(job: WebJob) -> dict[str, Any]:
    """Number of finished pixels by best class and its score, as JSON."""
    counts = job.histogram
    counts = np.zeros((len(job.vocabulary), 256), np.int64) if counts is None else counts
    height, width = job.image.size
    return {
        "bins": 255,
        "classes": counts[:, 1:].tolist(),
        "nodata": height * width - int(counts.sum()),
        "area_m2_per_pixel": job.image.facts["area_m2_per_pixel"],
    }


def pixel(job: WebJob, row: int, column: int) -> dict[str, Any]:
    """The scores of all classes at a pixel, the best first, as JSON.

    Raises:
        RequestError: the pixel has no scores.
    """
    height, width = job.image.size
    inside = 0 <= row < height and 0 <= column < width
    values = job.files.scores(row, column) if inside and job.files is not None else None
    if values is None:
        raise RequestError(
            404, f"nothing is known at row {row}, column {column}: expected a pixel of the map; choose another"
        )
    x = y = None
    if (transform := job.image.facts["transform"]) is not None:
        a, b, c, d, e, f = transform
        x, y = c + a * (column + 0.5) + b * (row + 0.5), f + d * (column + 0.5) + e * (row + 0.5)
    scores = dequantised(values)
    names = job.vocabulary.names
    order = np.argsort(-scores * np.array(job.vocabulary.scales, np.float32), kind="stable")
    rows = [{"index": int(i), "name": names[i], "score": round(float(scores[i]), 4)} for i in order]
    return {"row": row, "column": column, "x": x, "y": y, "scores": rows}
