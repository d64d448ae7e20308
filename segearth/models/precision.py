"""Arithmetic in true float32, whatever the caller has allowed PyTorch to round.

The range kernel's softmax amplifies rounding: in TF32, keys alone move scores by 0.007. TF32 is a choice for the
encoder; here it would change maps without being seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any, NamedTuple

import torch

from segearth.models.onednn import onednn_is_used


@contextmanager
def no_autocast() -> Iterator[None]:
    """Turns autocast off: a model has one precision, that of its weights."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def true_float32() -> Iterator[None]:
    """Matrix products and convolutions of float32 tensors are float32: no TF32, no bfloat16, no autocast.

    Of convolutions on CUDA PyTorch rounds to TF32 without being asked.

    What PyTorch may round is set for the whole process: the first thread that enters sets it, and the last one that
    leaves puts it back.
    """
    with _LOCK:
        if _state.inside == 0:
            _state.before = _allowed()
            _allow(_Allowed("highest", "none", "ieee"))
            _state.convolutions = _allow_convolutions("ieee")
        _state.inside += 1
    try:
        with no_autocast():
            yield
    finally:
        with _LOCK:
            _state.inside -= 1
            if _state.inside == 0:
                _allow(_state.before)
                _allow_convolutions(_state.convolutions)


class _Allowed(NamedTuple):
    """What float32 products may be rounded to.

    Attributes:
        everywhere: as `torch.set_float32_matmul_precision` takes it.
        cuda: as `torch.backends.cuda.matmul.fp32_precision`, of torch 2.9 and later; "none" leaves it.
        processor: as `torch.backends.mkldnn.matmul.fp32_precision`, likewise.
    """

    everywhere: str
    cuda: str
    processor: str


class _State:
    """How many are inside of `true_float32`, and what was allowed before the first."""

    inside = 0
    before = _Allowed("highest", "none", "none")
    convolutions = "none"


_LOCK = Lock()
_state = _State()


def forget_locks() -> None:
    """For a forked child, in which no other thread will ever leave `true_float32`."""
    global _LOCK
    _LOCK, _state.inside = Lock(), 0


def _allowed() -> _Allowed:
    """What is allowed now."""
    cuda, processor = getattr(torch.backends.cuda.matmul, "fp32_precision", "none"), _processor()
    try:
        return _Allowed(torch.get_float32_matmul_precision(), cuda, processor)
    except RuntimeError:  # they disagree, because only a newer one was set
        return _Allowed("highest", cuda, processor)


def _processor() -> str:
    """What a caller said of products on a processor; "none" where nothing was said, or of all that oneDNN does."""
    mkldnn: Any = torch.backends.mkldnn
    if onednn_is_used() or not hasattr(mkldnn, "matmul"):  # before torch 2.9
        return "none"
    own = str(mkldnn.matmul.fp32_precision)
    return "none" if own == mkldnn.fp32_precision else own


def _allow(wanted: _Allowed) -> None:
    torch.set_float32_matmul_precision(wanted.everywhere)  # sets the others, too
    if wanted.cuda != "none":
        torch.backends.cuda.matmul.fp32_precision = wanted.cuda
    if hasattr(torch.backends.mkldnn, "matmul"):
        # with the permission to round, products go to oneDNN; where it is used, it was seen not to round them
        torch.backends.mkldnn.matmul.fp32_precision = "bf16" if onednn_is_used() else wanted.processor


def _allow_convolutions(precision: str) -> str:
    """Sets what CUDA's convolutions of float32 may be rounded to, and returns what was set before.

    Args:
        precision: "ieee", "tf32", or "none", which leaves it to PyTorch's general setting.
    """
    cudnn = torch.backends.cudnn
    conv = getattr(cudnn, "conv", None)
    if conv is None:  # torch before 2.9
        before, cudnn.allow_tf32 = cudnn.allow_tf32, precision != "ieee"
        return "tf32" if before else "ieee"
    found: str = conv.fp32_precision
    conv.fp32_precision = precision
    return found
