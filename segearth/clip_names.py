"""The names that a CLIP's weights go by: open_clip's, Hugging Face's, and what training puts before them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

# What training puts before every name: several processes, torch.compile, a model as a part of another one.
PREFIXES = ("module.", "_orig_mod.", "model.", "clip.")

# Nothing to load: a mask and numbers that the architecture gives, the bias of another loss than CLIP's, how often
# torch's AveragedModel has averaged.
PASSED_OVER = frozenset({"attn_mask", "logit_bias", "input_resolution", "context_length", "vocab_size", "n_averaged"})

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
    """A CLIP's tensors under the names of `open_clip.CLIP`, whatever names they were published with.

    Known are open_clip's own names (also of its CustomTextCLIP, whose text tower is `text.`), those of Hugging Face's
    `CLIPModel`, and either with `PREFIXES`. What is no weight is left out (`PASSED_OVER`, position ids). A name that
    is not known stays as it is, so that strict loading tells it.

    Args:
        state: tensors by name; they are not changed.

    Returns:
        The same tensors, or views and concatenations of them.
    """
    state = without_prefixes(state)
    if any(name.startswith("vision_model.") for name in state):
        state = _from_transformers(state)
    if "text.token_embedding.weight" in state and "token_embedding.weight" not in state:
        state = {name.removeprefix("text."): tensor for name, tensor in state.items()}
    named = {name: tensor for name, tensor in state.items() if name not in PASSED_OVER}
    if (scale := named.get("logit_scale")) is not None and scale.numel() == 1:
        named["logit_scale"] = scale.reshape(())  # some are saved as a list of one
    return named


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by their names without those of `PREFIXES` that every name begins with, but for `PASSED_OVER`."""
    named = {name: tensor for name, tensor in state.items() if name not in PASSED_OVER}
    while prefix := next((p for p in PREFIXES if named and all(name.startswith(p) for name in named)), ""):
        named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    return named


class Sizes(NamedTuple):
    """What the tensors of an `open_clip.CLIP` tell about its architecture.

    Attributes:
        embed_dim: width D of the joint space.
        width: of the image tower's tokens.
        layers: of the image tower.
        patch_size: side of a patch in pixels.
        image_size: side in pixels of the images that the position embedding is for.
        text_width: of the text tower's tokens.
        text_layers: of the text tower.
        context_length: tokens of a text.
        vocab_size: tokens that it knows.
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
        """Patches along a side of such an image."""
        return self.image_size // self.patch_size


def sizes_of(state: Mapping[str, Tensor]) -> Sizes | None:
    """The sizes of a CLIP with a ViT and a square grid, from its tensors under open_clip's names; else None."""
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
    """How many layers a tower has."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)})


def _from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of Hugging Face's `CLIPModel` under open_clip's names."""
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(".embeddings.position_ids"):  # 0, 1, 2, ...
            continue
        if name in _PROJECTIONS and tensor.ndim == 2:
            named[_PROJECTIONS[name]] = tensor.T  # a layer's weight there, the right factor of a product here
        elif layer := _LAYER.fullmatch(name):
            tower, number, part, kind = layer.groups()
            block = f"{_TOWERS[tower]}.resblocks.{number}"
            if part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
                stem = name[: layer.start(3)] + "self_attn."
                three = _alike([state.get(f"{stem}{one}_proj.{kind}") for one in "qkv"])
                if not three:
                    named[name] = tensor
                elif part.endswith("q_proj"):  # once for all three
                    named[f"{block}.attn.in_proj_{kind}"] = torch.cat(three)
            else:
                named[f"{block}.{_PARTS.get(part, part)}.{kind}"] = tensor
        else:
            named[_OUTSIDE_LAYERS.get(name, name)] = tensor
    return named


def _alike(tensors: list[Tensor | None]) -> list[Tensor]:
    """The tensors, if all are there and of one shape that can be put one below the other; else none."""
    found = [tensor for tensor in tensors if tensor is not None and tensor.ndim > 0]
    return found if len(found) == len(tensors) and len({tensor.shape for tensor in found}) == 1 else []
