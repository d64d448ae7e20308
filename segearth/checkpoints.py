"""Reading weights from files without ever running what is in them."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from segearth.errors import UserError, without_warnings

ZIP = b"PK\x03\x04"  # torch.save since torch 1.6
PICKLE = b"\x80"  # torch.save before, or on request
WIDTH_GIVER = "fixup_proj.1.weight"  # an upsampler's last convolution: as wide as the CLIP's features


class _Unreadable(Exception):  # noqa: N818 (never leaves this module)
    """Why a file cannot be read, as a part of a sentence."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a checkpoint of torch, on the CPU, by name.

    A checkpoint that holds them as its `state_dict`, beside an optimiser's state for instance, is unwrapped, and the
    prefix `module.` of training in several processes is taken off.
    Anything that would have to be run (other Python objects, TorchScript) is refused.

    Raises:
        UserError: The file is missing, damaged, or holds something else than named tensors.
    """
    if not path.is_file():
        raise UserError(
            f"No weights at {path}: {'it is a folder' if path.is_dir() else 'there is no such file'}. "
            "Expected a .safetensors file or a checkpoint of torch. Check the path."
        )
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
        return _tensors(content)
    except _Unreadable as reason:
        raise UserError(
            f"Could not read weights from {path}: {reason}. Expected a .safetensors file, or a checkpoint of "
            "nothing but tensors by name. Download or copy it again, or use another file."
        ) from None


def read_notes(path: Path) -> dict[str, str]:
    """The notes in a safetensors file; empty where it has none."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load weights that must fit exactly; they are cast to the module's own dtypes.

    Args:
        module: What to load into.
        state: Tensors by the module's own parameter names.
        source: Where they come from, for the message.

    Raises:
        UserError: A tensor is missing, unknown, or of another shape; nothing is loaded then.
    """
    own: dict[str, Tensor] = module.state_dict()
    misfits = [name for name in own if name in state and state[name].shape != own[name].shape]
    problems = [
        f"they were made for features of width {len(state[name])}, the model gives {len(own[name])}"
        for name in misfits
        if name.endswith(WIDTH_GIVER) and state[name].ndim > 0
    ]
    if missing := [name for name in own if name not in state]:
        problems.append(f"they lack {_some(missing)}")
    if unknown := [name for name in state if name not in own]:
        problems.append(f"they have {_some(unknown)}, unknown to the model")
    if misfits:
        problems.append(_some([f"{n} is {list(state[n].shape)}, not {list(own[n].shape)}" for n in misfits]))
    if problems:
        raise UserError(
            f"The weights of {source} do not fit: {'; '.join(problems)}. Expected exactly the tensors of "
            f"this {type(module).__name__}. Use the weights of this model, or the model of these weights."
        )
    module.load_state_dict(state)  # copies into the module's tensors: float16 becomes float32 here


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path, device="cpu")
    except Exception as error:
        raise _Unreadable(f"it is damaged or incomplete ({_one_line(error)})") from None


def _read_checkpoint(path: Path) -> object:
    """Whatever torch's restricted unpickler accepts."""
    try:
        with path.open("rb") as file:
            head = file.read(len(ZIP))
        if head == ZIP:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # torch itself does not look at the checksums
                    raise _Unreadable("it is damaged: its checksums do not fit")
                if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                    raise _Unreadable(
                        "it is a TorchScript archive, which is a program; of OpenAI's CLIP save the tensors: "
                        "open_clip.create_model('ViT-L-14-quickgelu', pretrained='openai').state_dict(), say"
                    )
        elif not head.startswith(PICKLE):
            raise _Unreadable("it is not a file of torch at all")
        with without_warnings():  # the error below says what matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except _Unreadable:
        raise
    except pickle.UnpicklingError as error:
        # torch's message is a page that advises to run the code; only the object's name is of use
        named = re.search(r"(?:GLOBAL|module) ([\w.]+)", str(error))
        objects = f"objects that would have to be run ({named[1]})" if named else "more than tensors"
        raise _Unreadable(f"it holds {objects}, or is damaged") from None  # a cut-off name looks the same
    except OSError as error:
        raise _Unreadable(f"it cannot be read ({error.strerror or type(error).__name__})") from None
    except Exception as error:  # a damaged file can raise anything
        raise _Unreadable(f"it is damaged or incomplete ({type(error).__name__})") from None


def _tensors(content: object) -> dict[str, Tensor]:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise _Unreadable(f"it holds a {type(content).__name__} instead of tensors by name")
    if not content:
        raise _Unreadable("it holds no tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _Unreadable(f"its entry {name!r} is a {type(value).__name__}, not a tensor")
        if value.is_floating_point() and not value.isfinite().all():
            raise _Unreadable(f"its entry {name!r} holds infinite numbers or none at all")
    prefix = "module."
    wrapped = all(name.startswith(prefix) for name in content)
    return cast(
        dict[str, Tensor], {name.removeprefix(prefix): t for name, t in content.items()} if wrapped else content
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
