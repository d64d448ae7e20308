"""Config files of evaluations: read, changed from the command line, and with their paths found.

Configs name files relative to a repository's folder, wherever they are started from, and so do those written
for the official SegEarth-OV repository. Here every path is looked for in the working directory, the config's
folder and the folder above, and is absolute afterwards.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from segearth import weights
from segearth.datasets.places import near_name, other_places
from segearth.errors import UserError, option
from segearth.openmmlab import require

# SimFeatUp and FeatUp weights of `feature_up_cfg.model_name` where the config names no file.
UPSAMPLER_FILES = {"jbu_one": "xclip_jbu_one_million_aid", "jbu_stack": "clip_jbu_stack_cocostuff"}


def load_config(
    path: str | Path,
    *,
    options: Sequence[str] = (),
    data_root: str | Path | None = None,
    model: str | None = None,
) -> Any:
    """Reads a config file of mmengine, ours or one of the official repository.

    Weights are made ready, too: those that are not in the cache are downloaded.

    Args:
        path: the config file.
        options: changes, "key=value" each, nested keys with dots, values as mmengine's `DictAction` reads them.
        data_root: a folder that stands for the leading `data/` of the data paths.
        model: a name of `segearth.weights.MODELS` that replaces the config's CLIP and upsampler.

    Returns:
        A `mmengine.config.Config` whose paths are absolute, with `model`, `test_dataloader` and `test_evaluator`.

    Raises:
        UserError: a file, folder or name that is not there, or a config that cannot be read.
    """
    require("mmengine")
    path = Path(path)
    config = _read(path, options)
    for key in ("model", "test_dataloader"):
        if not isinstance(config.get(key), dict):
            raise UserError(f"{path} has no `{key}`: expected a config of mmsegmentation with a model and test data")
    if not isinstance(config.test_dataloader.get("dataset"), dict):
        raise UserError(f"{path} has no `test_dataloader.dataset`: expected a data set with its type and paths")
    config.setdefault("test_evaluator", {"type": "IoUMetric", "iou_metrics": ["mIoU"]})
    if model is not None:
        if lost := next((option for option in options if option.startswith("model.feature_up_cfg")), None):
            row = weights.model(model)
            raise UserError(
                f"{lost}: the model {model} brings its own upsampler; for another one name its CLIP instead: "
                f"model.clip_type={row.clip_type} model.vit_type={row.vit_type}"
            )
        config.model["model"] = model
    _place_data(config.test_dataloader.dataset, path, data_root)
    _place_model(config.model, path)
    return config


def resolve(path: str | Path, config_folder: Path) -> Path | None:
    """Finds a file or folder that a config names.

    Args:
        path: as the config has it, relative or absolute.
        config_folder: where the config file is.

    Returns:
        The first that exists, from the working directory, the config's folder, the folder above; or None.
    """
    wanted = Path(path).expanduser()
    for folder in (Path.cwd(), config_folder.absolute(), config_folder.absolute().parent):
        if (folder / wanted).exists():
            return Path(os.path.normpath(folder / wanted))
    return None


def resolve_weights(path: str | Path, config_folder: Path) -> Path:
    """Finds weights that a config names: as `resolve`, else by file name among the known ones.

    Raises:
        UserError: neither there nor known, or a download that failed.
    """
    if (found := resolve(path, config_folder)) is not None:
        return found
    known = next((file for file in weights.FILES.values() if file.name == Path(path).name), None)
    if known is None:
        names = ", ".join(file.name for file in weights.FILES.values() if file.name.endswith(".ckpt"))
        raise UserError(
            f"no weights at {path}, looked for {_places(config_folder)}: give the path of a checkpoint, one of the "
            f"known file names ({names}), or use the packaged model: {option('model', 'tiny')}"
        )
    return weights.fetch(known)


def _read(path: Path, options: Sequence[str]) -> Any:
    """The config with the changes of the command line, as it is written."""
    from mmengine.config import Config, DictAction

    try:
        config = Config.fromfile(str(path))
    except (Exception, SystemExit) as error:  # a config is a program: it can end in any way
        text = " ".join(str(error).split())
        raise UserError(
            f"cannot read the config {path} ({type(error).__name__}: {text}): expected a Python config of mmengine; "
            "mend the file, or use one of configs/"
        ) from None
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="*", action=DictAction, default={})
    try:
        config.merge_from_dict(parser.parse_args(["--cfg-options", *options]).cfg_options)
    except Exception as error:
        text = " ".join(str(error).split())
        raise UserError(
            f"{option('options', ' '.join(options), 'cfg_options')} does not fit {path} ({text}): expected "
            "key=value with nested keys by dots, for example model.prob_thd=0.2"
        ) from None
    return config


def _place_data(dataset: dict[str, Any], config: Path, data_root: str | Path | None) -> None:
    """Makes `data_prefix` and `ann_file` absolute, and `data_root` empty."""
    root = str(dataset.get("data_root") or "")
    prefix = {key: value for key, value in (dataset.get("data_prefix") or {}).items() if isinstance(value, str)}
    for key, value in prefix.items():
        prefix[key] = str(_find_data(Path(root, value), f"data_prefix.{key}", config, data_root))
    if ann_file := dataset.get("ann_file"):
        found = resolve(ann_file, config.parent)  # such lists come with the code rather than with the data
        if found is None and (packaged := Path(str(files("segearth") / "data" / Path(ann_file).name))).is_file():
            found = packaged
        dataset["ann_file"] = str(found or _find_data(Path(root, ann_file), "ann_file", config, data_root))
    dataset["data_prefix"] = prefix
    dataset["data_root"] = ""


def _find_data(path: Path, key: str, config: Path, data_root: str | Path | None) -> Path:
    """A data folder or file, or the error that says where it was looked for, and what is there instead."""
    for place in other_places(path):  # another config's name of a folder; the config's own comes first
        with suppress(UserError):
            return _find_place(path, key, config, data_root)
        with suppress(UserError):
            return _find_place(place, key, config, data_root)
    try:
        return _find_place(path, key, config, data_root)
    except UserError as error:
        inside = data_root is not None and path.parts[:1] == ("data",)
        place = Path(*path.parts[1:]) if inside else path
        folders = [Path(str(data_root)).expanduser()] if inside else [Path(), config.parent, config.parent.parent]
        near = next(filter(None, (near_name(folder / place) for folder in folders)), "")
        raise UserError(f"{error}; {near}" if near else str(error)) from None


def _find_place(path: Path, key: str, config: Path, data_root: str | Path | None) -> Path:
    """As `_find_data`, of this very path."""
    if data_root is not None and not path.is_absolute():
        if path.parts[:1] != ("data",):
            raise UserError(
                f"{option('data_root')} stands for the leading data/ of the data paths, but {key} of {config} is "
                f"{path}: expected data/...; leave {option('data_root')} out, or change the config"
            )
        rest = Path(*path.parts[1:])
        if (found := Path(data_root).expanduser().absolute() / rest).exists():
            return found
        raise UserError(
            f"no data at {found} ({key} of {config}): {option('data_root', str(data_root))} stands for the "
            f"leading data/ of {path}; give the folder that holds {rest.parts[0] if rest.parts else 'the data'}"
        )
    if (place := resolve(path, config.parent)) is not None:
        return place
    raise UserError(
        f"no data at {path} ({key} of {config}), looked for {_places(config.parent)}: put the data there, or give "
        f"{option('data_root', 'DIR')}, a folder that stands for the leading data/ of the path"
    )


def _place_model(model: dict[str, Any], config: Path) -> None:
    """Makes the paths of `name_path` and `feature_up_cfg.model_path` absolute; fetches the weights."""
    if not isinstance(names := model.get("name_path"), str | Path):
        raise UserError(f"{config} has no `model.name_path`: expected the path of a class file, one class a line")
    found = resolve(names, config.parent) or resolve(Path(names).name, config.parent)
    if found is None:
        raise UserError(
            f"no class file {names} (model.name_path of {config}), looked for {_places(config.parent)}: "
            "give the path of a text file with one class a line, commas between synonyms"
        )
    model["name_path"] = str(found)
    if (name := model.get("model")) is not None:
        row = weights.model(name)
        if model.get("feature_up", True) and row.upsampler_file is not None:
            weights.fetch(row.upsampler_file)
    else:
        row = weights.model_for(model.get("clip_type", "CLIP"), model.get("vit_type", "ViT-B/16"))
        if model.get("feature_up", True):
            _place_upsampler(model, config)
    weights.fetch(row.file)


def _place_upsampler(model: dict[str, Any], config: Path) -> None:
    """Completes `feature_up_cfg`: its kind, and the absolute path of its weights if it has any."""
    settings = dict(model.get("feature_up_cfg") or {})
    kind = settings.setdefault("model_name", "jbu_one")
    if kind in UPSAMPLER_FILES:
        given = settings.get("model_path")
        settings["model_path"] = str(
            resolve_weights(given, config.parent) if given else weights.fetch(UPSAMPLER_FILES[kind])
        )
    model["feature_up_cfg"] = settings


def _places(config_folder: Path) -> str:
    """Where `resolve` looks, for messages."""
    folder = config_folder.absolute()
    places = dict.fromkeys(str(place) for place in (Path.cwd(), folder, folder.parent))
    return f"in {', '.join(places)}"
