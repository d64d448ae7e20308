"""Config files of evaluations: read, changed from the command line, and with their paths found.

Configs name files relative to a repository's folder, wherever they are started from, and so do those written
for the official SegEarth-OV repository. Here every path is looked for in the working directory, the config's
folder and the folder above, and is absolute afterwards.
"""

from __future__ import annotations

import argparse
import copy
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from segearth import weights
from segearth.clips import UPSAMPLERS
from segearth.config_files import check_source, check_syntax
from segearth.datasets.places import near_name, other_places
from segearth.errors import UserError, command, option
from segearth.openmmlab import require
from segearth.openmmlab.checks import check_change, check_config, one_line
from segearth.openmmlab.labelled import check_apart, other_split
from segearth.openmmlab.model_weights import model_weights, placed
from segearth.openmmlab.places import resolve
from segearth.paths import user_path


def load_config(
    path: str | Path,
    *,
    options: Sequence[str] = (),
    data_root: str | Path | None = None,
    model: str | None = None,
    architecture: str | None = None,
    upsampler: str | None = None,
    split: str | None = None,
) -> Any:
    """Reads a config file of mmengine, ours or one of the official repository, and finds its data and class file.

    Its weights are not looked for yet: see `fetch_weights`.

    Args:
        path: the config file.
        options: changes, "key=value" each, nested keys with dots, values as mmengine's `DictAction` reads them.
        data_root: a folder that stands for the leading `data/` of the data paths.
        model: what `segearth.clips.resolve` takes; it replaces the config's CLIP and upsampler.
        architecture: of such a model that is given by path or address.
        upsampler: what `segearth.loading.load_model` takes; it replaces the model's or the config's own.
        split: another split of the set than the one that tables are made of, such as "train".

    Returns:
        A `mmengine.config.Config` whose paths are absolute, with `model`, `test_dataloader` and `test_evaluator`.

    Raises:
        UserError: a file, folder or name that is not there, or a config that cannot be read.
    """
    path = Path(path)
    config = read_config(path, options)
    if model is not None:
        if lost := next((option for option in options if option.startswith("model.feature_up_cfg")), None):
            raise UserError(
                f"{lost}: the model {model} brings its own upsampler; expected another one by its own option: give "
                f"{option('upsampler', 'FILE')} instead"
            )
        config.model.pop("upsampler", None)  # the config's was for its own CLIP
        config.model.update(model=model, architecture=architecture)
    if upsampler is not None:
        if not config.model.get("feature_up", True):
            raise UserError(
                f"{option('upsampler', upsampler)} is not used where model.feature_up is False: expected one of them; "
                "leave the other out"
            )
        config.model["upsampler"] = upsampler
    config.model.update(placed(config.model, path.parent))
    if split is None:
        _place_data(config.test_dataloader.dataset, path, data_root)
    else:
        _place_split(config, split, path, data_root)
    _place_classes(config.model, path)
    return config


def read_config(path: Path, options: Sequence[str] = ()) -> Any:
    """As `load_config`, but nothing that the config names is looked for: what it says itself is checked.

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
    _import_modules(config, path)
    return config


def resolve_weights(path: str | Path, config_folder: Path) -> Path:
    """Finds weights that a config names: as `resolve`, else by file name among the known ones.

    Raises:
        UserError: neither there nor known, or a download that failed.
    """
    if (found := resolve(path, config_folder)) is not None:
        return found
    known = next((file for file in UPSAMPLERS.values() if file.name == Path(path).name), None)
    if known is None:
        names = ", ".join(file.name for file in UPSAMPLERS.values())
        raise UserError(
            f"no weights at {path}, looked for {_places(config_folder)}: give the path of a checkpoint, one of the "
            f"known file names ({names}), or use the packaged model: {option('model', 'tiny')}"
        )
    return weights.fetch(known)


def _read(path: Path, options: Sequence[str]) -> Any:
    """The config with the changes of the command line, as it is written; its `custom_imports` are not done yet."""
    from mmengine.config import Config, DictAction

    try:
        config = Config.fromfile(str(path), import_custom_modules=False)
    except (Exception, SystemExit) as error:  # a config is a program: it can end in any way
        said = one_line(error) or "a package that a config imports cannot be used in it: write the value itself"
        raise UserError(
            f"cannot read the config {path} ({_line(error)}{type(error).__name__}: {said}): expected a "
            "Python config of mmengine; mend the file, or use one of configs/"
        ) from None
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="*", action=DictAction, default={})
    for change in options:
        check_change(change, config.to_dict())
        try:
            config.merge_from_dict(parser.parse_args(["--cfg-options", change]).cfg_options)
        except Exception as error:
            why = "its brackets are no pairs" if isinstance(error, RecursionError) else one_line(error)
            raise UserError(
                f"{option('options', change[:200], 'cfg_options')} does not fit {path} ({why}): expected "
                "key=value with nested keys by dots, for example model.prob_thd=0.2"
            ) from None
    return config


def _line(error: BaseException) -> str:
    """Where in a config, or in one that it builds on, an error came up, as a part of a sentence."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"]
    inside = [frame for frame in frames if not frame.filename.startswith("<")]
    return f"{Path(inside[-1].filename).name}, line {inside[-1].lineno}, " if inside else ""


def _import_modules(config: Any, path: Path) -> None:
    """Imports the modules of `custom_imports`, for example a data set of the user's own."""
    from mmengine.utils import import_modules_from_strings

    if not (wanted := config.get("custom_imports")):
        return
    try:
        import_modules_from_strings(**wanted)
    except Exception as error:
        raise UserError(
            f"custom_imports of {path} cannot be imported ({one_line(error)}): expected modules that Python finds; "
            "set PYTHONPATH to the folder that holds them, or remove custom_imports if nothing of theirs is needed"
        ) from None


