"""Arithmetic in true float32, whatever the caller has allowed PyTorch to round.

The range kernel's softmax amplifies rounding: in TF32, keys alone move scores by 0.007. TF32 is a choice for the
encoder; here it would change maps without being seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


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
    """Matrix products of float32 tensors are float32: no TF32, no bfloat16, no autocast.

    What PyTorch may round is set for the whole process: it is put back at the end.
    """
    matmul = torch.backends.cuda.matmul
    backend = getattr(matmul, "fp32_precision", "none")  # since torch 2.9, beside the older setting
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # they disagree, because only the newer one was set
        before = "highest"
    torch.set_float32_matmul_precision("highest")
    try:
        with no_autocast():
            yield
    finally:
        torch.set_float32_matmul_precision(before)
        if backend != "none":
            matmul.fp32_precision = backend
