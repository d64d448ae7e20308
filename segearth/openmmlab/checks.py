"""Checks of a config, before its data or weights are looked for."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from segearth.errors import UserError, option
from segearth.models.attention import METHODS
from segearth.openmmlab.keys import CONFIG, DATASET, LOADER, METRIC, MODEL, near, problems, type_name
from segearth.openmmlab.model_weights import model_weights, placed
from segearth.windows import CROP, STRIDE

SEGMENTOR = "SegEarthSegmentation"

# What evaluation reads under keys that segmentors of other projects have as well.
_MEANINGS = {
    "name_path": "the class file",
    "clip_type": "with vit_type, the CLIP",
    "vit_type": "with clip_type, the CLIP",
    "model_type": f"the attention of the last block: {', '.join(METHODS)}",
    "device": "where to compute",
    "ignore_residual": "whether the last block leaves out its residual",
    "prob_thd": "the score below which a pixel becomes bg_idx",
    "logit_scale": "the factor before the softmax",
    "slide_stride": "the step between windows in pixels",
    "slide_crop": "the side of a window in pixels",
    "cls_token_lambda": "the share of the [CLS] token",
    "bg_idx": "the class of pixels below prob_thd",
    "feature_up": "whether SimFeatUp brings features to the pixels",
    "feature_up_cfg": "the upsampler's weights",
    "data_preprocessor": "the mean and deviation of images",
}
# What a config that leaves these out would get, as `SegEarthSegmentation` has them; together they are the method.
DEFAULTS = {
    "model_type": "SegEarth",
    "ignore_residual": True,
    "feature_up": True,
    "cls_token_lambda": 0.0,
    "logit_scale": 50.0,
    "slide_crop": CROP,
    "slide_stride": STRIDE,
}


def check_config(config: Any, path: Path, changes: Sequence[str]) -> None:
    """Refuses a config of another segmentor, unknown keys and impossible values.

    The modules of its `custom_imports` are imported as soon as the config is known to be SegEarth's: they may register
    the methods, upsamplers, CLIPs and data sets that it names.

    Args:
        config: a `mmengine.config.Config`, with the changes.
        path: of its file.
        changes: from the command line, "key=value" each.

    Raises:
        UserError: the first thing that is wrong.
    """
    named = config.to_dict()  # classes that the config imports by their names: another project need not be here
    _check_version(named, path)
    model = named["model"]
    if isinstance(model, dict) and isinstance(kind := model.get("type"), str | type) and type_name(kind) != SEGMENTOR:
        if (by := _origin("model.type", changes)) is not None:
            raise UserError(f"{_given(by)}: expected {SEGMENTOR}, the only segmentor here; remove this option")
        raise _other_method(type_name(kind), model, path)
    if not any(problems(named.get("custom_imports"), CONFIG.keys["custom_imports"])):
        _import_modules(config, path)
    try:
        imported = dict(config.items())
        problem = next(problems(imported, CONFIG), None)
    except ImportError as error:
        raise UserError(
            f"{path} imports what is not here ({short_line(error)}): expected modules that Python finds; install the "
            "package, or set PYTHONPATH to the folder that holds it"
        ) from None
    if problem is not None:
        if (by := _origin(problem.key, changes)) is None:
            raise UserError(f"{path}: {problem.what}: {problem.expected}; correct the config")
        is_named = problem.of_value and by.partition("=")[0] == problem.key
        what = "" if is_named else f"{problem.what}: "
        raise UserError(f"{_given(by)}: {what}{problem.expected}; change or remove this option")
    _check_model(imported["model"], path)
    _check_pipeline(imported["test_dataloader"]["dataset"]["pipeline"], path)


def _import_modules(config: Any, path: Path) -> None:
    """Imports the modules of `custom_imports`, for example a data set of the user's own."""
    from mmengine.utils import import_modules_from_strings

    if not (wanted := config.get("custom_imports")):
        return
    try:
        import_modules_from_strings(**wanted)
    except Exception as error:
        raise UserError(
            f"custom_imports of {path} cannot be imported ({short_line(error)}): expected modules that Python finds; "
            "set PYTHONPATH to the folder that holds them, or remove custom_imports if nothing of theirs is needed"
        ) from None


def short_line(error: BaseException) -> str:
    """The message of an error in one short line; libraries may print a whole config."""
    return shorten(str(error), 300, placeholder=" ...")


def _given(change: str) -> str:
    """A change as the user typed it."""
    return option("options", change, "cfg_options")


def _origin(key: str, changes: Sequence[str]) -> str | None:
    """The last change that reaches a key, at it, above it or below it."""
    for change in reversed(changes):
        changed = change.partition("=")[0]
        if f"{key}.".startswith(f"{changed}.") or f"{changed}.".startswith(f"{key}."):
            return change
    return None


