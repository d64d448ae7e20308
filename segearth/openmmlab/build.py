"""The parts of an evaluation, built from a config; and the row that says what came out."""

from __future__ import annotations

import platform
import pprint
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.registry import MODELS

from segearth import provenance, results
from segearth.clips import Spec
from segearth.datasets import DATASETS
from segearth.datasets.manifest import read_manifest
from segearth.distributed.ranks import Ranks
from segearth.errors import UserError
from segearth.files import Packaged
from segearth.openmmlab.checks import one_line
from segearth.openmmlab.identity import weight_files
from segearth.openmmlab.keys import type_name
from segearth.openmmlab.metric import CountingIoUMetric
from segearth.openmmlab.segmentor import SegEarthSegmentation
from segearth.vocabulary import Vocabulary


@DATA_SAMPLERS.register_module()
class GivenBatches:
    """The batches of one process, as lists of indices.

    Args:
        batches: what the data loader loads, in this order.
        sampler: of the config; unused, as every image counts once.
        batch_size: of the config; unused, as `batches` already has it.
    """

    def __init__(self, batches: list[list[int]], sampler: Any = None, batch_size: int = 1) -> None:  # noqa: ARG002
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def clip_name(source: Spec) -> str:
    """The entry of the results' column CLIP: a packaged model must never pass for OpenAI's."""
    return f"{source.name} (not OpenAI's CLIP)" if isinstance(source.file, Packaged) else source.family


def check_classes(name_path: str, classes: Sequence[str], dataset: str) -> None:
    """Refuses prompts that cannot stand for the data set's classes, index by index."""
    prompts = Vocabulary.from_file(name_path)
    if len(prompts) != len(classes):
        raise UserError(
            f"{name_path} has {len(prompts)} classes, but the data set {dataset} has {len(classes)} "
            f"({', '.join(classes)}): expected one line a class, in this order; correct the file, or model.name_path"
        )


def prepared(dataset: Any) -> dict[str, Any] | None:
    """What tools/prepare_dataset.py noted about a data set's images; None where others prepared them."""
    path = Path(str(dataset.data_prefix.get("img_path"))).absolute()
    for one in DATASETS.values():
        if path.as_posix().endswith(f"/{one.out_images}"):
            root = path.parents[len(Path(one.out_images).parts) - 1]
            if (manifest := read_manifest(root / one.folder)) is not None:
                return {key: manifest.get(key) for key in ("name", "complete", "images", "expected", "warnings")}
    return None


def metric(evaluator: Any) -> CountingIoUMetric:
    """Our counting metric with the settings of the config's IoUMetric."""
    (entry,) = [evaluator] if isinstance(evaluator, dict) else evaluator
    settings = {key: value for key, value in entry.items() if key != "type" and not key.startswith("_")}
    return CountingIoUMetric(**settings | {"iou_metrics": ["mIoU"], "format_only": False})


def segmentor(config: Any) -> SegEarthSegmentation:
    """The model of a config."""
    settings = {key: value for key, value in config.model.items() if key != "type" and not key.startswith("_")}
    settings.setdefault("data_preprocessor", config.get("data_preprocessor"))
    if (wanted := settings["data_preprocessor"]) is not None:
        try:
            settings["data_preprocessor"] = MODELS.build(wanted)
        except Exception as error:  # the config's options go to code of many authors
            raise UserError(
                f"data_preprocessor cannot be built ({one_line(error)}): correct it in the config"
            ) from None
    return SegEarthSegmentation(**settings)


class PlainConfig(Config):  # type: ignore[misc]
    """A config that is written as it is.

    mmengine has yapf format it, which keeps a grammar in the user's cache folder and puts it there before it is whole:
    of two processes that are the first, one reads an empty file ("EOFError: Ran out of input"), and after a kill at
    that moment so does every later one.
    """

    @property
    def pretty_text(self) -> str:
        """Python that can be loaded again."""
        return "".join(f"{key} = {pprint.pformat(value, width=120)}\n" for key, value in sorted(self.to_dict().items()))


class TestRunner(Runner):  # type: ignore[misc]
    """Leaves the model where it is, as it is: nothing is trained."""

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:  # noqa: ARG002 (of the base)
        """The model itself; the usual wrapper refuses one without parameters to train."""
        return model


def runner(
    config: Any,
    folder: Path,
    ranks: Ranks,
    segmentor: SegEarthSegmentation,
    dataset: Any,
    batches: list[list[int]],
    metric: CountingIoUMetric,
    side: list[Any],
) -> TestRunner:
    """A runner of mmengine with ready parts.

    Args:
        config: for everything else.
        folder: for the runner's own files.
        ranks: the processes that evaluate together.
        segmentor: the model.
        dataset: opened.
        batches: indices of the images of this process.
        metric: for its counts.
        side: more hooks.
    """
    loader = {"batch_size": 1, **config.test_dataloader}
    loader["dataset"] = dataset
    loader["sampler"] = {"type": "DefaultSampler", "shuffle": False}
    loader["batch_sampler"] = {"type": GivenBatches, "batches": batches}
    loader.pop("drop_last", None)
    loader["num_workers"] = min(loader.get("num_workers", 0), len(batches))
    if loader["num_workers"] == 0:
        for key in ("persistent_workers", "prefetch_factor", "multiprocessing_context", "timeout"):
            loader.pop(key, None)
    environment = dict(config.get("env_cfg") or {})
    if platform.system() == "Darwin":  # there, a fork may crash in Apple's libraries
        environment["mp_cfg"] = {**environment.get("mp_cfg", {}), "mp_start_method": "spawn"}
    try:
        made = TestRunner(
            model=segmentor,
            work_dir=str(folder),
            test_dataloader=loader,
            test_cfg=config.get("test_cfg") or {"type": "TestLoop"},
            test_evaluator=Evaluator([metric]),
            # LoggerHook makes processes wait for each other every few batches, which they need not have equally many of
            default_hooks={**(config.get("default_hooks") or {}), "logger": None},
            custom_hooks=[*(config.get("custom_hooks") or []), *side],
            launcher=ranks.launcher,
            env_cfg=environment,
            log_processor=config.get("log_processor"),
            log_level="ERROR",
            visualizer=Visualizer.get_instance(f"segearth-{time.time_ns()}"),  # without a backend: writes nothing
            default_scope="mmseg",
            randomness={"seed": 0},  # nothing is random; mmengine would draw a seed and set it everywhere
            cfg=PlainConfig(config.to_dict(), config.text, config.filename),
        )
        _ = made.test_loop  # builds it, and the data loader
    except (AssertionError, AttributeError, ImportError, KeyError, SyntaxError, TypeError, ValueError) as error:
        raise UserError(  # the config's options go to code of many authors
            "mmengine cannot use the config's hooks, test_dataloader, test_cfg, env_cfg or log_processor "
            f"({one_line(error)}): correct that one, or remove it"
        ) from None
    return made


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
        "data": prepared(dataset),
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
