"""The weights that a config's model uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segearth import weights
from segearth.clips import UPSAMPLER_FILES, Spec, known, resolve
from segearth.clips.resolving import HUB
from segearth.clips.upsamplers import KERNELS, SHORT, TRAINED, UPSAMPLERS, is_untrained, named_weights, untrained_names
from segearth.errors import UserError, option
from segearth.openmmlab import places


class MissingWeightsError(UserError):
    """Weights that cannot be had: whatever else needs them fails, too.

    Args:
        kind: "clip" or "upsampler".
        message: see `UserError`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class ModelWeights:
    """The weights of a config's model.

    Attributes:
        source: its CLIP.
        kind: of the upsampler: "jbu_one", "jbu_stack", "bilinear"; None for none, and for a file that tells it.
        upsampler: what `segearth.loading.load_model` takes as `upsampler`.
    """

    source: Spec
    kind: str | None
    upsampler: str | Path | None

    @property
    def kernels(self) -> bool:
        """Whether the upsampler's kernels are used alone, without its last convolution."""
        return self.upsampler is not None and named_weights(self.upsampler)[1]

    def files(self) -> dict[str, Path | None]:
        """The files of "clip" and "upsampler", downloaded if they must be; None for an upsampler without weights.

        Raises:
            MissingWeightsError: a file that is not there, or a failed download.
        """
        kind = "upsampler"  # the small file first
        try:
            upsampler = weights.upsampler_file(self.upsampler, self.source, progress=True)
            kind = "clip"
            return {"clip": weights.fetch(self.source.file), "upsampler": upsampler}
        except UserError as error:
            raise MissingWeightsError(kind, str(error)) from None


def model_weights(model: Mapping[str, Any]) -> ModelWeights:
    """Reads the keys of a config's model that name weights.

    Those that are not used are passed over: a path beside "bilinear", an upsampler beside `feature_up=False`.

    Args:
        model: with `model` and `architecture`, or with `clip_type`, `vit_type` and `feature_up_cfg`; with `upsampler`,
            which replaces the model's or the config's own; and `feature_up`.

    Raises:
        UserError: a model or an upsampler of an unknown name, or an architecture without a model.
    """
    name, architecture = model.get("model"), model.get("architecture")
    if name is not None:
        source = resolve(name, architecture)
    elif architecture is not None:
        raise UserError(
            f"architecture {architecture!r} without model: expected the path or address of weights beside it; give "
            "model, too, or leave architecture out"
        )
    else:
        source = resolve((model.get("clip_type", "CLIP"), model.get("vit_type", "ViT-B/16")))
    if not model.get("feature_up", True):
        return ModelWeights(source, None, None)
    if (chosen := model.get("upsampler")) is not None:
        return ModelWeights(source, chosen if is_untrained(chosen) else None, chosen)
    if name is not None:
        return ModelWeights(source, source.upsampler, "default")
    settings = model.get("feature_up_cfg") or {}
    if not isinstance(settings, Mapping):
        raise UserError(f"feature_up_cfg is {settings!r}: expected model_name and model_path; correct the config")
    kind, path = settings.get("model_name", "jbu_one"), settings.get("model_path")
    if kind == "bilinear":
        return ModelWeights(source, kind, kind)
    if kind not in TRAINED:
        names = ", ".join([*TRAINED, "bilinear"])
        raise UserError(f"unknown upsampler {kind!r} in feature_up_cfg.model_name: use one of {names}")
    if not isinstance(path, str | Path | None):
        raise UserError(f"feature_up_cfg.model_path is {path!r}: expected the path of a checkpoint; correct the config")
    return ModelWeights(source, kind, path or next(iter(UPSAMPLERS[kind].files)))


def placed(model: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The keys of a config's model that name files, with absolute paths.

    Names of tables, addresses, and what is nowhere stay as they are.

    Args:
        model: of a config.
        folder: the config's.
    """
    names = {
        "model": known(),
        "architecture": (),
        "upsampler": ("default", *untrained_names(), *SHORT, *UPSAMPLER_FILES),
    }
    paths = {}
    for key, others in names.items():
        value = model.get(key)
        if not isinstance(value, str | Path) or str(value).startswith(HUB):
            continue
        file, kernels = named_weights(value)
        if str(file) not in others:
            place = places.resolve(file, folder)
            paths[key] = f"{KERNELS * kernels}{place}" if place is not None and place.is_file() else value
    return paths


def fetch_weights(config: Any, path: Path) -> None:
    """Downloads missing weights of a config's model, and makes the path of its upsampler absolute.

    What is not in the cache is downloaded, which may take long: all else should be known to be right.

    Args:
        config: as `load_config` gives it.
        path: of its file.

    Raises:
        MissingWeightsError: weights that cannot be had.
    """
    model = config.model
    used = model_weights(model).upsampler
    settings = model.get("feature_up_cfg") or {}
    if used is not None and model.get("upsampler") is None and used == settings.get("model_path"):
        try:
            place = resolve_weights(used, path.parent)
        except UserError as error:
            raise MissingWeightsError("upsampler", str(error)) from None
        model["feature_up_cfg"] = {**settings, "model_path": str(place)}
    model_weights(model).files()


def resolve_weights(path: str | Path, config_folder: Path) -> Path:
    """Finds weights that a config names: by path, else by file name among the known weights.

    Raises:
        UserError: neither there nor known, or a download that failed.
    """
    if (place := places.resolve(path, config_folder)) is not None:
        return place
    known = next((file for file in UPSAMPLER_FILES.values() if file.name == Path(path).name), None)
    if known is None:
        names = ", ".join(file.name for file in UPSAMPLER_FILES.values())
        raise UserError(
            f"no weights at {path}, looked for {places.places_of(config_folder)}: give the path of a checkpoint, one "
            f"of the known file names ({names}), or use the packaged model: {option('model', 'tiny')}"
        )
    return weights.fetch(known)
