"""Evaluation: a config in, a row of results out."""

from __future__ import annotations

import difflib
import inspect
import platform
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import segearth
from segearth import results, weights
from segearth.datasets import DATASETS
from segearth.datasets.prepare import read_manifest
from segearth.errors import UserError
from segearth.openmmlab import launch, require
from segearth.openmmlab.config import load_config
from segearth.outputs import writable_folder

__all__ = ["evaluate", "load_config"]


def evaluate(
    config: str | Path,
    work_dir: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    launcher: str = "none",
    show_dir: str | Path | None = None,
    options: Sequence[str] = (),
    limit: int | None = None,
    model: str | None = None,
    say: Callable[[str], object] = lambda text: None,  # noqa: ARG005
) -> tuple[dict[str, Any] | None, Path]:
    """Runs mmengine's test loop on a config and adds a row to the work dir's results.

    Args:
        config: the config file.
        work_dir: folder for results; by default the config's own, or work_dirs/ and the config's name.
        data_root: a folder that stands for the leading `data/` of the config's data paths.
        launcher: what started this process, one of `segearth.openmmlab.launch.LAUNCHERS`.
        show_dir: folder for pictures of the predictions.
        options: changes to the config, "key=value" each.
        limit: only so many images, from the first on.
        model: a name of `segearth.weights.MODELS` that replaces the config's CLIP and upsampler.
        say: told what takes a while.

    Returns:
        The row (see `segearth.results`; None on all processes but the first), and the folder of results.

    Raises:
        UserError: everything that the person who runs it can mend.
    """
    launch.check_launcher(launcher)
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit}: expected at least 1 image")
    settings = load_config(config, options=options, data_root=data_root, model=model)
    folder = Path(work_dir or settings.get("work_dir") or Path("work_dirs", Path(config).stem))
    results.read_rows(folder)  # a damaged file is found before the work, not after
    say("loading mmsegmentation and the model ...")
    require()
    try:
        launch.join(launcher, dict(settings.get("env_cfg", {}).get("dist_cfg", {})))
        return _evaluate(settings, Path(config), folder, launcher, show_dir, limit), folder
    finally:
        launch.leave()


def _evaluate(
    config: Any, path: Path, folder: Path, launcher: str, show_dir: str | Path | None, limit: int | None
) -> dict[str, Any] | None:
    """As `evaluate`, with a config whose paths are known, in a process that has joined its group."""
    from mmengine.dist import is_main_process
    from mmengine.logging import MMLogger

    from segearth.openmmlab import hooks
    from segearth.openmmlab.datasets import open_dataset

    MMLogger.get_instance("segearth", log_level="ERROR")  # OpenMMLab's talk goes to whoever came last
    dataset = open_dataset(config.test_dataloader.dataset, limit)
    names = dataset.metainfo["classes"]
    _check_classes(config.model["name_path"], names, config.test_dataloader.dataset["type"])
    metric = _metric(config.test_evaluator)
    data = _data(str(dataset.data_prefix.get("img_path")))  # a damaged manifest is found before the work, too
    writable_folder(folder)
    segmentor = _segmentor(config)
    side: list[Any] = []
    if show_dir is not None:
        note = f"{path.stem}, CLIP: {clip_name(segmentor.source)}"
        pictures = writable_folder(show_dir)
        side.append(
            hooks.PicturesHook(pictures, dataset.data_prefix["img_path"], names, dataset.metainfo["palette"], note)
        )
    progress = hooks.ProgressHook(len(dataset)) if is_main_process() else None
    side += [progress] if progress else []
    runner = _runner(config, folder / "logs", launcher, segmentor, dataset, metric, side)
    started = time.perf_counter()
    try:
        runner.test()
    except UserError as error:  # from a worker process it comes wrapped in a traceback
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            f"a process that loads images died ({str(error).splitlines()[0]}): often too little shared memory; "
            "run again with --cfg-options test_dataloader.num_workers=0"
        ) from None
    finally:
        if progress:
            progress.close()
    if not is_main_process():
        return None
    row = _row(config, path, segmentor, dataset, metric, time.perf_counter() - started, limit)
    row["data"] = data
    results.append_row(folder, row)
    return row


def clip_name(source: weights.Model) -> str:
    """The entry of the results' column CLIP: a packaged model must never pass for OpenAI's."""
    return f"{source.name} (not OpenAI's CLIP)" if isinstance(source.file, weights.Packaged) else source.clip_type


def _check_classes(name_path: str, classes: Sequence[str], dataset: str) -> None:
    """Refuses prompts that cannot stand for the data set's classes, index by index."""
    from segearth.vocabulary import Vocabulary

    prompts = Vocabulary.from_file(name_path)
    if len(prompts) != len(classes):
        raise UserError(
            f"{name_path} has {len(prompts)} classes, but the data set {dataset} has {len(classes)} "
            f"({', '.join(classes)}): expected one line a class, in this order; correct the file, or model.name_path"
        )


def _data(folder: str) -> dict[str, Any] | None:
    """What tools/prepare_dataset.py noted about the images in a folder; None where others prepared them."""
    path = Path(folder).absolute()
    for one in DATASETS.values():
        if path.as_posix().endswith(f"/{one.out_images}"):
            root = path.parents[len(Path(one.out_images).parts) - 1]
            if (manifest := read_manifest(root / one.folder)) is not None:
                return {key: manifest.get(key) for key in ("name", "complete", "images", "expected", "warnings")}
    return None


