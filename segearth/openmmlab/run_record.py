"""The record of a run: what was evaluated, with what, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from segearth import provenance
from segearth.clips import Spec
from segearth.datasets import DATASETS
from segearth.datasets.manifest import read_manifest
from segearth.files import Packaged
from segearth.openmmlab.identity import weight_files
from segearth.openmmlab.keys import type_name
from segearth.openmmlab.metric import CountingIoUMetric
from segearth.openmmlab.segmentor import SegEarthSegmentation
from segearth.results.record import (
    ClassResult,
    PreparedData,
    Prompts,
    Run,
    RunWeights,
    WeightFile,
    finite,
    foreground_iou,
)


def clip_name(source: Spec) -> str:
    """The value of the column CLIP; for a packaged model it says that it is not OpenAI's."""
    return f"{source.name} (not OpenAI's CLIP)" if isinstance(source.file, Packaged) else source.family


def preparation(dataset: Any) -> PreparedData | None:
    """What tools/prepare_dataset.py noted about a data set's images; None where others prepared them."""
    path = Path(str(dataset.data_prefix.get("img_path"))).absolute()
    for spec in DATASETS.values():
        if path.as_posix().endswith(f"/{spec.out_images}"):
            root = path.parents[len(Path(spec.out_images).parts) - 1]
            if (manifest := read_manifest(root / spec.folder)) is not None:
                kept = ("name", "complete", "images", "expected", "warnings")
                return PreparedData(**{key: manifest.get(key) for key in kept})
    return None


def run_record(
    config: Any, path: Path, segmentor: SegEarthSegmentation, dataset: Any, metric: CountingIoUMetric, **more: Any
) -> Run:
    """The record of a run.

    Args:
        config: with known paths.
        path: of the config.
        segmentor: the model.
        dataset: opened.
        metric: after `conclude`.
        more: fields of the record that are known elsewhere.
    """
    source, net, vocabulary = segmentor.source, segmentor.net, segmentor.vocabulary
    files = {kind: None if file is None else WeightFile(**file) for kind, file in weight_files(config.model).items()}
    per_class = tuple(ClassResult.from_counts(*counts) for counts in metric.counts)
    return Run(
        clip=clip_name(source),
        vit=source.vit_type,
        method=net.encoder.method,
        dataset=type(dataset).__name__,
        aacc=finite(metric.summary["aAcc"]),
        miou=finite(metric.summary["mIoU"]),
        macc=finite(metric.summary["mAcc"]),
        foreground_iou=foreground_iou(per_class, net.bg_idx),
        per_class=per_class,
        images=len(dataset),
        data=preparation(dataset),
        model=source.name,
        architecture=provenance.architecture_of(source),
        upsampler=segmentor.upsampler,
        weights=RunWeights(**files),
        settings={
            **{key: getattr(net, key) for key in ("prob_thd", "bg_idx", "cls_token_lambda", "logit_scale")},
            **{key: getattr(net, key) for key in ("slide_crop", "slide_stride")},
            "ignore_residual": net.encoder.options.ignore_residual,
            "precision": segmentor.precision,
            "max_memory_mb": segmentor.max_memory_mb,
            **net.beyond_paper,
        },
        config=str(path),
        scale=_scale(config.test_dataloader.dataset.get("pipeline", ())),
        prompts=Prompts(
            file=str(config.model["name_path"]),
            classes=tuple(",".join(names) for names in vocabulary.classes),
            thresholds=vocabulary.thresholds if vocabulary.has_settings else None,
            scales=vocabulary.scales if vocabulary.has_settings else None,
        ),
        device=str(net.query_features.device),
        versions=provenance.versions(),
        commit=provenance.commit(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        about=(source.about if isinstance(source.file, Packaged) else source.remark) or None,
        **more,
    )


def _scale(pipeline: Sequence[dict[str, Any]]) -> tuple[int, ...] | None:
    """The size that images are resized to fit into; None where they keep theirs."""
    scales = [step.get("scale") for step in pipeline if type_name(step["type"]) == "Resize"]
    if not scales or scales[0] is None:
        return None
    return (scales[0],) * 2 if isinstance(scales[0], int) else tuple(scales[0])