def _place_data(dataset: dict[str, Any], config: Path, data_root: str | Path | None) -> None:
    """Makes `data_prefix` and `ann_file` absolute, and `data_root` empty."""
    root = str(dataset.get("data_root") or "")
    prefix = {key: value for key, value in dataset["data_prefix"].items() if isinstance(value, str | Path)}
    for key, value in prefix.items():
        prefix[key] = str(_find_data(Path(root, value), f"data_prefix.{key}", config, data_root))
    if ann_file := dataset.get("ann_file"):
        found = resolve(ann_file, config.parent)  # such lists come with the code rather than with the data
        if found is None and (packaged := Path(str(files("segearth") / "data" / Path(ann_file).name))).is_file():
            found = packaged
        dataset["ann_file"] = str(found or _find_data(Path(root, ann_file), "ann_file", config, data_root))
    dataset["data_prefix"] = prefix
    dataset["data_root"] = ""


def _place_split(config: Any, split: str, path: Path, data_root: str | Path | None) -> None:
    """As `_place_data`, of another split, which must be none that a table is made of."""
    tables = []
    for name in ("val_dataloader", "test_dataloader"):
        with suppress(AttributeError, KeyError, TypeError, UserError):  # a split that is not here cannot be the same
            dataset = copy.deepcopy(config[name].dataset)
            _place_data(dataset, path, data_root)
            tables.append(dataset)
    other_split(config, split)
    _place_data(config.test_dataloader.dataset, path, data_root)
    check_apart(config, tables)


def _find_data(path: Path, key: str, config: Path, data_root: str | Path | None) -> Path:
    """A data folder or file, or the error that says where it was looked for, and what is there instead."""
    for place in (path, *other_places(path)):
        with suppress(UserError):
            return _find_place(place, key, config, data_root)
    try:
        return _find_place(path, key, config, data_root)
    except UserError as error:
        inside = data_root is not None and path.parts[:1] == ("data",)
        place = Path(*path.parts[1:]) if inside else path
        folders = [user_path(str(data_root), "data root")] if inside else [Path(), config.parent, config.parent.parent]
        others = [Path(*other.parts[1:]) if inside else other for other in other_places(path)]
        near = next(filter(None, (_lacking(folder / other) for folder in folders for other in others)), "")
        near = near or next(filter(None, (near_name(folder / place) for folder in folders)), "")
        raise UserError(f"{error}; {near}" if near else str(error)) from None


def _lacking(path: Path) -> str:
    """A sentence for a folder that is not where the rest of its set is, under a name of another config; else ""."""
    if not path.parent.is_dir():
        return ""
    return f"{path.parent} is there, without {path.name}: prepare the set ({command('prepare')})"


def _find_place(path: Path, key: str, config: Path, data_root: str | Path | None) -> Path:
    """As `_find_data`, of this very path."""
    if data_root is not None and path.parts[:1] == ("data",):
        rest = Path(*path.parts[1:])
        if (found := user_path(data_root, "data root").absolute() / rest).exists():
            return found
        raise UserError(
            f"no data at {found} ({key} of {config}): {option('data_root', str(data_root))} stands for the "
            f"leading data/ of {path}; give the folder that holds {rest.parts[0] if rest.parts else 'the data'}"
        )
    if data_root is not None and not path.is_absolute():
        raise UserError(
            f"{option('data_root')} stands for the leading data/ of the data paths, but {key} of {config} is "
            f"{path}: expected data/...; leave {option('data_root')} out, or change the config"
        )
    if (place := resolve(path, config.parent)) is not None:
        return place
    where = "" if path.is_absolute() else f", looked for {_places(config.parent)}"
    change = option("options", f"test_dataloader.dataset.{key}=PATH", "cfg_options")
    advice = f"give the place of yours with {change}, or change the config"
    if path.parts[:1] == ("data",):
        advice = f"give {option('data_root', 'DIR')}, a folder that stands for the leading data/ of the path"
    elif data_root is not None:
        advice += f", as {option('data_root')} stands for the leading data/ of paths only"
    raise UserError(f"no data at {path} ({key} of {config}){where}: put the data there, or {advice}")


def _place_classes(model: dict[str, Any], config: Path) -> None:
    """Makes the path of the class file absolute."""
    names = Path(model["name_path"])
    found = resolve(names, config.parent) or resolve(names.name, config.parent)
    if found is None:
        raise UserError(
            f"no class file {names} (model.name_path of {config}), looked for {_places(config.parent)}: "
            "give the path of a text file with one class a line, commas between synonyms"
        )
    model["name_path"] = str(found)


def fetch_weights(config: Any, path: Path) -> None:
    """Makes the weights of a config's model ready, and the path of its upsampler's absolute.

    What is not in the cache is downloaded, which may take long: all else should be known to be right.

    Args:
        config: as `load_config` gives it.
        path: of its file.

    Raises:
        UserError: weights that cannot be had.
    """
    model = config.model
    used = model_weights(model).upsampler
    settings = model.get("feature_up_cfg") or {}
    if used is not None and model.get("upsampler") is None and used == settings.get("model_path"):
        model["feature_up_cfg"] = {**settings, "model_path": str(resolve_weights(used, path.parent))}
    model_weights(model).files()


def _places(config_folder: Path) -> str:
    """Where `resolve` looks, for messages."""
    folder = config_folder.absolute()
    places = dict.fromkeys(str(place) for place in (Path.cwd(), folder, folder.parent))
    return f"in {', '.join(places)}"
