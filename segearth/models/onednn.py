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
from threading import Lock
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SWITCH = "SEGEARTH_ONEDNN"
MOST_ERROR = 1e-5  # for values up to about 5; float32 products have 1e-6, those of TF32 and bfloat16 over 1e-4
TOKENS, WIDTH, OUT, HEAD = 197, 768, 3072, 64  # of a window, in a ViT-B/16, in its blocks' FFN and in their attention
TILES, KERNEL, CHANNELS = 112, (64, 144), 224  # of a step of SimFeatUp, see `segearth.models.tiles`
WINDOWS = (5, 4, 3, 2)  # in a call of the encoder, see `segearth.models.window_memory`; one alone has bits of its own
STEP = 15  # of the columns that are compared with float64: odd, so that no place in a block of 16 is left out


def use_onednn(wanted: bool = True) -> str | None:
    """Lets oneDNN compute this process's products of float32 matrices on the CPU, or no longer.

    Maps differ from those of MKL in the last bits of their scores: while one is computed, this is to be left alone.

    Args:
        wanted: False puts back what was set before.

    Returns:
        None if it was done, or why oneDNN is not used, for people.
    """
    with products.lock:
        reason = (_refusal() or _fault(torch.get_num_threads())) if wanted else None
        products.change(onednn=wanted and reason is None)
    return reason


def onednn_is_used() -> bool:
    """Whether `use_onednn` has chosen oneDNN in this process."""
    return products.onednn


class Products:
    """The type to which oneDNN may round products of float32 matrices: one setting of the process, with two users.

    Attributes:
        lock: held while the setting is changed.
        onednn: whether oneDNN is to compute them, as it was seen not to round.
        exact: whether nothing may be rounded, whoever computes them.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.onednn = False
        self.exact = False
        self._callers = "none"

    def change(self, *, onednn: bool | None = None, exact: bool | None = None) -> None:
        """Changes one of the two; a setting that is right already is not touched, as other threads may compute."""
        if not (self.onednn or self.exact):
            self._callers = own_precision(_backend(), "matmul")
        self.onednn = self.onednn if onednn is None else onednn
        self.exact = self.exact if exact is None else exact
        allowed = "bf16" if self.onednn else "ieee" if self.exact else self._callers
        if hasattr(_backend(), "matmul") and own_precision(_backend(), "matmul") != allowed:
            _backend().matmul.fp32_precision = allowed


products = Products()


def own_precision(backend: Any, part: str) -> str:
    """The type to which a backend of PyTorch may round float32 products or convolutions.

    Args:
        backend: such as `torch.backends.mkldnn`.
        part: such as "matmul".

    Returns:
        "ieee", "tf32" or "bf16"; "none" where nothing was said of this part, or what is said of all of the backend, and
        before torch 2.9.
    """
    own = str(getattr(getattr(backend, part, None), "fp32_precision", "none"))
    return "none" if own == getattr(backend, "fp32_precision", None) else own


def _backend() -> Any:
    return torch.backends.mkldnn


def _refusal() -> str | None:
    """Why oneDNN is not tried at all; None if it is."""
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

    The bits of a window may depend neither on the other windows nor on the number of threads: maps are the same however
    an image is cut. This has to be checked, as a library may split long sums over threads.

    Args:
        threads: of this process. Others may compute the same map with fewer: with 1, 2, 4, 8 or so.
    """
    matmul, inputs = _backend().matmul, _inputs()
    before, matmul.fp32_precision = str(matmul.fp32_precision), "bf16"
    try:
        outputs = [_outputs(inputs, windows) for windows in WINDOWS]
        with_threads = []
        for number in range(threads.bit_length()):
            torch.set_num_threads(1 << number)
            with_threads.append(_outputs(inputs, WINDOWS[0]))
    finally:
        torch.set_num_threads(threads)
        matmul.fp32_precision = before
    exact = _outputs(_Inputs(*(tensor.double() for tensor in inputs)), WINDOWS[0], STEP)
    for product, right in zip(outputs[0], exact, strict=True):
        if not (error := float((product[..., ::STEP] - right).abs().max())) <= MOST_ERROR:  # NaN, too
            return f"its products are wrong by {error:.1e} on this processor"
    if not all(_begin_with(outputs[0], few) for few in outputs[1:]):
        return "its last bits depend on the number of windows on this processor"
    if not all(_begin_with(outputs[0], same) for same in with_threads):
        return "its last bits depend on the number of threads on this processor"
    return None


class _Inputs(NamedTuple):
    """Made-up vectors and weights, whose products have a variance of 1.

    Attributes:
        tokens: (5 windows of 197, 768).
        hidden: (5 windows of 197, 3072), inside of the FFN.
        qkv: (3 · 768, 768), weights.
        up: (3072, 768), weights.
        down: (768, 3072), weights.
        heads: (5 windows, 12, 197, 64), for attention.
        kernels: (112, 64, 144), of tiles.
        pixels: (112, 144, 224), that they are applied to.
    """

    tokens: Tensor
    hidden: Tensor
    qkv: Tensor
    up: Tensor
    down: Tensor
    heads: Tensor
    kernels: Tensor
    pixels: Tensor


def _inputs() -> _Inputs:
    generator, windows = torch.Generator("cpu").manual_seed(0), WINDOWS[0]
    shapes = (
        (windows * TOKENS, WIDTH), (windows * TOKENS, OUT), (3 * WIDTH, WIDTH), (OUT, WIDTH), (WIDTH, OUT),
        (windows, WIDTH // HEAD, TOKENS, HEAD), (TILES, *KERNEL), (TILES, KERNEL[1], CHANNELS),
    )  # fmt: skip
    random = [torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu") for shape in shapes]
    sums = (WIDTH, OUT, WIDTH, WIDTH, OUT, HEAD, KERNEL[1], KERNEL[1])
    return _Inputs(*(tensor / length**0.25 for tensor, length in zip(random, sums, strict=True)))


def _outputs(inputs: _Inputs, windows: int, step: int = 1) -> list[Tensor]:
    """Products as the encoder's blocks and the upsampler's steps have them.

    Args:
        inputs: of all windows.
        windows: how many of the windows that there are.
        step: 2 for every second column of each, and so on.
    """
    rows, tiles = slice(windows * TOKENS), slice(TILES * windows // WINDOWS[0])
    heads = inputs.heads[:windows]
    return [
        F.linear(inputs.tokens[rows], inputs.qkv[::step]),
        F.linear(inputs.tokens[rows], inputs.up[::step]),
        F.linear(inputs.hidden[rows], inputs.down[::step]),
        inputs.tokens[rows] @ inputs.qkv[:WIDTH, ::step],
        F.scaled_dot_product_attention(heads, heads, heads[..., ::step]),
        torch.bmm(inputs.kernels[tiles], inputs.pixels[tiles, :, ::step]),
    ]


def _begin_with(products: list[Tensor], few: list[Tensor]) -> bool:
    """Whether products begin with those of fewer windows, bit for bit."""
    return all(torch.equal(all_[: len(part)], part) for all_, part in zip(products, few, strict=True))
