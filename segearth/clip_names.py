"""Converts the state-dict keys of CLIPs to open_clip's: from Hugging Face's, and without prefixes of training."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

# Prefixes that training adds to every key: DataParallel, torch.compile, a CLIP as a part of another model.
PREFIXES = ("module.", "_orig_mod.", "model.", "clip.")

# Keys that are not loaded: a mask and numbers that the architecture defines, the bias of another loss than CLIP's,
# the step count of torch's AveragedModel.
IGNORED_KEYS = frozenset({"attn_mask", "logit_bias", "input_resolution", "context_length", "vocab_size", "n_averaged"})

_TOWERS = {"vision": "visual.transformer", "text": "transformer"}
_PARTS = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d+)\.([\w.]+)\.(weight|bias)")
_OUTSIDE_LAYERS = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # spelt so
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_PROJECTIONS = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}


def open_clip_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames a CLIP's tensors to the keys of `open_clip.CLIP`.

    Accepts open_clip's own keys (also of its CustomTextCLIP, whose text tower is `text.`) and those of Hugging Face's
    `CLIPModel`, both also with `PREFIXES`. `IGNORED_KEYS` and position ids are left out. An unknown key stays as it is,
    so that strict loading reports it.

    Args:
        state: tensors by key; they are not changed.

    Returns:
        The same tensors, or views and concatenations of them.
    """
    state = without_prefixes(state)
    if any(name.startswith("vision_model.") for name in state):
        state = _from_transformers(state)
    if "text.token_embedding.weight" in state and "token_embedding.weight" not in state:
        state = {name.removeprefix("text."): tensor for name, tensor in state.items()}
    named = {name: tensor for name, tensor in state.items() if name not in IGNORED_KEYS}
    if (scale := named.get("logit_scale")) is not None and scale.numel() == 1:
        named["logit_scale"] = scale.reshape(())  # some are saved as a list of one
    return named


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Removes the `PREFIXES` that all keys have in common, and drops `IGNORED_KEYS`."""
    named = {name: tensor for name, tensor in state.items() if name not in IGNORED_KEYS}
    while prefix := next((p for p in PREFIXES if named and all(name.startswith(p) for name in named)), ""):
        named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    return named


class Sizes(NamedTuple):
    """Sizes of a CLIP's architecture, as its tensors have them.

    Attributes:
        embed_dim: width D of the joint space.
        width: of the image tower's tokens.
        layers: of the image tower.
        patch_size: side of a patch in pixels.
        image_size: side in pixels of the images that the position embedding is for.
        text_width: of the text tower's tokens.
        text_layers: of the text tower.
        context_length: tokens of a text.
        vocab_size: number of tokens.
    """

    embed_dim: int
    width: int
    layers: int
    patch_size: int
    image_size: int
    text_width: int
    text_layers: int
    context_length: int
    vocab_size: int

    @property
    def grid(self) -> int:
        """Patches along a side of an image of `image_size`."""
        return self.image_size // self.patch_size


def sizes_of(state: Mapping[str, Tensor]) -> Sizes | None:
    """The sizes of a CLIP with a ViT and a square grid, from its tensors by open_clip's keys; else None."""
    dimensions = {
        "visual.conv1.weight": 4,
        "visual.positional_embedding": 2,
        "visual.proj": 2,
        "token_embedding.weight": 2,
        "positional_embedding": 2,
    }
    if any(name not in state or state[name].ndim != count for name, count in dimensions.items()):
        return None
    patches, places, proj, tokens, positions = (state[name].shape for name in dimensions)
    grid = math.isqrt(max(places[0] - 1, 0))
    if grid**2 + 1 != places[0]:
        return None
    layers, text_layers = (_layers(state, f"{tower}.resblocks.") for tower in _TOWERS.values())
    patch = patches[2]
    return Sizes(proj[1], patches[0], layers, patch, grid * patch, tokens[1], text_layers, positions[0], tokens[0])


def _layers(names: Iterable[str], prefix: str) -> int:
    """Number of layers of a tower."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)})


def _from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors of Hugging Face's `CLIPModel` to open_clip's keys."""
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(".embeddings.position_ids"):  # 0, 1, 2, ...
            continue
        if name in _PROJECTIONS and tensor.ndim == 2:
            named[_PROJECTIONS[name]] = tensor.T  # the weight of a linear layer there, a matrix on the right here
        elif layer := _LAYER.fullmatch(name):
            tower, number, part, kind = layer.groups()
            block = f"{_TOWERS[tower]}.resblocks.{number}"
            if part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
                stem = name[: layer.start(3)] + "self_attn."
                qkv = _of_equal_shape([state.get(f"{stem}{letter}_proj.{kind}") for letter in "qkv"])
                if not qkv:
                    named[name] = tensor
                elif part.endswith("q_proj"):  # once for all three
                    named[f"{block}.attn.in_proj_{kind}"] = torch.cat(qkv)
            else:
                named[f"{block}.{_PARTS.get(part, part)}.{kind}"] = tensor
        else:
            named[_OUTSIDE_LAYERS.get(name, name)] = tensor
    return named


def _of_equal_shape(tensors: list[Tensor | None]) -> list[Tensor]:
    """The tensors if all exist, have one shape and can be concatenated; else an empty list."""
    present = [tensor for tensor in tensors if tensor is not None and tensor.ndim > 0]
    return present if len(present) == len(tensors) and len({tensor.shape for tensor in present}) == 1 else []
