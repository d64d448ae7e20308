"""mmsegmentation's IoU metric, with the counts behind its figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from segearth.datasets.places import lossy_label
from segearth.errors import UserError
from segearth.json_files import schema_error


class ClassCounts(NamedTuple):
    """Pixels of one class over all images, without those that the labels ignore."""

    name: str
    intersection: int
    union: int
    prediction_pixels: int
    label_pixels: int


@METRICS.register_module()
class CountingIoUMetric(IoUMetric):  # type: ignore[misc]
    """`IoUMetric` that keeps the pixel counts of every image and class, and checks labels first.

    Attributes:
        records: what was counted in this process, by image path: "areas", four lists of C whole numbers
            (intersection, union, predicted, labelled pixels), "ignored", its other pixels, and "seconds", what the
            image took.
        counts: after `conclude`, one entry a class.
        summary: after `conclude`, what `IoUMetric` reports: "aAcc", "mIoU", "mAcc" in percent.
        on_records: told the new entries of `records` after every batch.
    """

    counts: tuple[ClassCounts, ...] = ()
    summary: dict[str, float]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.records: dict[str, dict[str, Any]] = {}
        self.on_records: Callable[[dict[str, dict[str, Any]]], object] = lambda new: None  # noqa: ARG005
        self.clock = time.perf_counter()

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Counts the pixels of predictions; see `IoUMetric`.

        Raises:
            UserError: a label map of another size than its image, or with values that are no class; such
                values would count against the prediction without being counted as labels.
        """
        for sample in data_samples:
            check_sample(sample, len((self.dataset_meta or {})["classes"]), self.ignore_index)
        super().process(data_batch, data_samples)
        now = time.perf_counter()
        seconds, self.clock = (now - self.clock) / len(data_samples), now
        new = {
            sample["img_path"]: {
                "areas": [area.tolist() for area in areas],
                "ignored": int((sample["gt_sem_seg"]["data"] == self.ignore_index).sum()),
                "seconds": round(seconds, 4),
            }
            for sample, areas in zip(data_samples, self.results, strict=True)
        }
        self.results.clear()
        self.records.update(new)
        self.on_records(new)

    @staticmethod
    def intersect_and_union(
        pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The counts of an image as integers; those of `IoUMetric` are float32, exact up to 2^24 pixels.

        Args:
            pred_label: (H, W) predicted classes.
            label: (H, W) true classes.
            num_classes: C.
            ignore_index: the value in `label` of pixels that are left out.

        Returns:
            (C,) pixels of intersection, union, prediction and label.
        """
        known = label != ignore_index
        pred_label, label = pred_label[known], label[known]
        both, predicted, labelled = (
            torch.bincount(classes, minlength=num_classes).cpu()
            for classes in (label[pred_label == label], pred_label, label)
        )
        return both, predicted + labelled - both, predicted, labelled

    def evaluate(self, size: int) -> dict[str, float]:  # noqa: ARG002 (of the base)
        """The figures of this process's images.

        Records of several processes come together by image, in the ledger of a job.
        """
        return self.conclude(self.records)

    def conclude(self, records: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Computes the figures of `IoUMetric` for these images, in any order.

        Args:
            records: as the attribute, of any number of images.
        """
        names = (self.dataset_meta or {})["classes"]
        areas = torch.zeros(4, len(names), dtype=torch.int64)
        for record in records.values():
            areas += torch.tensor(record["areas"])
        self.counts = tuple(ClassCounts(str(name), *areas[:, i].tolist()) for i, name in enumerate(names))
        # in float64 sums of counts stay exact, in IoUMetric's float32 only below 2^24 pixels
        self.summary = dict(self.compute_metrics([tuple(areas.double())])) if records else {}
        return self.summary

    def is_record(self, record: Any) -> bool:
        """Whether a value that was read from a file can be one of `records`."""
        if schema_error(record, {"areas": list, "ignored": int, "seconds": (int, float)}) is not None:
            return False
        lengths = [len(counts) for counts in record["areas"] if isinstance(counts, list)]
        classes = len((self.dataset_meta or {})["classes"])
        return lengths == [classes] * 4 and record["ignored"] >= 0 and record["seconds"] >= 0


def check_sample(sample: Mapping[str, Any], classes: int, ignore: int) -> None:
    """Refuses labels that would give wrong figures without an error.

    Args:
        sample: of the test loop, with its prediction.
        classes: how many there are.
        ignore: the index that the metric leaves out.

    Raises:
        UserError: labels that were not loaded, have another size than the prediction, or values that are no class.
    """
    name = sample.get("seg_map_path", "a label map")
    if "gt_sem_seg" not in sample:
        raise UserError(
            f"{name} was not loaded: expected dict(type='LoadAnnotations') in the config's pipeline; add it"
        )
    label, prediction = sample["gt_sem_seg"]["data"], sample["pred_sem_seg"]["data"]
    if label.squeeze().shape != prediction.squeeze().shape:
        raise UserError(
            f"{name} has the shape {tuple(label.squeeze().shape)}, its image {tuple(prediction.squeeze().shape)}: "
            "expected one class index a pixel, height × width as the image; convert the labels"
        )
    check_values(name, label.unique().tolist(), classes, ignore, bool(sample.get("reduce_zero_label")))


def check_values(name: str, values: Iterable[int], classes: int, ignore: int, reduced: bool) -> None:
    """Refuses a label map with values that are no class, which would give wrong figures without an error.

    Args:
        name: of its file.
        values: that occur in it.
        classes: how many there are.
        ignore: the index that the metric leaves out.
        reduced: whether values are one less than in the file (`reduce_zero_label`).

    Raises:
        UserError: there are such values.
    """
    bad = [value for value in values if not 0 <= value < classes and value != ignore]
    if bad:
        shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        on_disk = " after reduce_zero_label (one more in the file)" if reduced else ""
        raise UserError(
            f"{name} has the label values {shown}{on_disk}: expected 0 to {classes - 1}, or {ignore} for pixels to "
            f"ignore; {lossy_label(name) or 'convert the labels'}"
        )