def _metric(evaluator: Any) -> Any:
    """Our counting metric with the settings of the config's IoUMetric."""
    from segearth.openmmlab.metric import CountingIoUMetric

    entries = [dict(entry) for entry in (evaluator if isinstance(evaluator, list | tuple) else [evaluator])]
    kinds = [str(entry.pop("type", None)) for entry in entries]
    if len(kinds) != 1 or kinds[0].rpartition(".")[2] not in ("IoUMetric", "CountingIoUMetric"):
        raise UserError(f"test_evaluator is {', '.join(kinds)}: expected one IoUMetric; change the config")
    settings = entries[0] | {"iou_metrics": ["mIoU"]}
    try:
        return CountingIoUMetric(**settings)
    except TypeError as error:
        raise UserError(f"test_evaluator does not fit IoUMetric ({error}): correct the config") from None


def _segmentor(config: Any) -> Any:
    """The model of a config."""
    from segearth.openmmlab.segmentor import SegEarthSegmentation

    settings = {key: value for key, value in config.model.items() if key != "type"}
    kind = str(config.model.get("type"))
    if kind.rpartition(".")[2] != SegEarthSegmentation.__name__:
        raise UserError(f"the model's type is {kind!r}: expected SegEarthSegmentation; change the config's model.type")
    settings.setdefault("data_preprocessor", config.get("data_preprocessor"))
    known = inspect.signature(SegEarthSegmentation).parameters
    for key in settings:
        if key not in known:
            near = ", ".join(difflib.get_close_matches(key, known, n=3, cutoff=0.4)) or ", ".join(known)
            raise UserError(f"unknown key {key!r} in the config's model: did you mean one of {near}?")
    return SegEarthSegmentation(**settings)


def _runner(
    config: Any, folder: Path, launcher: str, segmentor: Any, dataset: Any, metric: Any, side: list[Any]
) -> Any:
    """A runner of mmengine with ready parts, which keeps its files in a folder of its own."""
    from mmengine.evaluator import Evaluator
    from mmengine.runner import Runner
    from mmengine.visualization import Visualizer

    class TestRunner(Runner):  # type: ignore[misc]
        """Leaves the model where it is, as it is: nothing is trained."""

        def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:  # noqa: ARG002 (of the base)
            return model

    loader = {"batch_size": 1, "sampler": {"type": "DefaultSampler", "shuffle": False}, **config.test_dataloader}
    loader["dataset"] = dataset
    loader["num_workers"] = min(int(loader.get("num_workers", 0)), len(dataset))
    if loader["num_workers"] == 0:
        loader.pop("persistent_workers", None)
        loader.pop("prefetch_factor", None)
    environment = dict(config.get("env_cfg", {}))
    if platform.system() == "Darwin":  # there, a fork may crash in Apple's libraries
        environment["mp_cfg"] = {**environment.get("mp_cfg", {}), "mp_start_method": "spawn"}
    return TestRunner(
        model=segmentor,
        work_dir=str(folder),
        test_dataloader=loader,
        test_cfg=config.get("test_cfg") or {"type": "TestLoop"},
        test_evaluator=Evaluator([metric]),
        default_hooks=config.get("default_hooks"),
        custom_hooks=[*(config.get("custom_hooks") or []), *side],
        launcher=launcher,
        env_cfg=environment,
        log_processor=config.get("log_processor"),
        log_level="ERROR",
        visualizer=Visualizer.get_instance(f"segearth-{time.time_ns()}"),  # without a backend: writes nothing
        default_scope="mmseg",
        randomness={"seed": 0},  # nothing is random; mmengine would draw a seed and set it everywhere
        cfg=config,
    )


def _row(
    config: Any, path: Path, segmentor: Any, dataset: Any, metric: Any, seconds: float, limit: int | None
) -> dict[str, Any]:
    """What a run was, and what came out."""
    import mmseg
    import torch

    source, net = segmentor.source, segmentor.net
    row = {
        "CLIP": clip_name(source),
        "VIT": source.vit_type,
        "MODEL": net.encoder.method,
        "Dataset": type(dataset).__name__,
        **results.scores(metric.counts, metric.summary, net.bg_idx),
        "images": len(dataset),
        "data": None,  # known before the run
        "limit": limit,
        "seconds": round(seconds, 2),
        "model": source.name,
        "upsampler": segmentor.upsampler,
        "settings": {
            **{key: getattr(net, key) for key in ("prob_thd", "bg_idx", "cls_token_lambda", "logit_scale")},
            **{key: getattr(net, key) for key in ("slide_crop", "slide_stride")},
            "ignore_residual": net.encoder.ignore_residual,
            "precision": segmentor.precision,
        },
        "config": str(path),
        "prompts": {
            "file": str(config.model["name_path"]),
            "classes": [",".join(names) for names in segmentor.vocabulary.classes],
        },
        "device": str(net.query_features.device),
        "versions": {
            "segearth": segearth.__version__,
            "torch": str(torch.__version__),
            "mmseg": str(mmseg.__version__),
        },
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if isinstance(source.file, weights.Packaged):
        row["about"] = source.about
    return row
