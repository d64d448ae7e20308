"""The row of results of a run: what was evaluated, with what, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from segearth import provenance, results
from segearth.clips import Spec
from segearth.datasets import DATASETS
from segearth.datasets.prepare import read_manifest
from segearth.files import Packaged
from segearth.openmmlab.identity import weight_files
from segearth.openmmlab.keys import type_name
from segearth.openmmlab.metric import CountingIoUMetric
from segearth.openmmlab.segmentor import SegEarthSegmentation
from segearth.vocabulary import Vocabulary


def clip_name(source: Spec) -> str:
    """The entry of the results' column CLIP: a packaged model must never pass for OpenAI's."""
    return f"{source.name} (not OpenAI's CLIP)" if isinstance(source.file, Packaged) else source.family


def preparation(dataset: Any) -> dict[str, Any] | None:
    """What tools/prepare_dataset.py noted about a data set's images; None where others prepared them."""
    path = Path(str(dataset.data_prefix.get("img_path"))).absolute()
    for one in DATASETS.values():
        if path.as_posix().endswith(f"/{one.out_images}"):
            root = path.parents[len(Path(one.out_images).parts) - 1]
            if (manifest := read_manifest(root / one.folder)) is not None:
                return {key: manifest.get(key) for key in ("name", "complete", "images", "expected", "warnings")}
    return None


def row(
    config: Any, path: Path, segmentor: SegEarthSegmentation, dataset: Any, metric: CountingIoUMetric
) -> dict[str, Any]:
    """What a run was, and what came out; see `segearth.results`."""
    source, net = segmentor.source, segmentor.net
    row = {
        "CLIP": clip_name(source),
        "VIT": source.vit_type,
        "MODEL": net.encoder.method,
        "Dataset": type(dataset).__name__,
        **results.scores(metric.counts, metric.summary, net.bg_idx),
        "images": len(dataset),
        "data": preparation(dataset),
        "model": source.name,
        "architecture": provenance.architecture_of(source),
        "upsampler": segmentor.upsampler,
        "weights": weight_files(config.model),
        "settings": {
            **{key: getattr(net, key) for key in ("prob_thd", "bg_idx", "cls_token_lambda", "logit_scale")},
            **{key: getattr(net, key) for key in ("slide_crop", "slide_stride")},
            "ignore_residual": net.encoder.options.ignore_residual,
            "precision": segmentor.precision,
            "max_memory_mb": segmentor.max_memory_mb,
            **net.beyond_paper,
        },
        "config": str(path),
        "scale": _scale(config.test_dataloader.dataset.get("pipeline", ())),
        "prompts": {
            "file": str(config.model["name_path"]),
            "classes": [",".join(names) for names in segmentor.vocabulary.classes],
            **_settings(segmentor.vocabulary),
        },
        "device": str(net.query_features.device),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if about := source.about if isinstance(source.file, Packaged) else source.remark:
        row["about"] = about
    return row


def _settings(vocabulary: Vocabulary) -> dict[str, Any]:
    """Thresholds and scales of classes, which say that a row is no zero-shot result; nothing where there are none."""
    if not vocabulary.has_settings:
        return {}
    return {"thresholds": list(vocabulary.thresholds), "scales": list(vocabulary.scales)}


def _scale(pipeline: Sequence[dict[str, Any]]) -> list[int] | None:
    """The size that images are resized to fit into; None where they keep theirs."""
    scales = [step.get("scale") for step in pipeline if type_name(step["type"]) == "Resize"]
    if not scales or scales[0] is None:
        return None
    return [scales[0]] * 2 if isinstance(scales[0], int) else list(scales[0])
