"""A CLIP of the user's own: what the files of its architecture say beyond the architecture itself.

open_clip writes an `open_clip_config.json` with `model_cfg`, the architecture, and `preprocess_cfg`, the mean and the
standard deviation that images are normalised with. The file may be given as the architecture or lie beside the weights.
Nothing here imports torch or open_clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from segearth.clips.spec import STATISTICS, Statistics
from segearth.errors import UserError
from segearth.json_files import excerpt, read_json
from segearth.paths import user_path

BESIDE = "open_clip_config.json"
DECIMALS = 3  # of grey levels, as in `STATISTICS`: the same numbers in a file give the same bits


class OwnFacts(NamedTuple):
    """What is known of a CLIP that is no row of the table.

    Attributes:
        patch: side of a patch in pixels; 0 if it is not known.
        size: side in pixels of the images that it was trained on; 0 if it is not known or no square.
        statistics: that images are normalised with.
    """

    patch: int
    size: int
    statistics: Statistics


def own_facts(architecture: str, weights: Path | None) -> OwnFacts:
    """Reads the file of an architecture, and `BESIDE` in the folder of the weights.

    The statistics are those of the architecture's file; else of the file beside the weights; else `STATISTICS`. What
    cannot be read says nothing: `segearth.architectures` refuses it later.

    Args:
        architecture: a name of open_clip, or the path of a JSON file.
        weights: the path of the weights; None for an address.

    Raises:
        UserError: a mean or a standard deviation that cannot be.
    """
    file = _file_of(architecture)
    config = _read(file)
    model = config.get("model_cfg", config)
    vision = model.get("vision_cfg") if isinstance(model, dict) else None
    patch = size = 0
    if isinstance(vision, dict):  # the defaults are those of open_clip.CLIPVisionCfg
        patch, size = (_pixels(vision.get(key, usual)) for key, usual in (("patch_size", 16), ("image_size", 224)))
    statistics = _statistics(config, file)
    if statistics is None and weights is not None:
        beside = weights.parent / BESIDE
        statistics = _statistics(_read(beside), beside)
    return OwnFacts(patch, size, statistics or STATISTICS)


def _file_of(architecture: str) -> Path:
    """The path of an architecture's file: the user's, or that of open_clip; it need not be there."""
    path = user_path(architecture, "architecture")
    if path.suffix == ".json" or path.is_file():
        return path
    package = find_spec("open_clip")
    folder = Path(package.origin).parent if package is not None and package.origin else Path()
    return folder / "model_configs" / f"{path.name}.json"


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none."""
    try:
        config = read_json(path)
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _pixels(value: object) -> int:
    """A side in pixels; 0 where it is none."""
    return value if type(value) is int and value > 0 else 0


def _statistics(config: Mapping[str, Any], file: Path) -> Statistics | None:
    """The mean and standard deviation of `preprocess_cfg` on 0-255 RGB; None where it has not both."""
    given = config.get("preprocess_cfg")
    if not isinstance(given, dict) or given.get("mean") is None or given.get("std") is None:
        return None
    for key, least in (("mean", 0.0), ("std", 1e-6)):
        values = given[key]
        if not isinstance(values, list) or len(values) != 3 or not all(_is_share(value, least) for value in values):
            raise UserError(
                f"the {key} of preprocess_cfg in {file} is {excerpt(values)}: expected three numbers "
                f"{'from' if key == 'mean' else 'above'} 0 to 1, of red, green and blue; correct the file"
            )
    mean, std = (tuple(round(255 * value, DECIMALS) for value in given[key]) for key in ("mean", "std"))
    return Statistics(mean, std)


def _is_share(value: object, least: float) -> bool:
    """Whether it is a number from `least` to 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= 1
