"""Products of float32 matrices by oneDNN in place of MKL, which is half as fast on some processors with AVX-512.

PyTorch sends them there where they may be rounded to bfloat16. oneDNN uses that permission only where the processor
multiplies matrices of bfloat16 (Intel's AMX); elsewhere it computes in float32. (AMD Zen 5, one thread: 400 to 450
GFLOP/s for 210, with the same error against float64.) So it is asked for on x86 with AVX-512 and without AMX alone, and
kept only if a look at some products shows them as exact as MKL's.

The setting is one of the process. Commands and scripts make it when they start; programs that use segearth leave it as
it is, or call `use_onednn`.
"""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SWITCH = "SEGEARTH_ONEDNN"
MOST_ERROR = 1e-5  # for values up to about 5; float32 products have 1e-6, those of TF32 and bfloat16 over 1e-4
TOKENS, WIDTH, OUT = 197, 768, 3072  # of a window, in a ViT-B/16 and in its blocks' FFN
TILES, KERNEL, CHANNELS = 112, (64, 144), 224  # of a step of SimFeatUp, see `segearth.models.tiles`


def use_onednn(wanted: bool = True) -> str | None:
    """Lets oneDNN compute this process's products of float32 matrices on the CPU, or MKL again.

    Maps differ from those of MKL in the last bits of their scores.

    Args:
        wanted: False puts back what PyTorch does by itself.

    Returns:
        None if it was done, or why oneDNN is not used, for people.
    """
    reason = (_refusal() or _fault(torch.get_num_threads())) if wanted else None
    if wanted and reason is None:
        _allow("bf16")
    elif _state.used:
        _allow("none")
    _state.used = wanted and reason is None
    return reason


def onednn_is_used() -> bool:
    """Whether `use_onednn` found it right in this process."""
    return _state.used


def _allow(precision: str) -> str:
    """Sets what PyTorch lets oneDNN round products of float32 matrices to, and returns what was set before."""
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, matmul.fp32_precision = str(matmul.fp32_precision), precision
    return before


class _State:
    """What was chosen for this process."""

    used = False


_state = _State()


def _refusal() -> str | None:
    """Why oneDNN is not even tried."""
    if os.environ.get(SWITCH, "1") in ("", "0"):
        return f"{SWITCH} is {os.environ[SWITCH] or 'empty'}"
    if getattr(torch.backends.mkldnn, "matmul", None) is None or not hasattr(torch.cpu, "get_capabilities"):
        return f"torch {torch.__version__} does not let it be chosen, 2.9 does"
    if not torch.backends.mkldnn.is_available():
        return "this torch was built without it"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"it is not faster, or rounds, on {platform.machine()}"
    has = torch.cpu.get_capabilities()
    if has.get("amx_tile"):
        return "this processor has AMX, where it would round to bfloat16"
    if not has.get("avx512_f"):
        return "this processor has no AVX-512, without which it is not faster"
    return None


@lru_cache(maxsize=4)
def _fault(threads: int) -> str | None:
    """What is wrong with oneDNN's products on this processor, compared with float64 and among each other.

    A window's bits may depend neither on its company nor on the threads of the process that computes it: maps are the
    same however an image is cut. That is no matter of course, as sums may be split where there is little else to share.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    tokens, hidden, up, down, kernels, pixels = (
        torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu") / shape[-1] ** 0.25
        for shape in (
            (5 * TOKENS, WIDTH), (5 * TOKENS, OUT), (OUT, WIDTH), (WIDTH, OUT),
            (TILES, *KERNEL), (TILES, KERNEL[1], CHANNELS),
        )
    )  # fmt: skip

    def products(windows: int, tiles: int) -> list[Tensor]:
        rows = slice(windows * TOKENS)
        return [F.linear(tokens[rows], up), F.linear(hidden[rows], down), torch.bmm(kernels[:tiles], pixels[:tiles])]

    before = _allow("bf16")
    try:
        found, few = products(5, TILES), products(2, TILES // 4)
        torch.set_num_threads(1)
        alone = products(5, TILES)
    finally:
        torch.set_num_threads(threads)
        _allow(before)
    exact = tokens[:TOKENS].double() @ up.double().T
    if (error := float((found[0][:TOKENS] - exact).abs().max())) > MOST_ERROR:
        return f"its products are wrong by {error:.1e} on this processor"
    if not all(torch.equal(all_[: len(part)], part) for all_, part in zip(found, few, strict=True)):
        return "its last bits depend on the number of windows on this processor"
    if not all(map(torch.equal, found, alone)):
        return "its last bits depend on the number of threads on this processor"
    return None
