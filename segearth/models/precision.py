"""Arithmetic in true float32, whatever the caller has allowed PyTorch to round.

The range kernel's softmax amplifies rounding: in TF32, keys alone move scores by 0.007. TF32 is a choice for the
encoder; here it would change maps without being seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

import torch

from segearth.models.onednn import own_precision, products


@contextmanager
def no_autocast() -> Iterator[None]:
    """Turns autocast off: a model has one precision, that of its weights."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def usual_defaults() -> Iterator[None]:
    """New tensors are float32 on the CPU, as where a caller has set no other defaults.

    The default type is one of the whole process, as PyTorch has it; it is not touched where it is float32 already.
    """
    before = torch.get_default_dtype()
    try:
        if before != torch.float32:
            torch.set_default_dtype(torch.float32)
        with torch.device("cpu"):
            yield
    finally:
        if before != torch.float32:
            torch.set_default_dtype(before)


@contextmanager
def true_float32() -> Iterator[None]:
    """Matrix products and convolutions of float32 tensors are float32: no TF32, no bfloat16, no autocast.

    Of convolutions on CUDA PyTorch rounds to TF32 without being asked.

    What PyTorch may round is set for the whole process: the first thread that enters sets it, and the last one that
    leaves puts it back. What needs no change is not touched, not even for a moment.
    """
    with products.lock:
        if _state.inside == 0:
            _state.rounding, _state.undo = _rounding(), _forbid()
        _state.inside += 1
    try:
        with no_autocast():
            yield
    finally:
        with products.lock:
            _state.inside -= 1
            if _state.inside == 0:
                _state.undo.close()


def rounding(kind: str) -> str | None:
    """The type to which PyTorch may round float32 products outside of `true_float32`, such as those of the encoder.

    Args:
        kind: of device, such as "cuda".

    Returns:
        "TF32" or "bf16"; None where nothing may be rounded. (Of convolutions none is.)
    """
    with products.lock:
        return (_state.rounding if _state.inside else _rounding()).get(kind)


class _State:
    """How many threads are inside of `true_float32`, the settings that the first one found, and how to restore them."""

    inside = 0
    rounding: dict[str, str] = {}  # noqa: RUF012 (replaced, never changed)
    undo = ExitStack()


_state = _State()


def forget_locks() -> None:
    """For a forked child, in which no other thread will ever leave `true_float32`."""
    products.lock = Lock()
    if _state.inside:
        _state.inside = 0
        _state.undo.close()


def _rounding() -> dict[str, str]:
    """The type to which products may be rounded now, by kind of device."""
    if hasattr(torch.backends.cudnn, "conv"):
        cpu, cuda = torch.backends.mkldnn.matmul.fp32_precision, torch.backends.cuda.matmul.fp32_precision  # type: ignore[attr-defined]
    else:  # torch before 2.9
        older = torch.get_float32_matmul_precision()
        cpu, cuda = "bf16" if older == "medium" else "ieee", "ieee" if older == "highest" else "tf32"
    names = {"tf32": "TF32", "bf16": "bf16"}
    found = {"cpu": "ieee" if products.onednn else cpu, "cuda": cuda}  # oneDNN was seen not to use the permission
    return {kind: names[precision] for kind, precision in found.items() if precision in names}


def _forbid() -> ExitStack:
    """Forbids all rounding; closing the result restores the settings, the last one first."""
    undo = ExitStack()
    if not hasattr(torch.backends.cudnn, "conv"):  # torch before 2.9
        undo.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
        undo.callback(setattr, torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
        torch.backends.cudnn.allow_tf32 = False
        return undo
    undo.callback(products.change, exact=False)  # after what the next line undoes, which may set it, too
    _forbid_products(undo)
    products.change(exact=True)
    _forbid_convolutions(undo)
    return undo


def _forbid_products(undo: ExitStack) -> None:
    """Those of matrices on CUDA."""
    cudnn: Any = torch.backends.cudnn  # whose general setting is that of all of CUDA
    matmul: Any = torch.backends.cuda.matmul
    if matmul.fp32_precision != "tf32":
        return
    if _unless_mixed(lambda: matmul.allow_tf32) is None:  # only the newer setting was made
        undo.callback(setattr, matmul, "fp32_precision", "none" if cudnn.fp32_precision == "tf32" else "tf32")
    elif _unless_mixed(torch.get_float32_matmul_precision) == "medium":
        undo.callback(torch.set_float32_matmul_precision, "medium")
    else:
        undo.callback(setattr, matmul, "allow_tf32", True)
    matmul.allow_tf32 = False  # the older setting with the newer one: where they disagree, PyTorch reads neither


def _forbid_convolutions(undo: ExitStack) -> None:
    """Those of oneDNN and cuDNN."""
    mkldnn: Any = torch.backends.mkldnn
    cudnn: Any = torch.backends.cudnn
    if mkldnn.conv.fp32_precision in ("bf16", "tf32"):
        undo.callback(setattr, mkldnn.conv, "fp32_precision", own_precision(mkldnn, "conv"))
        mkldnn.conv.fp32_precision = "ieee"
    if cudnn.conv.fp32_precision != "tf32":
        return
    if _unless_mixed(lambda: cudnn.allow_tf32):  # as it is by default: one setting for convolutions and RNNs
        undo.callback(setattr, cudnn, "allow_tf32", True)
        cudnn.allow_tf32 = False  # what is said of all of cuDNN may still allow it
        cudnn.rnn.fp32_precision = "ieee"
    else:
        undo.callback(setattr, cudnn.conv, "fp32_precision", own_precision(cudnn, "conv"))
    cudnn.conv.fp32_precision = "ieee"


def _unless_mixed(read: Callable[[], Any]) -> Any:
    """An older setting; None where a newer one says something else, as PyTorch then refuses to read it."""
    try:
        return read()
    except RuntimeError:
        return None
