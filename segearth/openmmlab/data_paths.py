"""Finds a config's data and class file, and makes their paths absolute."""

from __future__ import annotations

import copy
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from segearth.datasets.places import near_name, other_places
from segearth.errors import UserError, command, option
from segearth.openmmlab.calibration_split import check_apart, other_split
from segearth.openmmlab.places import places_of, resolve
from segearth.paths import user_path


def place_data(dataset: dict[str, Any], config: Path, data_root: str | Path | None) -> None:
    """Makes `data_prefix` and `ann_file` absolute, and `data_root` empty."""
    root = str(dataset.get("data_root") or "")
    prefix = {key: value for key, value in dataset["data_prefix"].items() if isinstance(value, str | Path)}
    for key, value in prefix.items():
        prefix[key] = str(_find_data(Path(root, value), f"data_prefix.{key}", config, data_root))
    if ann_file := dataset.get("ann_file"):
        path = resolve(ann_file, config.parent)  # such lists come with the code rather than with the data
        if path is None and (packaged := Path(str(files("segearth") / "data" / Path(ann_file).name))).is_file():
            path = packaged
        dataset["ann_file"] = str(path or _find_data(Path(root, ann_file), "ann_file", config, data_root))
    dataset["data_prefix"] = prefix
    dataset["data_root"] = ""


def place_split(config: Any, split: str, path: Path, data_root: str | Path | None) -> None:
    """As `place_data`, for another split than those of published tables."""
    tables = []
    for name in ("val_dataloader", "test_dataloader"):
        with suppress(AttributeError, KeyError, TypeError, UserError):  # a split that is not here cannot be the same
            dataset = copy.deepcopy(config[name].dataset)
            place_data(dataset, path, data_root)
            tables.append(dataset)
    other_split(config, split)
    place_data(config.test_dataloader.dataset, path, data_root)
    check_apart(config, tables)


def place_classes(model: dict[str, Any], config: Path) -> None:
    """Makes the path of the class file absolute."""
    names = Path(model["name_path"])
    path = resolve(names, config.parent) or resolve(names.name, config.parent)
    if path is None:
        raise UserError(
            f"no class file {names} (model.name_path of {config}), looked for {places_of(config.parent)}: "
            "give the path of a text file with one class a line, commas between synonyms"
        )
    model["name_path"] = str(path)


def _find_data(path: Path, key: str, config: Path, data_root: str | Path | None) -> Path:
    """Finds a data folder or file; the error says where it was looked for, and what is there instead."""
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
    """A hint where a set is there without this folder; else ""."""
    if not path.parent.is_dir():
        return ""
    return f"{path.parent} is there, without {path.name}: prepare the set ({command('prepare')})"


def _find_place(path: Path, key: str, config: Path, data_root: str | Path | None) -> Path:
    """As `_find_data`, for this path alone."""
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
    where = "" if path.is_absolute() else f", looked for {places_of(config.parent)}"
    change = option("options", f"test_dataloader.dataset.{key}=PATH", "cfg_options")
    advice = f"give the place of yours with {change}, or change the config"
    if path.parts[:1] == ("data",):
        advice = f"give {option('data_root', 'DIR')}, a folder that stands for the leading data/ of the path"
    elif data_root is not None:
        advice += f", as {option('data_root')} stands for the leading data/ of paths only"
    raise UserError(f"no data at {path} ({key} of {config}){where}: put the data there, or {advice}")
