"""Builds a `SegEarth` from the weights of a CLIP, an upsampler and class names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from segearth import weights
from segearth.architectures import build_clip, config_of, fitting_advice
from segearth.checkpoints import check_fit, load_strictly, read_state_dict
from segearth.clip_names import open_clip_names
from segearth.clips import Spec, resolve
from segearth.clips.upsamplers import build_untrained, identify_upsampler, named_weights, upsampler_class
from segearth.compute import PRECISIONS, Compute
from segearth.errors import UserError
from segearth.models import DenseCLIP, SegEarth, encode_text
from segearth.models.attention import check_method
from segearth.models.averaging import check_views
from segearth.models.precision import usual_defaults
from segearth.models.simfeatup import radius_of
from segearth.models.trunk import Options
from segearth.vocabulary import Vocabulary

TOKENS = 49408  # of CLIP's byte-pair tokenizer


@usual_defaults()
def build_model(
    spec: Spec,
    vocabulary: Vocabulary,
    compute: Compute,
    *,
    method: str,
    ignore_residual: bool,
    upsampler: str | Path | None = "default",
    progress: bool = True,
    **options: Any,
) -> tuple[SegEarth, Callable[[Vocabulary], Tensor]]:
    """Builds the model on a device, and a function that encodes other class names for it.

    Args:
        spec: the CLIP.
        vocabulary: the class names.
        compute: where, and in which precision.
        method: how dense features are taken, a name of `segearth.models.attention.METHODS`.
        ignore_residual: see `DenseCLIP`.
        upsampler: see `load_upsampler`.
        progress: whether a download draws a progress bar.
        **options: of `SegEarth`, and cls_column_zero and cls_row_layers of `DenseCLIP`.

    Raises:
        UserError: unknown names, weights that cannot be had or do not fit, an option out of range.
    """
    encoder_options = {key: options.pop(key) for key in ("cls_column_zero", "cls_row_layers") if key in options}
    check_method(method, Options(ignore_residual, **encoder_options))  # before anything is downloaded
    check_views(options.get("tta"))
    upsample = load_upsampler(upsampler, spec, progress)  # the small file first: what fails should fail early
    clip: Any = load_clip(spec, progress=progress)
    if (tokens := clip.token_embedding.num_embeddings) != TOKENS:
        raise UserError(
            f"the text tower of {spec.name} knows {tokens} tokens: expected the {TOKENS} of CLIP's own tokenizer; a "
            "CLIP with another one can be trained for, but not used with words"
        )
    encoder = DenseCLIP(clip, method, ignore_residual, **encoder_options)
    text = partial(encode_text, clip.to(compute.device), load_tokenizer(int(clip.context_length)))
    model = SegEarth(
        encoder,
        text(vocabulary),
        torch.tensor(vocabulary.query_to_class),
        upsample,
        bg_idx=vocabulary.background or 0,
        **options,
    )
    model.encoder.to(PRECISIONS[compute.precision])
    return model.to(compute.device).eval(), text


@usual_defaults()
def load_clip(
    model: Spec | str | Path | tuple[str, str], architecture: str | None = None, progress: bool = True
) -> nn.Module:
    """An `open_clip.CLIP` in eval mode, float32, on the CPU.

    Args:
        model: what `segearth.clips.resolve` takes. Weights are safetensors or a checkpoint of torch, with the names of
            open_clip or of Hugging Face's transformers.
        architecture: of weights given by path or address: a name of `open_clip.list_models()`, or the path of a JSON
            file as open_clip's `model_configs` or the hub's `open_clip_config.json`.
        progress: whether a download draws a progress bar.

    Raises:
        UserError: no such name or file, no architecture for a file, weights that cannot be had, are damaged, or do not
            fit the architecture.
    """
    spec = resolve(model, architecture)
    config, architecture = config_of(spec), spec.architecture
    path = weights.fetch(spec.file, progress=progress)
    with torch.device("meta"):  # no memory: sizes that only the architecture claims are refused before it is built
        claimed = build_clip(config, architecture)
    state = open_clip_names(read_state_dict(path))
    advice = fitting_advice(state, config, architecture)
    check_fit(claimed, state, str(path), advice)
    clip = build_clip(config, architecture)
    load_strictly(clip, state, str(path), advice)
    return clip.eval().requires_grad_(False)


@cache  # open_clip reads a vocabulary of 49,408 parts for each
def load_tokenizer(context_length: int) -> Callable[..., Tensor]:
    """CLIP's byte-pair tokenizer: texts -> (n, context length) int64; it comes with open_clip."""
    tokenizer: Callable[..., Tensor] = open_clip.SimpleTokenizer(context_length=context_length)
    return tokenizer


@usual_defaults()
def load_upsampler(choice: str | Path | None, row: Spec | None = None, progress: bool = True) -> nn.Module | None:
    """An upsampler by name or from a file, in eval mode on the CPU.

    Args:
        choice: "default" (that of `row`, bilinear without one); "bilinear", "bilateral" or another name of
            `segearth.clips.upsamplers`; a key of `segearth.clips.UPSAMPLER_FILES` or the path of a SimFeatUp or FeatUp
            checkpoint, with "kernels:" before it without its last convolution; or None for none.
        row: the CLIP that it is for; None: one without an upsampler of its own.
        progress: whether a download draws a progress bar.

    Raises:
        UserError: no such name or file, or a file that holds no upsampler.
    """
    if (path := weights.upsampler_file(choice, row, progress=progress)) is not None:
        return read_upsampler(path, choice is not None and named_weights(choice)[1])
    kind = weights.upsampler_kind(choice, row)
    if kind is None:
        return None
    module = build_untrained(kind)
    if not isinstance(module, nn.Module):
        raise UserError(
            f"the upsampler {kind} is a {type(module).__name__}: expected a torch.nn.Module; correct its class"
        )
    return module.eval().requires_grad_(False)


@usual_defaults()
def read_upsampler(path: Path, kernels: bool = False) -> nn.Module:
    """A `JBUOne` or `JBUStack` from a checkpoint; its kind, width and radius are read from the tensors.

    Args:
        path: of the checkpoint.
        kernels: whether its last convolution is left out, so that it takes features of any width.

    Raises:
        UserError: a file that is damaged, would run code, or holds no upsampler.
    """
    name, state = identify_upsampler(read_state_dict(path))
    build, width, radius = upsampler_class(name), state["fixup_proj.1.weight"].shape[:1].numel(), radius_of(state)
    with torch.device("meta"):  # no memory: sizes that the file only claims are refused before anything is built
        check_fit(build(width, radius), state, str(path))
    upsampler = build(width, radius)
    load_strictly(upsampler, state, str(path))
    if kernels:
        upsampler.feat_dim, upsampler.fixup_proj = None, nn.Sequential()
    return upsampler.eval().requires_grad_(False)
