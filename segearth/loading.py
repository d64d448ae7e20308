"""`load_model`: a predictor from the name of a model and class names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from segearth.building import build_model, load_clip, load_tokenizer, load_upsampler, read_upsampler
from segearth.clips import Spec, resolve
from segearth.compute import Compute
from segearth.errors import UserError, unknown_option
from segearth.predictor import Predictor
from segearth.provenance import model_settings
from segearth.vocabulary import Classes, Vocabulary, check_threshold

__all__ = [
    "load_clip",
    "load_model",
    "load_tokenizer",
    "load_upsampler",
    "read_upsampler",
]

# Other names of options, as configs have them.
_ALIASES = {"prob_thd": "threshold", "bg_idx": "background"}


def load_model(
    name: str | Path | Spec = "clip-vit-b16",
    classes: Classes = "background; building; road; tree; water",
    device: str | torch.device = "auto",
    precision: str = "fp32",
    *,
    threshold: float = 0.0,
    background: int | str | bool | None = None,
    method: str = "SegEarth",
    ignore_residual: bool = True,
    architecture: str | None = None,
    upsampler: str | Path | None = "default",
    progress: bool = True,
    **options: Any,
) -> Predictor:
    """Builds a predictor from a model's name and class names.

    Args:
        name: a name that `segearth weights list` shows, downloaded on first use; the path of a CLIP's weights; their
            address on the Hugging Face hub, "hf://owner/name/file"; or a `segearth.clips.Spec`.
        classes: a `Vocabulary`, a string such as "road; tree,forest", a nested list, a dict of class to synonyms, or
            the path of a `cls_*.txt` file.
        device: "auto" (CUDA, else Apple's MPS, else CPU), "cpu", "cuda", "cuda:1", "mps".
        precision: of the image encoder, "fp32", "bf16" or "fp16"; all else is computed in float32. "auto" is fp16 on
            CUDA, bf16 on a CPU that has it in hardware, else fp32.
        threshold: pixels whose best score is below become the background, or unclassified where there is none; in
            [0, 1].
        background: that class, by name or index; by default one that is called background, clutter, other, others,
            unlabelled, void or unknown; False: none.
        method: how dense features are taken, a name of `segearth.models.attention.METHODS` or of a package that adds
            methods.
        ignore_residual: see `segearth.models.trunk.Options`.
        architecture: of weights given by path or address, see `load_clip`.
        upsampler: "default" (the model's own; "bilinear" where it has none), "bilinear", a name of
            `segearth.clips.UPSAMPLER_FILES`, the path of a SimFeatUp or FeatUp checkpoint, or None for none.
        progress: whether a download draws a progress bar.
        **options: of `SegEarth`: cls_token_lambda, logit_scale, tta, slide_crop (by default the size of the images that
            the model was trained on, 224 or 336), slide_stride (half of that); of `segearth.models.trunk.Options`:
            cls_column_zero, cls_row_layers; `prob_thd` and `bg_idx` are other names of
            `threshold` and `background`.

    Raises:
        UserError: unknown names, weights that cannot be had or do not fit, an option out of range.
    """
    if "prob_thd" in options and threshold != 0:
        raise UserError("prob_thd and threshold are two names of one option: expected one of them; leave prob_thd out")
    threshold = options.pop("prob_thd") if "prob_thd" in options else check_threshold(threshold)
    background = options.pop("bg_idx", background)
    _check_options(options)
    vocabulary = Vocabulary.of(classes, background)
    compute = Compute.choose(device, precision)
    spec = resolve(name, architecture)
    if "slide_crop" not in options and "slide_stride" not in options:
        options |= {"slide_crop": spec.window, "slide_stride": spec.window // 2}
    model, text = build_model(
        spec,
        vocabulary,
        compute,
        method=method,
        ignore_residual=ignore_residual,
        upsampler=upsampler,
        progress=progress,
        prob_thd=threshold,
        **options,
    )
    settings = model_settings(spec, upsampler, compute.precision) | {
        "method": method,
        "ignore_residual": ignore_residual,
        "slide_crop": model.slide_crop,
        "slide_stride": model.slide_stride,
        "cls_token_lambda": model.cls_token_lambda,
        "logit_scale": model.logit_scale,
        **model.beyond_paper,
    }
    recipe = {
        "name": spec,
        "device": str(compute.device),
        "precision": compute.precision,
        "method": method,
        "ignore_residual": ignore_residual,
        "upsampler": upsampler,
        **options,
    }
    return Predictor(model, vocabulary, text, settings, tuple(recipe.items()), spec.statistics)


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuses unknown options, and names the most similar one."""
    names = (
        "cls_token_lambda",
        "logit_scale",
        "slide_crop",
        "slide_stride",
        "tta",
        "cls_column_zero",
        "cls_row_layers",
    )
    known = [*names, *_ALIASES, *(name for name in inspect.signature(load_model).parameters if name != "options")]
    for name in options:
        if name not in names:
            raise unknown_option("load_model", name, known)
