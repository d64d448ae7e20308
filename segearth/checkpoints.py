"""Reads weights from files without running anything in them."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from segearth.errors import UserError, printable, without_warnings

ZIP = b"PK\x03\x04"  # torch.save since torch 1.6
PICKLE = b"\x80"  # torch.save before, or on request
LONGEST_HEADER = 100_000_000  # bytes of a safetensors header, by its own specification
LEGACY_PICKLES = 5  # of a file of torch before 1.6: a number, a version, about the system, the content, its storages
# Entries of a checkpoint that hold the weights; averaged weights come last.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "module", "net"),
    *("ema", "model_ema", "ema_state_dict", "state_dict_ema"),
)
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
TIED = 2  # a weight that a model uses in two places is in its file once
WIDTH_GIVER = "fixup_proj.1.weight"  # an upsampler's last convolution: as wide as the CLIP's features


class _Unreadable(Exception):  # noqa: N818 (never leaves this module)
    """Why a file cannot be read, as a part of a sentence."""


class _PassedOver:
    """Stands for an object that trainers save beside weights: the object itself is neither made nor run."""

    def __init__(self, *_: object) -> None:
        """Takes the arguments of the object."""

    def __setstate__(self, _: object) -> None:
        """Takes the state of the object."""


class _AnyEnding(str):
    """A path without an ending for torch.load, which would read every NAME.safetensors as safetensors."""

    __slots__ = ()

    def endswith(self, *_: object) -> bool:
        """False for every ending."""
        return False


# Losses and rates of numpy, options of a command: in checkpoints of open_clip's trainer, for instance.
_BESIDE_WEIGHTS = (
    "argparse.Namespace",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a checkpoint of torch, on the CPU, by name.

    The content tells the kind, not the name's ending. A checkpoint that holds weights as one of `WRAPPERS`, beside an
    optimiser's state for instance, is unwrapped. Anything that would have to be run (other Python objects, TorchScript)
    is refused.

    Values are read where they are used: until then no more memory is taken than the names, shapes and types need,
    whatever the file claims (but for files of torch before 1.6, which are read whole).

    Returns:
        Dense tensors of any type of number, none of which claims more values than the file has.

    Raises:
        UserError: The file is missing, damaged, or holds something else than named tensors.
    """
    if not path.is_file():
        raise UserError(
            f"no weights at {path} ({'it is a folder' if path.is_dir() else 'there is no such file'}): "
            "expected a .safetensors file or a checkpoint of torch; check the path"
        )
    try:
        return _tensors(_content(path), path.stat().st_size)
    except _Unreadable as reason:
        raise UserError(
            f"cannot read weights from {path}: {reason}; expected a .safetensors file, or a checkpoint of nothing but "
            "tensors by name; download or copy it again, or use another file"
        ) from None


def read_notes(path: Path) -> dict[str, str]:
    """The notes in a safetensors file; empty where it has none."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def check_fit(module: nn.Module, state: Mapping[str, Tensor], source: str, advice: str = "") -> None:
    """Refuses weights that do not fit a module exactly, by names, shapes and types; no value is read.

    Args:
        module: What the weights are for; it may be on the device "meta".
        state: Tensors by the module's own parameter names.
        source: Where they come from, for the message.
        advice: What to do about it, for the message.

    Raises:
        UserError: A tensor is missing, unknown, of another shape, or not of floating-point numbers.
    """
    expected: dict[str, Tensor] = module.state_dict()
    misfits = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    problems = [
        f"they were made for features of width {len(state[name])}, the model gives {len(expected[name])}"
        for name in misfits
        if name.endswith(WIDTH_GIVER) and state[name].ndim > 0
    ]
    if missing := [name for name in expected if name not in state]:
        problems.append(f"they lack {_some(missing)}")
    if unknown := [name for name in state if name not in expected]:
        problems.append(f"they have {_some(unknown)}, unknown to the model")
    if misfits:
        problems.append(_some([f"{n} is {list(state[n].shape)}, not {list(expected[n].shape)}" for n in misfits]))
    numbers = [name for name in expected if name in state and expected[name].is_floating_point()]
    if others := [name for name in numbers if state[name].dtype not in FLOATS]:
        shown = _some([f"{name} is of {str(state[name].dtype).removeprefix('torch.')}" for name in others])
        problems.append(f"{shown}, not of float32, float16, bfloat16 or float64: use those that were not quantized")
    if problems:
        raise UserError(
            f"the weights of {source} do not fit: {'; '.join(problems)}; expected exactly the tensors of this "
            f"{type(module).__name__}; {advice or 'use the weights of this model, or the model of these weights'}"
        )


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str, advice: str = "") -> None:
    """Loads weights that must fit exactly; they are cast to the dtypes of the module.

    Args:
        module: What to load into.
        state: Tensors by the module's own parameter names.
        source: Where they come from, for the message.
        advice: What to do where they do not fit, for the message.

    Raises:
        UserError: As of `check_fit`; or a value is no number, infinite, or too large for the module's type of number.
            Nothing is loaded then.
    """
    check_fit(module, state, source, advice)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not _within(state[name], torch.finfo(tensor.dtype).max):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"the weights of {source} cannot be used: {name} holds values that are infinite, no numbers (NaN), or "
                f"too large for {kind}; expected finite {kind} numbers; download or copy the file again, or use "
                "another one"
            )
    module.load_state_dict(state)  # copies into the module's tensors: float16 becomes float32 here


def _within(values: Tensor, limit: float) -> bool:
    """Whether all values are numbers from -limit to limit."""
    if values.numel() == 0:
        return True
    lowest, highest = (float(value) for value in values.aminmax())  # NaN, if there is one
    return -limit <= lowest and highest <= limit


def _content(path: Path) -> object:
    """The content of a file of weights, whose kind its first bytes tell."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise _Unreadable(f"it cannot be read ({error.strerror or type(error).__name__})") from None
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER:
        return _read_safetensors(path)
    if head.startswith(ZIP):
        return _read_checkpoint(path, zipped=True)
    if head.startswith(PICKLE):
        return _read_checkpoint(path, zipped=False)
    raise _Unreadable("it is damaged, or not a file of weights at all: neither of safetensors nor of torch")


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path, device="cpu")
    except Exception as error:
        raise _Unreadable(f"it is damaged or incomplete ({_one_line(error)})") from None


