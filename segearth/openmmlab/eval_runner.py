"""Runs mmengine's test loop with a given model and data set."""

from __future__ import annotations

import platform
import pprint
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.registry import MODELS

from segearth.errors import UserError, first_line, option
from segearth.jobs.shards import WHOLE, Shard
from segearth.openmmlab.checks import short_line
from segearth.openmmlab.metric import CountingIoUMetric
from segearth.openmmlab.segmentor import SegEarthSegmentation


class PlainConfig(Config):  # type: ignore[misc]
    """A config that is written without formatting by yapf.

    mmengine has yapf format it, which keeps a grammar in the user's cache folder and puts it there before it is whole:
    of two processes that are the first, one reads an empty file ("EOFError: Ran out of input"), and after a kill at
    that moment so does every later one.
    """

    @property
    def pretty_text(self) -> str:
        """The config as Python that can be loaded again."""
        return "".join(f"{key} = {pprint.pformat(value, width=120)}\n" for key, value in sorted(self.to_dict().items()))


class EvalRunner(Runner):  # type: ignore[misc]
    """mmengine's runner for a model without parameters to train."""

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:  # noqa: ARG002 (of the base)
        """The model itself; the usual wrapper refuses one without parameters to train."""
        return model


def counting_metric(evaluator: Any) -> CountingIoUMetric:
    """Our counting metric with the settings of the config's IoUMetric."""
    (entry,) = [evaluator] if isinstance(evaluator, dict) else evaluator
    settings = {key: value for key, value in entry.items() if key != "type" and not key.startswith("_")}
    return CountingIoUMetric(**settings | {"iou_metrics": ["mIoU"], "format_only": False})


def build_segmentor(config: Any, shard: Shard = WHOLE) -> SegEarthSegmentation:
    """The model of a config; each process of a machine takes the next of its GPUs.

    Raises:
        UserError: see `SegEarthSegmentation`; or a data preprocessor that cannot be built.
    """
    if shard.count > 1 and torch.cuda.is_available():
        torch.cuda.set_device(shard.local % torch.cuda.device_count())
    settings = {key: value for key, value in config.model.items() if key != "type" and not key.startswith("_")}
    settings.setdefault("data_preprocessor", config.get("data_preprocessor"))
    if (wanted := settings["data_preprocessor"]) is not None:
        try:
            settings["data_preprocessor"] = MODELS.build(wanted)
        except Exception as error:  # the config's options go to code of many authors
            raise UserError(
                f"data_preprocessor cannot be built ({short_line(error)}): correct it in the config"
            ) from None
    return SegEarthSegmentation(**settings)


def run_test_loop(
    config: Any,
    folder: Path,
    segmentor: SegEarthSegmentation,
    dataset: Any,
    indices: list[int],
    metric: CountingIoUMetric,
    hooks: Sequence[Hook] = (),
) -> None:
    """Runs mmengine's test loop over images of a data set; the metric keeps what it counts.

    Args:
        config: for everything else.
        folder: for the runner's own files.
        segmentor: the model.
        dataset: opened.
        indices: of the images, in whole batches but for the last one; none: nothing is run.
        metric: for the counts.
        hooks: more of them.

    Raises:
        UserError: an image, a label map or an option of the config that cannot be used.
    """
    if not indices:
        return
    try:
        runner = _runner(config, folder, segmentor, dataset, indices, metric, hooks)
        metric.clock = time.perf_counter()
        runner.test()
    except UserError as error:  # from a worker process it comes wrapped in a traceback
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            f"a process that loads images died ({first_line(error)}): often too little shared memory; "
            f"run again with {option('options', 'test_dataloader.num_workers=0', 'cfg_options')}"
        ) from None


def _runner(
    config: Any,
    folder: Path,
    segmentor: SegEarthSegmentation,
    dataset: Any,
    indices: list[int],
    metric: CountingIoUMetric,
    hooks: Sequence[Hook],
) -> EvalRunner:
    """Builds the runner and its data loader."""
    loader = {"batch_size": 1, **config.test_dataloader}
    loader["dataset"] = dataset.get_subset(indices)
    loader["sampler"] = {"type": "DefaultSampler", "shuffle": False}  # whatever the config's: each image counts once
    for key in ("batch_sampler", "drop_last"):
        loader.pop(key, None)
    loader["num_workers"] = min(loader.get("num_workers", 0), len(indices))
    if loader["num_workers"] == 0:
        for key in ("persistent_workers", "prefetch_factor", "multiprocessing_context", "timeout"):
            loader.pop(key, None)
    environment = dict(config.get("env_cfg") or {})
    if platform.system() == "Darwin":  # there, a fork may crash in Apple's libraries
        environment["mp_cfg"] = {**environment.get("mp_cfg", {}), "mp_start_method": "spawn"}
    try:
        runner = EvalRunner(
            model=segmentor,
            work_dir=str(folder),
            test_dataloader=loader,
            test_cfg=config.get("test_cfg") or {"type": "TestLoop"},
            test_evaluator=Evaluator([metric]),
            default_hooks={**(config.get("default_hooks") or {}), "logger": None},
            custom_hooks=[*(config.get("custom_hooks") or []), *hooks],
            env_cfg=environment,
            log_processor=config.get("log_processor"),
            log_level="ERROR",
            visualizer=Visualizer.get_instance(f"segearth-{time.time_ns()}"),  # without a backend: writes nothing
            default_scope="mmseg",
            randomness={"seed": 0},  # nothing is random; mmengine would draw a seed and set it everywhere
            cfg=PlainConfig(config.to_dict(), config.text, config.filename),
        )
        _ = runner.test_loop  # builds it, and the data loader
    except (AssertionError, AttributeError, ImportError, KeyError, SyntaxError, TypeError, ValueError) as error:
        raise UserError(  # the config's options go to code of many authors
            "mmengine cannot use the config's hooks, test_dataloader, test_cfg, env_cfg or log_processor "
            f"({short_line(error)}): correct that one, or remove it"
        ) from None
    return runner
