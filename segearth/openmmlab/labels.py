"""The labels of a run, as evaluation sees them: what they hold, over some of them before it, over all after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from mmseg.registry import TRANSFORMS

from segearth.datasets.label_counts import LabelCounts

LOOKED_AT = 16  # labels before a run: enough that one class in all of them is unusual, some 0.2 s of tiles


def counted(dataset: Any, ignore: int, records: Iterable[Mapping[str, Any]]) -> LabelCounts:
    """What the labels of a run hold.

    Args:
        dataset: opened.
        ignore: the index that the metric leaves out.
        records: of `CountingIoUMetric`, one an image.
    """
    counts = LabelCounts(dataset.metainfo["classes"], bool(dataset.reduce_zero_label), ignore)
    for record in records:
        counts.add(record["areas"][3], record["ignored"])
    return counts


def glance(dataset: Any, ignore: int, pipeline: Iterable[Mapping[str, Any]]) -> LabelCounts:
    """What some labels hold, spread evenly over a data set; a label that cannot be read or used is left to the run.

    Args:
        dataset: opened.
        ignore: the index that the metric leaves out.
        pipeline: of the config; its step that loads labels is used here, too.
    """
    counts = counted(dataset, ignore, ())
    classes, total = len(counts.classes), len(dataset)
    steps = [step for step in pipeline if _name(step.get("type")) == "LoadAnnotations"]
    looked_at = min(LOOKED_AT, total)
    for i in range(looked_at if steps else 0):
        with suppress(Exception):  # the run names the file, and what is wrong with it
            info = TRANSFORMS.build(dict(steps[0]))(dataset.get_data_info((2 * i + 1) * total // (2 * looked_at)))
            values = np.bincount(info["gt_seg_map"].ravel(), minlength=max(256, ignore + 1))
            counts.add(values[:classes].tolist(), int(values[ignore]))
    return counts


def _name(kind: Any) -> str:
    """The name of a transform that a config gives as text or as a class."""
    return str(getattr(kind, "__name__", kind)).rpartition(".")[2]