def _read_checkpoint(path: Path, zipped: bool) -> object:
    """The content of a checkpoint by the restricted unpickler of torch; objects that are no weights are passed over."""
    try:
        if zipped:
            with zipfile.ZipFile(path) as archive:
                _check_archive(archive, path.stat().st_size)
        else:
            with path.open("rb") as file:
                _check_objects(file, LEGACY_PICKLES)
        beside: list[Any] = [(_PassedOver, name) for name in _BESIDE_WEIGHTS]
        with without_warnings(), torch.serialization.safe_globals(beside):  # the errors below say what matters
            # Memory-mapped: a storage can be no larger than the file, and takes memory where it is used.
            return torch.load(_AnyEnding(path), map_location="cpu", weights_only=True, mmap=zipped)
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


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Refuses a zip file that torch did not write, before anything in it is read.

    Args:
        archive: The opened file.
        size: Of the file, in bytes.
    """
    members = archive.infolist()
    pickled = [member for member in members if member.filename.endswith("/data.pkl")]
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise _Unreadable(
            "it is a TorchScript archive, which is a program; of OpenAI's CLIP save the tensors: "
            "open_clip.create_model('ViT-L-14-quickgelu', pretrained='openai').state_dict(), say"
        )
    if not pickled:
        raise _Unreadable(
            f"it is a zip file of something else than torch's ({_some([member.filename for member in members])}); "
            "if it holds a checkpoint, unpack that"
        )
    # torch stores its entries as they are, one after another: what is compressed or overlaps claims more than there is.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise _Unreadable("its entries are compressed, which torch does not do")
    if sum(member.file_size for member in members) > size:
        raise _Unreadable(f"its entries claim more than its {size:,} bytes")
    if archive.testzip() is not None:  # torch itself does not look at the checksums
        raise _Unreadable("it is damaged: its checksums do not fit")
    for member in pickled:
        with archive.open(member) as file:
            _check_objects(file, 1)


def _check_objects(file: IO[bytes], pickles: int) -> None:
    """Refuses pickles that make an array of bytes of any length from a number, which torch would do."""
    for _ in range(pickles):
        begin = file.tell()
        if not file.read(1):
            return  # torch says what is missing
        file.seek(begin)
        for operation, value, _ in pickletools.genops(file):
            if operation.name == "GLOBAL" and str(value).endswith(" bytearray"):
                raise _Unreadable("it holds objects that would have to be made (bytearray)")


def _tensors(content: object, size: int) -> dict[str, Tensor]:
    """The tensors by name in what a file holds.

    Args:
        content: What the file holds.
        size: Of the file, in bytes.
    """
    for _ in WRAPPERS:  # a wrapper in a wrapper, but not for ever
        wrapped = [content[name] for name in WRAPPERS if name in content] if isinstance(content, dict) else []
        content = next((inner for inner in wrapped if isinstance(inner, dict)), content)
    if not isinstance(content, dict):
        raise _Unreadable(f"it holds a {type(content).__name__} instead of tensors by name")
    if not content:
        raise _Unreadable("it holds no tensors")
    tensors: dict[str, Tensor] = {}
    for name, value in content.items():
        if not isinstance(value, Tensor):
            kind = "" if isinstance(value, _PassedOver) else f" but a {type(value).__name__}"
            if isinstance(value, dict):
                kind += "; if the weights are in it, save it alone, by torch.save"
            raise _Unreadable(f"its entry {_quoted(repr(name))} is no tensor{kind}")
        if not isinstance(name, str):
            raise _Unreadable(f"a tensor is called {_quoted(repr(name))} instead of by a name")
        if (flaw := _flaw(value)) is not None:
            raise _Unreadable(f"its entry {_quoted(repr(name))} {flaw}")
        tensors[name] = value.detach()
    if sum(value.numel() * value.element_size() for value in tensors.values()) > TIED * size:
        raise _Unreadable(f"its tensors claim more values than its {size:,} bytes can hold")
    return tensors


def _flaw(value: Tensor) -> str | None:
    """Why a tensor is not a dense one with values of its own, as a part of a sentence; else None."""
    if type(value) not in (Tensor, nn.Parameter):
        return f"is a {type(value).__name__}, not a plain tensor"
    kinds = {"nested": value.is_nested, "quantized": value.is_quantized, "meta": value.is_meta}
    if value.layout != torch.strided or any(kinds.values()) or value.device.type != "cpu":
        kind = next((kind for kind, holds in kinds.items() if holds), str(value.layout).removeprefix("torch."))
        return f"is a {kind} tensor, not a dense one with values"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"claims {value.numel():,} values, of which the file holds fewer"
    return None


def _some(names: Iterable[str]) -> str:
    shown = [_quoted(name) for name in names]
    return f"{', '.join(shown[:3])} and {len(shown) - 3} more" if len(shown) > 3 else ", ".join(shown)


def _quoted(name: str) -> str:
    """A name from a file on one line, of a length that can be read."""
    shown = printable(name[:100])
    return shown if len(name) <= 100 else f"{shown}..."


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split())[:200])
