"""Everything that the figures of a run depend on: settings, prompts, weights, code, images and labels."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segearth.architectures import config_of
from segearth.clips.upsamplers import build_untrained, is_untrained
from segearth.code_digest import code_digest
from segearth.compute import arithmetic
from segearth.errors import UserNotice, without_warnings
from segearth.models.attention import find_method
from segearth.openmmlab.devices import device_of
from segearth.openmmlab.model_weights import model_weights
from segearth.provenance import checksum, versions
from segearth.vocabulary import Vocabulary

# Left out: the version of segearth, as `code` covers it, and float32 products of the CPU, as `device` covers them.
_NO_VERSIONS = ("segearth", "python", "float32 products")
# Keys of a config's model that change no figure, and those that name files, whose content is looked at.
_ELSEWHERE = (
    *("device", "init_cfg", "max_memory_mb"),
    *("name_path", "feature_up_cfg", "model", "architecture", "upsampler", "clip_type", "vit_type"),
)
# What decides labels and counts, with all that they import; what only writes, draws or prints may change during a run.
_DECIDING = ("segearth.openmmlab.segmentor", "segearth.openmmlab.metric", "segearth.openmmlab.datasets")


@dataclass(frozen=True)
class Item:
    """An image of the data set.

    Attributes:
        image: its path.
        key: its name, with the size and time of the image and its label: a changed file is another item.
    """

    image: str
    key: str


def list_items(dataset: Any) -> list[Item]:
    """The images of a data set in their order."""
    items = []
    folder = Path(str(dataset.data_prefix.get("img_path") or ""))
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        image = Path(info["img_path"])
        name = image.relative_to(folder) if image.is_relative_to(folder) else image
        stats = [Path(info[kind]).stat() for kind in ("img_path", "seg_map_path")]
        stamp = " ".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)
        items.append(Item(str(image), f"{name.as_posix()} {stamp}"))
    return items


def weight_files(model: dict[str, Any]) -> dict[str, dict[str, str] | None]:
    """The weights of a config's model, whose paths are known: file names and SHA-256 of "clip" and "upsampler"."""
    return {
        kind: None if path is None else {"file": path.name, "sha256": checksum(path)}
        for kind, path in model_weights(model).files().items()
    }


def _plug_in_code(method: str, upsampler: str | None) -> list[str]:
    """SHA-256 of the source files of a method and an upsampler that other packages or a config's modules add."""
    read_out = find_method(method).read_out
    parts = [read_out, *(cell.cell_contents for cell in getattr(read_out, "__closure__", None) or ())]
    if upsampler is not None and is_untrained(upsampler):
        parts.append(type(build_untrained(upsampler)))
    names = {getattr(part, "__module__", None) or "segearth" for part in parts}
    modules = [
        sys.modules.get(name) for name in sorted(names) if name.partition(".")[0] not in ("segearth", "builtins")
    ]
    files = [getattr(module, "__file__", None) for module in modules]
    return [checksum(Path(file)) for file in files if file is not None]


def run_settings(config: Any, dataset: Any) -> dict[str, Any]:
    """Everything but the images that decides a run's counts; JSON can hold it.

    The batch size is part of it: how images are batched moves the last bits of scores, and so, rarely, a pixel.
    The number of processes and of workers is not.

    Args:
        config: with paths that are known, as `load_config` gives it.
        dataset: its data set, opened.
    """
    import torch

    model = {key: value for key, value in config.model.to_dict().items() if key not in _ELSEWHERE}
    source = config.test_dataloader.dataset.to_dict()
    data = {key: value for key, value in source.items() if key not in ("data_root", "data_prefix", "ann_file")}
    used = model_weights(config.model)
    prompts = Vocabulary.from_file(config.model.name_path)
    with without_warnings(UserNotice):  # the segmentor tells it
        device = device_of(config.model.get("device"))
    settings = {
        "model": model,
        "source": [used.source.name, used.source.statistics],
        "architecture": config_of(used.source),
        "upsampler": [used.kind, used.kernels],
        "prompts": [prompts.classes, prompts.thresholds, prompts.scales],
        "weights": weight_files(config.model),
        "data": data,
        "labels": [dataset.reduce_zero_label, dataset.label_map, dataset.metainfo["classes"]],
        "metric": config.test_evaluator,
        "preprocessing": config.get("data_preprocessor"),
        "batch": config.test_dataloader.get("batch_size", 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else arithmetic(device),
        "code": [code_digest(*_DECIDING), *_plug_in_code(config.model.get("model_type", "SegEarth"), used.kind)],
        "versions": {name: text for name, text in versions().items() if name not in _NO_VERSIONS},
    }
    return dict(json.loads(json.dumps(settings, default=str, allow_nan=False)))