def check_change(change: str, config: Mapping[str, Any]) -> None:
    """Refuses a change of a key that evaluation does not read, or that does not exist.

    Without an effect it would seem to have one.

    Args:
        change: "key=value".
        config: as its file has it, with the changes before this one.

    Raises:
        UserError: evaluation does not read the key, or it does not exist.
    """
    parts = change.partition("=")[0].split(".")
    problem = None if parts[0] in CONFIG.keys else f"evaluation reads no key {parts[0]!r}: {_place(parts, config)}"
    value: Any = config
    for i, part in enumerate(parts):
        above = ".".join(parts[:i])
        if problem is not None or (isinstance(value, Mapping) and part not in value):
            break  # a new key, which has its rule
        if isinstance(value, Mapping):
            value = value[part]
        elif not isinstance(value, list):
            problem = f"{above} is {reprlib.repr(value)}, which has no {part!r} in it: expected {above}=VALUE"
        elif not part.isdecimal() or int(part) >= len(value):
            problem = f"{above} has the elements 0 to {len(value) - 1}, and no {part}: expected one of these numbers"
        elif i + 1 == len(parts):
            problem = f"an element of {above} is no value: give a key of it, or {above}=[...], the whole list"
        else:
            value = value[int(part)]
    if problem is not None:
        raise UserError(f"{_given(change)}: {problem}")


def _place(parts: Sequence[str], config: Mapping[str, Any]) -> str:
    """Where a misplaced key belongs, as the end of a sentence."""
    first, *rest = parts
    places = {
        "model": MODEL,
        "test_dataloader": LOADER,
        "test_dataloader.dataset": DATASET,
        "test_evaluator": METRIC,
    }
    for place, rule in places.items():
        if first in rule.keys:
            return f"did you mean {'.'.join([place, *parts])}?"
    test = f"test_{first.partition('_')[2]}"
    if first.startswith(("train_", "val_")) and test in CONFIG.keys:
        return f"did you mean {'.'.join([test, *rest])}?"
    if first in config:
        return "the file's own lines have used it already; change the keys that they set with it"
    return near(first, CONFIG)


def _check_version(config: Mapping[str, Any], path: Path) -> None:
    """Refuses a config without a model or test data, such as one of mmsegmentation 0.x."""
    missing = [key for key in CONFIG.required if key not in config]
    if not missing:
        return
    if isinstance(config.get("data"), dict):
        advice = (
            "it is a config of mmsegmentation 0.x: expected one of 1.x, where data.test is test_dataloader.dataset, "
            "img_dir and ann_dir are in its data_prefix, and the pipeline ends with PackSegInputs"
        )
    elif missing == ["test_dataloader"] and isinstance(config.get("val_dataloader"), dict):
        advice = "it has val_dataloader: add the line test_dataloader = val_dataloader"
    else:
        advice = "expected a config of mmsegmentation with a model and test data; begin with one of configs/"
    raise UserError(f"{path} has no {' and no '.join(f'`{key}`' for key in missing)}: {advice}")


def _other_method(kind: str, model: Mapping[str, Any], path: Path) -> UserError:
    """The error for a config of another segmentor; it says what its keys would mean here."""
    names = [str(name) for name in model if name != "type"]
    same = [f"{name}={reprlib.repr(model[name])} ({_MEANINGS[name]})" for name in names if name in _MEANINGS]
    strange = [name for name in names if name not in MODEL.keys]
    left = [f"{name}={value!r}" for name, value in DEFAULTS.items() if name not in names]
    parts = [
        f"{path} is for {kind}: expected {SEGMENTOR}, the only segmentor here, which is another method; with "
        "its name as model.type this would be a run of SegEarth, not of that method"
    ]
    if same:
        parts.append(f"it would read {', '.join(same)}")
    if strange:
        parts.append(f"it does not know {', '.join(strange)}")
    if left:
        parts.append(f"what is left out would be {', '.join(left)}")
    method = next((name for name in METHODS if kind.lower().startswith(name.lower()) and name != "SegEarth"), None)
    if method is not None:
        parts.append(
            f"features as {method} takes them come from one of configs/ with model.model_type={method} "
            "model.feature_up=False model.cls_token_lambda=0"
        )
    parts.append("to evaluate SegEarth on this data, take the model of configs/base_config.py in place of this one")
    return UserError("; ".join(parts))


def _check_model(model: Mapping[str, Any], path: Path) -> None:
    """Refuses unknown models and a stride larger than the crop."""
    model_weights({**model, **placed(model, path.parent)})  # their names are known ones
    crop, stride = model.get("slide_crop", CROP), model.get("slide_stride", STRIDE)
    if 0 < crop < stride:
        raise UserError(
            f"model.slide_crop {crop} with model.slide_stride {stride} leaves pixels out ({path}): expected a "
            "stride of at most the crop; change one of them"
        )


def _check_pipeline(pipeline: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Refuses pipelines of training, of test-time augmentation, and of mmsegmentation 0.x."""
    kinds = [type_name(step["type"]) for step in pipeline]
    problem = None
    if kinds[-1] != "PackSegInputs":
        problem = "PackSegInputs is not its last step"
    elif wrong := [kind for kind in kinds if kind.startswith(("Random", "Pad", "CenterCrop", "PhotoMetric"))]:
        problem = f"{', '.join(wrong)} would not be undone in the predictions, or is of training"
    elif "LoadAnnotations" in kinds and "Resize" in kinds[kinds.index("LoadAnnotations") :]:
        problem = "Resize comes after LoadAnnotations, so that labels would be resized"
    if problem is not None:
        raise UserError(
            f"the pipeline of test_dataloader.dataset in {path} is {', '.join(kinds)}: {problem}; expected "
            "LoadImageFromFile, Resize, LoadAnnotations, PackSegInputs, as in configs/base_config.py; correct it"
        )
