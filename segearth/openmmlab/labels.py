"""Classes and labels of a run: what label maps hold, in some of them before it and in all after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from mmseg.registry import TRANSFORMS

from segearth.datasets.label_counts import LabelCounts
from segearth.errors import UserError
from segearth.openmmlab.keys import type_name
from segearth.openmmlab.metric import check_values
from segearth.vocabulary import Vocabulary

LOOKED_AT = 16  # labels before a run: enough that one class in all of them is unusual, some 0.2 s of tiles


def check_classes(name_path: str, classes: Sequence[str], dataset: str) -> None:
    """Refuses a class file with another number of classes than the data set."""
    prompts = Vocabulary.from_file(name_path)
    if len(prompts) != len(classes):
        raise UserError(
            f"{name_path} has {len(prompts)} classes, but the data set {dataset} has {len(classes)} "
            f"({', '.join(classes)}): expected one line a class, in this order; correct the file, or model.name_path"
        )


def count_labels(dataset: Any, ignore: int, records: Iterable[Mapping[str, Any]]) -> LabelCounts:
    """Counts the label pixels of a run by class.

    Args:
        dataset: opened.
        ignore: the index that the metric leaves out.
        records: of `CountingIoUMetric`, one an image.
    """
    counts = LabelCounts(dataset.metainfo["classes"], bool(dataset.reduce_zero_label), ignore)
    for record in records:
        counts.add(record["areas"][3], record["ignored"])
    return counts


def inspect_labels(dataset: Any, ignore: int, pipeline: Iterable[Mapping[str, Any]]) -> LabelCounts:
    """Counts label pixels of a few images, spread evenly over the data set; skips labels that cannot be read.

    Args:
        dataset: opened.
        ignore: the index that the metric leaves out.
        pipeline: of the config; its step that loads labels is used here, too.

    Raises:
        UserError: see `check_values`; not where a step of another project may change labels after they are loaded.
    """
    counts = count_labels(dataset, ignore, ())
    classes, total = len(counts.classes), len(dataset)
    pipeline = list(pipeline)
    steps = [step for step in pipeline if type_name(step.get("type")) == "LoadAnnotations"]
    final = [type_name(step.get("type")) for step in pipeline[-2:]] == ["LoadAnnotations", "PackSegInputs"]
    looked_at = min(LOOKED_AT, total)
    for i in range(looked_at if steps else 0):
        try:
            info = TRANSFORMS.build(dict(steps[0]))(dataset.get_data_info((2 * i + 1) * total // (2 * looked_at)))
            values = np.bincount(info["gt_seg_map"].ravel(), minlength=max(256, ignore + 1))
        except Exception:  # the run names the file, and what is wrong with it
            continue
        if final:
            found = np.flatnonzero(values).tolist()
            check_values(info["seg_map_path"], found, classes, ignore, bool(info.get("reduce_zero_label")))
        counts.add(values[:classes].tolist(), int(values[ignore]))
    return counts
