"""Architectures of CLIPs, by names of open_clip or from its JSON files: read, checked and built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import open_clip
from open_clip import CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from segearth import weights
from segearth.clip_names import Sizes, sizes_of
from segearth.clips import Spec
from segearth.errors import UserError, is_out_of_memory, option
from segearth.json_files import read_json
from segearth.paths import user_path

# A name that differs in the activation alone loads as well, and gives worse maps: so both are named.
ARCHITECTURES = (
    "a name of open_clip.list_models(), such as ViT-L-14 (LAION, RemoteCLIP) or ViT-L-14-quickgelu (OpenAI, MetaCLIP), "
    "or a JSON file of open_clip"
)
MOST_LAYERS = 1000  # open_clip's deepest tower has 64; each is built before it is compared with any weights
# Options of a ViT of open_clip that ends as CLIP's does: the [CLS] token, through ln_post and the projection.
_USUAL_ORDER = {"no_ln_pre": False, "final_ln_after_pool": False, "pool_type": "tok"}
# Options of a ViT of open_clip whose attention is not the one that `DenseCLIP` computes from its weights.
OWN_ATTENTION = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn")


def config_of(spec: Spec) -> Any:
    """The architecture of a CLIP, as open_clip's files have it.

    Raises:
        UserError: as of `read_architecture`.
    """
    if spec.own or spec.architecture.endswith(".json"):
        return read_architecture(spec.architecture)
    return clip_config(spec.architecture)


def read_architecture(architecture: str) -> Any:
    """Reads an architecture as open_clip's files have it.

    Args:
        architecture: a name of `open_clip.list_models()`, or the path of a JSON file.

    Raises:
        UserError: it is neither.
    """
    path = user_path(architecture, "architecture")
    if path.suffix == ".json" or path.is_file():
        try:
            config = read_json(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot read the architecture {architecture} ({error}): expected a JSON file of open_clip; correct it"
            ) from None
        return config.get("model_cfg", config) if isinstance(config, dict) else config  # as Hugging Face's hub has it
    if architecture not in open_clip.list_models():
        raise UserError(f"unknown architecture {architecture!r}: expected {ARCHITECTURES}; give one of these")
    return clip_config(architecture)


def clip_config(architecture: str) -> dict[str, Any]:
    """The architecture of a CLIP, as `open_clip.CLIP` takes it.

    Args:
        architecture: a name that open_clip knows, or that of a JSON file shipped in `segearth/data`.
    """
    config = open_clip.get_model_config(architecture)
    if config is None:
        config = json.loads(weights.packaged(f"{architecture}.json").read_text())
    return dict(config)


def build_clip(config: Any, architecture: str) -> nn.Module:
    """An `open_clip.CLIP` with random weights, of an architecture that a user chose.

    Args:
        config: as open_clip's files of architectures have it; entries that are of no `open_clip.CLIP` are passed over.
        architecture: what it is called, for the message.

    Raises:
        UserError: it is none of a CLIP with a tower for images and one for texts.
    """
    parts = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")
    try:
        tower = _foreign_tower(config["vision_cfg"], config["text_cfg"])
        if tower is None:
            return open_clip.CLIP(**{name: value for name, value in config.items() if name in parts})
    except (ArithmeticError, AttributeError, AssertionError, LookupError, TypeError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise UserError(
                f"not enough memory for a CLIP of the architecture {architecture}: use a smaller one, or correct its "
                "file"
            ) from None
        raise UserError(
            f"no CLIP can be built from the architecture {architecture} ({type(error).__name__}: {error}): expected "
            "embed_dim, vision_cfg and text_cfg of a CLIP, as in the files of open_clip's model_configs"
        ) from None
    raise UserError(
        f"the architecture {architecture} cannot be used: {tower}; expected open_clip's own ViT and text tower, with "
        "the parts and the tokenizer of CLIP: ViT-S, M, B, L, H, g, e or bigG, with or without -quickgelu; use the "
        "weights of such a CLIP"
    )


def _foreign_tower(vision: Mapping[str, Any], text: Mapping[str, Any]) -> str | None:
    """Why the towers of a CLIP cannot be used, as a clause; None if they can. Nothing is downloaded or built.

    Args:
        vision: `vision_cfg` of an architecture.
        text: its `text_cfg`.
    """
    if name := vision.get("timm_model_name"):
        return f"its image tower is timm's {name}, which has other parts and names"
    for what, tower in (("image", vision), ("text", text)):
        if isinstance(layers := tower.get("layers"), int) and layers > MOST_LAYERS:
            return f"its {what} tower has {layers:,} layers"
    if isinstance(vision.get("layers"), list | tuple):
        return "its image tower is a ResNet (ModifiedResNet)"
    if name := text.get("hf_model_name"):
        return f"its text tower is {name} of Hugging Face's transformers"
    if vision.get("attentional_pool") or text.get("embed_cls"):
        return "its towers are CoCa's: the image tower ends in an attentional pooler, or texts in a [CLS] token"
    if name := text.get("hf_tokenizer_name"):
        return f"its texts are split by the tokenizer {name}, not by CLIP's own, as of CLIPA and the worldwide models"
    if other := [f"{key}={vision[key]!r}" for key, usual in _USUAL_ORDER.items() if vision.get(key, usual) != usual]:
        return f"its image tower has its norms in another order ({', '.join(other)}), as of CLIPA"
    if vision.get("block_type") == "custom" or any(vision.get(name) for name in OWN_ATTENTION):
        return "the blocks of its image tower have an attention of their own (" + ", ".join(OWN_ATTENTION) + ")"
    return None


def fitting_advice(state: Mapping[str, Tensor], config: Mapping[str, Any], architecture: str) -> str:
    """Advice on the architecture that a CLIP's tensors fit; "" if they fit the chosen one or no architecture is known.

    Args:
        state: under open_clip's names.
        config: the chosen architecture.
        architecture: what it is called.
    """
    sizes, chosen = sizes_of(state), _sizes(config)
    if sizes is None or sizes == chosen:
        return ""
    text = f"they are of a CLIP for images of {sizes.image_size} pixels ({sizes.grid} × {sizes.grid} patches)"
    names = [name for name in open_clip.list_models() if _sizes(open_clip.get_model_config(name)) == sizes]
    suffix = "-quickgelu"  # that cannot be told from the tensors: as in the chosen one
    alike = [name for name in names if name.endswith(suffix) == architecture.endswith(suffix)] or names
    if alike:
        return f"{text}: use {option('architecture', alike[0])}"
    listed = ", ".join(f"{name} {size}" for name, size in sizes._asdict().items())
    return f"{text}: give {option('architecture')} a JSON file with these sizes: {listed}"


def _sizes(config: Mapping[str, Any]) -> Sizes | None:
    """The sizes of an architecture, to compare with those of `sizes_of`; None for other towers than a ViT."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if _foreign_tower(vision, text) is not None or not isinstance(vision.get("image_size", 0), int):
        return None
    image, words = CLIPVisionCfg(**vision), CLIPTextCfg(**text)
    sizes = (config["embed_dim"], image.width, image.layers, image.patch_size, image.image_size)
    return Sizes(*sizes, words.width, words.layers, words.context_length, words.vocab_size)
