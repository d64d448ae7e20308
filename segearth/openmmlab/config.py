"""Reads a config file of mmengine, applies changes to it and finds its paths.

Configs name files relative to a repository's folder, wherever they are started from, and so do those written
for the official SegEarth-OV repository. Here every path is looked for in the working directory, the config's
folder and the folder above, and is absolute afterwards.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segearth.config_files import UNCHANGED, ConfigChanges, check_source, check_syntax
from segearth.errors import UserError, option
from segearth.openmmlab import require
from segearth.openmmlab.checks import check_change, check_config, short_line
from segearth.openmmlab.data_paths import place_classes, place_data, place_split
from segearth.openmmlab.model_weights import placed


def load_config(path: str | Path, changes: ConfigChanges = UNCHANGED, split: str | None = None) -> Any:
    """Reads a config file of mmengine, ours or one of the official repository, and finds its data and class file.

    Its weights are not looked for yet: see `fetch_weights`.

    Args:
        path: the config file.
        changes: what replaces parts of it.
        split: another split of the set than the one that tables are made of, such as "train".

    Returns:
        A `mmengine.config.Config` whose paths are absolute, with `model`, `test_dataloader` and `test_evaluator`.

    Raises:
        UserError: a file, folder or name that is not there, or a config that cannot be read.
    """
    path = Path(path)
    config = read_config(path, changes.options)
    if changes.model is not None:
        if lost := next((option for option in changes.options if option.startswith("model.feature_up_cfg")), None):
            raise UserError(
                f"{lost}: the model {changes.model} brings its own upsampler; expected another one by its own option: "
                f"give {option('upsampler', 'FILE')} instead"
            )
        config.model.pop("upsampler", None)  # the config's was for its own CLIP
        config.model.update(model=changes.model, architecture=changes.architecture)
    if changes.upsampler is not None:
        if not config.model.get("feature_up", True):
            raise UserError(
                f"{option('upsampler', changes.upsampler)} is not used where model.feature_up is False: expected one "
                "of them; leave the other out"
            )
        config.model["upsampler"] = changes.upsampler
    config.model.update(placed(config.model, path.parent))
    if split is None:
        place_data(config.test_dataloader.dataset, path, changes.data_root)
    else:
        place_split(config, split, path, changes.data_root)
    place_classes(config.model, path)
    return config


def read_config(path: Path, options: Sequence[str] = ()) -> Any:
    """Reads a config and checks its keys, without looking for the files that it names.

    Raises:
        UserError: a config that cannot be read, or has keys or values that cannot be.
    """
    check_source(path)
    for change in options:
        check_syntax(change)
    require("mmengine")
    config = _read(path, options)
    config.setdefault("test_evaluator", {"type": "IoUMetric", "iou_metrics": ["mIoU"]})
    check_config(config, path, options)
    return config


def _read(path: Path, options: Sequence[str]) -> Any:
    """The config with the changes of the command line, as it is written; its `custom_imports` are not imported yet."""
    from mmengine.config import Config, DictAction

    try:
        config = Config.fromfile(str(path), import_custom_modules=False)
    except (Exception, SystemExit) as error:  # a config is a program: it can end in any way
        reason = short_line(error) or "a package that a config imports cannot be used in it: write the value itself"
        raise UserError(
            f"cannot read the config {path} ({_line(error)}{type(error).__name__}: {reason}): expected a "
            "Python config of mmengine; mend the file, or use one of configs/"
        ) from None
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="*", action=DictAction, default={})
    for change in options:
        check_change(change, config.to_dict())
        try:
            config.merge_from_dict(parser.parse_args(["--cfg-options", change]).cfg_options)
        except Exception as error:
            why = "its brackets are no pairs" if isinstance(error, RecursionError) else short_line(error)
            raise UserError(
                f"{option('options', change[:200], 'cfg_options')} does not fit {path} ({why}): expected "
                "key=value with nested keys by dots, for example model.prob_thd=0.2"
            ) from None
    return config


def _line(error: BaseException) -> str:
    """File name and line of an error in a config or in its base, as a part of a sentence."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"]
    inside = [frame for frame in frames if not frame.filename.startswith("<")]
    return f"{Path(inside[-1].filename).name}, line {inside[-1].lineno}, " if inside else ""
