"""Which weights a config's model uses: one answer for the segmentor, the results and the fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segearth import weights
from segearth.errors import UserError

# SimFeatUp and FeatUp weights of `feature_up_cfg.model_name` where the config names no file.
UPSAMPLER_FILES = {"jbu_one": "xclip_jbu_one_million_aid", "jbu_stack": "clip_jbu_stack_cocostuff"}


@dataclass(frozen=True)
class ModelWeights:
    """The weights of a config's model.

    Attributes:
        source: its row in the table of weights.
        kind: of the upsampler: "jbu_one", "jbu_stack", "bilinear"; None for none.
        upsampler: what `segearth.loading.load_model` takes as `upsampler`.
    """

    source: weights.Model
    kind: str | None
    upsampler: str | Path | None

    def files(self) -> dict[str, Path | None]:
        """The files of "clip" and "upsampler", downloaded if they must be; None for an upsampler without weights.

        Raises:
            UserError: a file that is not there, or a failed download.
        """
        upsampler = weights.upsampler_file(self.upsampler, self.source, progress=True)  # the small file first
        return {"clip": weights.fetch(self.source.file), "upsampler": upsampler}


def model_weights(model: Mapping[str, Any]) -> ModelWeights:
    """Reads the keys of a config's model that name weights.

    Those that are not used are passed over: a path beside "bilinear", an upsampler beside `feature_up=False`.

    Args:
        model: with `model`, or with `clip_type`, `vit_type` and `feature_up_cfg`; and `feature_up`.

    Raises:
        UserError: a model or an upsampler of an unknown name.
    """
    name = model.get("model")
    if name is not None:
        source = weights.model(name)
    else:
        source = weights.model_for(model.get("clip_type", "CLIP"), model.get("vit_type", "ViT-B/16"))
    if not model.get("feature_up", True):
        return ModelWeights(source, None, None)
    if name is not None:
        return ModelWeights(source, source.upsampler, "default")
    settings = model.get("feature_up_cfg") or {}
    if not isinstance(settings, Mapping):
        raise UserError(f"feature_up_cfg is {settings!r}: expected model_name and model_path; correct the config")
    kind, path = settings.get("model_name", "jbu_one"), settings.get("model_path")
    if kind == "bilinear":
        return ModelWeights(source, kind, kind)
    if kind not in tuple(UPSAMPLER_FILES):
        known = ", ".join([*UPSAMPLER_FILES, "bilinear"])
        raise UserError(f"unknown upsampler {kind!r} in feature_up_cfg.model_name: use one of {known}")
    if not isinstance(path, str | Path | None):
        raise UserError(f"feature_up_cfg.model_path is {path!r}: expected the path of a checkpoint; correct the config")
    return ModelWeights(source, kind, path or UPSAMPLER_FILES[kind])
