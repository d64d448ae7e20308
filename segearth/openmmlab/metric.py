"""mmsegmentation's IoU metric, with the counts behind its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from segearth.errors import UserError
from segearth.results import ClassCounts


@METRICS.register_module()
class CountingIoUMetric(IoUMetric):  # type: ignore[misc]
    """`IoUMetric` that keeps the pixel counts of every class, and checks labels first.

    Attributes:
        counts: after `compute_metrics`, one entry a class, over all images; on the main process only.
        summary: after `compute_metrics`, what `IoUMetric` returns: "aAcc", "mIoU", "mAcc" in percent.
    """

    counts: tuple[ClassCounts, ...] = ()
    summary: dict[str, float]

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Adds predictions; see `IoUMetric`.

        Raises:
            UserError: a label map of another size than its image, or with values that are no class; such
                values would count against the prediction without being counted as labels.
        """
        if not self.format_only:
            for sample in data_samples:
                self._check(sample)
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list[tuple[Tensor, ...]]) -> dict[str, float]:
        """The figures of `IoUMetric`, unchanged; the counts are kept on the way."""
        # in float64 sums of counts stay exact, in IoUMetric's float32 only below 2^24 pixels
        totals = [torch.stack(parts).double().sum(dim=0) for parts in zip(*results, strict=True)]
        self.counts = tuple(
            ClassCounts(str(name), *(int(total[i]) for total in totals))
            for i, name in enumerate((self.dataset_meta or {})["classes"])
        )
        self.summary = dict(super().compute_metrics(results))
        return self.summary

    def _check(self, sample: dict[str, Any]) -> None:
        """Refuses labels that would quietly give wrong figures."""
        name = sample.get("seg_map_path", "a label map")
        if "gt_sem_seg" not in sample:
            raise UserError(f"{name} was not loaded: add dict(type='LoadAnnotations') to the config's pipeline")
        label, prediction = sample["gt_sem_seg"]["data"], sample["pred_sem_seg"]["data"]
        if label.squeeze().shape != prediction.squeeze().shape:
            raise UserError(
                f"{name} has the shape {tuple(label.squeeze().shape)}, its image {tuple(prediction.squeeze().shape)}: "
                "expected one class index a pixel, height × width as the image; convert the labels"
            )
        classes = len((self.dataset_meta or {})["classes"])
        values = label.unique()
        bad = values[((values < 0) | (values >= classes)) & (values != self.ignore_index)].tolist()
        if bad:
            shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
            on_disk = " after reduce_zero_label (one more in the file)" if sample.get("reduce_zero_label") else ""
            raise UserError(
                f"{name} has the label values {shown}{on_disk}: "
                f"expected 0 to {classes - 1}, or {self.ignore_index} for pixels to ignore; convert the labels"
            )
