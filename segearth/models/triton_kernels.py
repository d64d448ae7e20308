# ruff: noqa: ANN001, ANN201, ANN202, D403, N803, N806  (Triton's language: no types, constants in capitals)
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-decorators=False
# mypy: disable-error-code="import-untyped,import-not-found"
"""The operations of `flat` as Triton kernels: a doubling is four launches.

- `keys_kernel`: the guidance's projection;
- `taps_kernel`: range kernel, softmax, spatial kernel and correction, a row of taps for every pixel;
- `fold_kernel`: bicubic enlargement and reflected borders multiplied into them, a matrix (64 × A²) for every tile;
- `upsample2x_kernel`, `norms_kernel`: that matrix times the tile's source pixels, which are gathered on the way.

Keys and softmax are plain float32 sums. Products of weights are float32 split into three TF32 products, which is as
exact; plain TF32 where maps are kept in float16.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from segearth.models.flat import Plan, make_plan
from segearth.models.simfeatup import KEY_DIM, JBUStep, pointwise
from segearth.models.tile_kernels import PIXELS, TILE, axis

# The fastest of those tried on an H200, for nine windows of 224 pixels.
SUMS = "ieee"  # plain float32 is faster than three TF32 products here; float16 is multiplied as it is
JOBS = 4096  # tiles whose taps are held at once, more than a 448 × 448 image has
DEPTH = 16  # a multiple of it are the 144 source pixels of a tile
TAPS = {"BLOCK": 16, "num_warps": 4}
FOLD = {"BLOCK": 16, "num_warps": 1}
DOUBLE = {"C": 128, "num_warps": 4}
NORMS = {"C": 64, "num_warps": 4}


@triton.jit
def _mirror(i, size):
    i = tl.abs(i)
    i = tl.where(i >= size, 2 * (size - 1) - i, i)
    return tl.minimum(tl.maximum(i, 0), size - 1)


@triton.jit
def _gelu(x):
    return 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))


@triton.jit
def keys_kernel(guidance, w0, b0, w3, keys, pixels, DIM: tl.constexpr, BLOCK: tl.constexpr):
    """guidance (n, 3, pixels) -> keys (n, DIM, pixels); w0 (DIM, 3), w3 (DIM, DIM)."""
    n = tl.program_id(1).to(tl.int64)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k = tl.arange(0, DIM)
    hidden = tl.zeros((BLOCK, DIM), tl.float32) + tl.load(b0 + k)[None, :]
    for c in tl.static_range(3):
        colour = tl.load(guidance + (n * 3 + c) * pixels + p, mask=p < pixels, other=0.0)
        hidden += colour[:, None] * tl.load(w0 + k * 3 + c)[None, :]
    weight = tl.load(w3 + k[None, :] * DIM + k[:, None])
    out = tl.dot(_gelu(hidden), weight, input_precision="ieee")
    tl.store(keys + (n * DIM + k)[None, :] * pixels + p[:, None], out, mask=(p < pixels)[:, None])


@triton.jit
def taps_kernel(
    keys, guidance, jobs, key_bias, temperature, sigma, w1, w1_colours, b1, w2, b2, out, H, W, rows, columns,
    R: tl.constexpr, T: tl.constexpr, TP: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """keys (n, DIM, H · W) and guidance (n, 3, H · W) -> taps (jobs, 64, TP) of the tiles; w1, w2 (TP, TP), padded."""
    SIDE: tl.constexpr = 2 * R + 1
    PARTS: tl.constexpr = 64 // BLOCK
    job = tl.program_id(0) // PARTS
    place = tl.load(jobs + job)
    n, tile = (place // (rows * columns)).to(tl.int64), (place % (rows * columns)).to(tl.int32)
    i = tl.program_id(0) % PARTS * BLOCK + tl.arange(0, BLOCK)
    y = tl.minimum(tile // columns * 8 + i // 8, H - 1)
    x = tl.minimum(tile % columns * 8 + i % 8, W - 1)
    q = y * W + x
    t = tl.arange(0, TP)
    dy, dx = t // SIDE - R, t % SIDE - R
    at = _mirror(y[:, None] + dy[None, :], H) * W + _mirror(x[:, None] + dx[None, :], W)
    keys += n * DIM * H * W
    logits = tl.zeros((BLOCK, TP), tl.float32)
    for k in range(DIM):
        centre = tl.load(keys + q) + tl.load(key_bias + k)
        logits += centre[:, None] * tl.load(keys + at)
        keys += H * W
    scale = tl.minimum(tl.maximum(tl.exp(tl.load(temperature)), 1e-4), 1e4)
    logits = tl.where((t < T)[None, :], logits * scale, float("-inf"))
    kernel = tl.exp(logits - tl.max(logits, 1)[:, None])
    width = tl.load(sigma)
    distance = (dy * dy + dx * dx).to(tl.float32) / (R * R)
    kernel = kernel / tl.sum(kernel, 1)[:, None] * tl.exp(-distance / (2 * width * width))[None, :]
    kernel = kernel / tl.maximum(tl.sum(kernel, 1), 1e-7)[:, None]
    square = t[:, None] * TP + t[None, :]
    hidden = tl.dot(kernel, tl.load(w1 + square), input_precision=PREC)
    hidden += tl.load(b1 + t, mask=t < T, other=0.0)[None, :]
    for c in tl.static_range(3):
        colour = tl.load(guidance + (n * 3 + c) * H * W + q)
        hidden += colour[:, None] * tl.load(w1_colours + c * TP + t)[None, :]
    correction = tl.dot(_gelu(hidden), tl.load(w2 + square), input_precision=PREC)
    correction += tl.load(b2 + t, mask=t < T, other=0.0)[None, :]
    at_out = (job.to(tl.int64) * 64 + i)[:, None] * TP + t[None, :]
    tl.store(out + at_out, kernel + 0.1 * correction)


@triton.jit
def fold_kernel(
    taps, jobs, down, across, out, rows, columns,
    AY: tl.constexpr, AX: tl.constexpr, R: tl.constexpr, TP: tl.constexpr, SP: tl.constexpr, BLOCK: tl.constexpr,
    PREC: tl.constexpr,
):  # fmt: skip
    """taps (jobs, 64, TP) -> matrices (jobs, 64, AY · AX); down (rows, S, AY), across (columns, S, AX): see `Axis`."""
    SIDE: tl.constexpr = 2 * R + 1
    S: tl.constexpr = 8 + 2 * R
    PARTS: tl.constexpr = 64 // BLOCK
    job = (tl.program_id(0) // PARTS).to(tl.int64)
    tile = (tl.load(jobs + job) % (rows * columns)).to(tl.int32)
    i = tl.program_id(0) % PARTS * BLOCK + tl.arange(0, BLOCK)
    py, px = i // 8, i % 8
    first = tl.program_id(0) % PARTS * (BLOCK // 8)
    a = tl.arange(0, 16)
    sx = tl.arange(0, SP)
    dx = sx[None, :] - px[:, None]
    inside = (dx >= 0) & (dx < SIDE)
    down += tile // columns * (S * AY)
    across += tile % columns * (S * AX)
    weight = tl.load(across + sx[:, None] * AX + a[None, :], mask=(sx < S)[:, None] & (a < AX)[None, :], other=0.0)
    taps += (job * 64 + i)[:, None] * TP + dx
    acc = tl.zeros((BLOCK, 16, 16), tl.float32)
    for sy in range(first, first + BLOCK // 8 - 1 + SIDE):
        dy = sy - py
        band = inside & ((dy >= 0) & (dy < SIDE))[:, None]
        row = tl.dot(tl.load(taps + dy[:, None] * SIDE, mask=band, other=0.0), weight, input_precision=PREC)
        row_weight = tl.load(down + sy * AY + a, mask=a < AY, other=0.0)
        acc += row_weight[None, :, None] * row[:, None, :]
    at = (a[:, None] * AX + a[None, :])[None, :, :] + ((job * 64 + i) * (AY * AX))[:, None, None]
    known = ((a < AY)[:, None] & (a < AX)[None, :])[None, :, :] & (i < 64)[:, None, None]
    tl.store(out + at, acc.to(out.dtype.element_ty), mask=known)


@triton.jit
def _tile(
    matrices, slots, source, tops, lefts, place, c, h, w, pitch, channels, rows, columns,
    AY: tl.constexpr, AX: tl.constexpr, K: tl.constexpr, C: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """(64, C): a tile's 8 × 8 pixels for the channels c of its window's source (h, w, channels) with a pitch."""
    n, tile = (place // (rows * columns)).to(tl.int64), place % (rows * columns)
    i = tl.arange(0, 64)
    matrices += tl.load(slots + place) * (64 * AY * AX)
    source += (n * h * w + tl.load(tops + tile // columns * AY) * w + tl.load(lefts + tile % columns * AX)) * pitch
    acc = tl.zeros((64, C), tl.float32)
    for start in range(0, AY * AX, K):
        k = start + tl.arange(0, K)
        known = k < AY * AX
        matrix = tl.load(matrices + i[:, None] * (AY * AX) + k[None, :], mask=known[None, :], other=0.0)
        at = (k // AX * w + k % AX) * pitch
        pixels = tl.load(source + at[:, None] + c[None, :], mask=known[:, None] & (c < channels)[None, :], other=0.0)
        acc = tl.dot(matrix, pixels, acc, input_precision=PREC)
    return acc


@triton.jit
def upsample2x_kernel(
    matrices, slots, source, tops, lefts, out, h, w, pitch, channels, rows, columns, to_window, to_pixel, to_channel,
    AY: tl.constexpr, AX: tl.constexpr, K: tl.constexpr, C: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Channels of the doubled maps, a tile of 8 × 8 pixels a program."""
    place = tl.program_id(0)
    c = tl.program_id(1) * C + tl.arange(0, C)
    acc = _tile(
        matrices, slots, source, tops, lefts, place, c, h, w, pitch, channels, rows, columns, AY, AX, K, C, PREC
    )
    n, tile = (place // (rows * columns)).to(tl.int64), place % (rows * columns)
    i = tl.arange(0, 64)
    y, x = tile // columns * 8 + i // 8, tile % columns * 8 + i % 8
    inside = ((y < 2 * h) & (x < 2 * w))[:, None] & (c < channels)[None, :]
    at = n * to_window + (y * (2 * w) + x)[:, None] * to_pixel + c[None, :] * to_channel
    tl.store(out + at, acc.to(out.dtype.element_ty), mask=inside)


@triton.jit
def norms_kernel(
    matrices, slots, source, tops, lefts, shift, out, h, w, pitch, channels, rows, columns,
    AY: tl.constexpr, AX: tl.constexpr, K: tl.constexpr, C: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Lengths (n, 2h, 2w) of a tile's doubled vectors plus their window's shift."""
    place = tl.program_id(0)
    n, tile = (place // (rows * columns)).to(tl.int64), place % (rows * columns)
    squared = tl.zeros((64,), tl.float32)
    for start in range(0, channels, C):
        c = start + tl.arange(0, C)
        z = _tile(
            matrices, slots, source, tops, lefts, place, c, h, w, pitch, channels, rows, columns, AY, AX, K, C, PREC
        )
        z += tl.load(shift + n * channels + c, mask=c < channels, other=0.0)[None, :]
        squared += tl.sum(z * z, 1)
    i = tl.arange(0, 64)
    y, x = tile // columns * 8 + i // 8, tile % columns * 8 + i % 8
    tl.store(out + (n * 2 * h + y) * (2 * w) + x, tl.sqrt(squared), mask=(y < 2 * h) & (x < 2 * w))


class _Weights(NamedTuple):
    """A step's weights as the kernels take them.

    Attributes:
        keys: of the range kernel's projection.
        fixup: of the correction, with `padded` taps.
        padded: taps, rounded up to a power of two.
    """

    keys: tuple[Tensor, ...]
    fixup: tuple[Tensor, ...]
    padded: int

    @classmethod
    def of(cls, step: JBUStep) -> _Weights:
        taps = (2 * step.radius + 1) ** 2
        padded = triton.next_power_of_2(taps)
        lack = padded - taps
        (w0, b0), (w3, _) = pointwise(step.range_proj[0]), pointwise(step.range_proj[3])
        (w1, b1), (w2, b2) = pointwise(step.fixup_proj[0]), pointwise(step.fixup_proj[3])
        square = [0, lack, 0, lack]
        first = F.pad(w1[:, :taps].T, square), F.pad(w1[:, taps:].T, [0, lack]), b1
        return cls((w0, b0, w3), (*first, F.pad(w2.T, square), b2), padded)


def gpu_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Makes the GPU of a tensor the present one, on which Triton launches; nothing for what is on none."""
    return torch.cuda.device(tensor.device) if tensor.device.type == "cuda" else nullcontext()


class TritonOperations:
    """`segearth.models.flat.Operations` on a GPU."""

    def __init__(self) -> None:
        self.fixed: int | None = JOBS * PIXELS * 128 * 4  # taps, with the largest radius
        self.weights: dict[JBUStep, _Weights] = {}

    def matrices(self, step: JBUStep, guidance: Tensor, plan: Plan, dtype: torch.dtype) -> Tensor:
        """See `Operations`."""
        with gpu_of(guidance):
            n, _, height, width = guidance.shape
            guidance, radius, precision = guidance.contiguous(), step.radius, _precision(dtype)
            if step not in self.weights:
                self.weights[step] = _Weights.of(step)
            w = self.weights[step]
            keys = guidance.new_empty(n, KEY_DIM, height * width)
            grid = (triton.cdiv(height * width, 64), n)
            keys_kernel[grid](guidance, *w.keys, keys, height * width, DIM=KEY_DIM, BLOCK=64)
            taps = guidance.new_empty(min(len(plan.jobs), JOBS), PIXELS, w.padded)
            down, across = (axis(side // 2, radius, guidance.device).weights for side in (height, width))
            folded = guidance.new_empty(len(plan.jobs), PIXELS, down.shape[2] * across.shape[2], dtype=dtype)
            for jobs, out in zip(plan.jobs.split(JOBS), folded.split(JOBS), strict=True):
                taps_kernel[(len(jobs) * (PIXELS // TAPS["BLOCK"]),)](
                    keys, guidance, jobs, step.key_bias, step.range_temp, step.sigma_spatial, *w.fixup,
                    taps, height, width, plan.rows, plan.columns,
                    R=radius, T=(2 * radius + 1) ** 2, TP=w.padded, DIM=KEY_DIM, PREC=precision, **TAPS,
                )  # fmt: skip
                fold_kernel[(len(jobs) * (PIXELS // FOLD["BLOCK"]),)](
                    taps, jobs, down, across, out, plan.rows, plan.columns,
                    AY=down.shape[2], AX=across.shape[2], R=radius, TP=w.padded,
                    SP=triton.next_power_of_2(TILE + 2 * radius), PREC=precision, **FOLD,
                )  # fmt: skip
            return folded

    def upsample2x(self, matrices: Tensor, radius: int, source: Tensor, plan: Plan, out: Tensor) -> None:
        """See `Operations`."""
        with gpu_of(source):
            _, h, w, _ = source.shape
            channels = out.shape[-1]
            block = min(DOUBLE["C"], max(16, triton.next_power_of_2(channels)))
            rows, columns = (axis(side, radius, source.device).positions for side in (h, w))
            upsample2x_kernel[(len(plan.slots), triton.cdiv(channels, block))](
                matrices, plan.slots, source, rows, columns, out, h, w, source.stride(2), channels,
                plan.rows, plan.columns, out.stride(0), out.stride(2), out.stride(3),
                AY=rows.shape[1], AX=columns.shape[1], K=DEPTH, PREC=SUMS, **DOUBLE | {"C": block},
            )  # fmt: skip

    def norms(self, matrices: Tensor, radius: int, source: Tensor, shift: Tensor, plan: Plan) -> Tensor:
        """See `Operations`."""
        with gpu_of(source):
            n, h, w, channels = source.shape
            block = min(NORMS["C"], max(16, triton.next_power_of_2(channels)))
            rows, columns = (axis(side, radius, source.device).positions for side in (h, w))
            out = shift.new_empty(n, 2 * h, 2 * w)
            norms_kernel[(len(plan.slots),)](
                matrices, plan.slots, source, rows, columns, shift.contiguous(), out, h, w, source.stride(2), channels,
                plan.rows, plan.columns,
                AY=rows.shape[1], AX=columns.shape[1], K=DEPTH, PREC=SUMS, **NORMS | {"C": block},
            )  # fmt: skip
            return out


def _precision(dtype: torch.dtype) -> str:
    """How matrix products of float32 tensors are computed where maps are kept in `dtype`."""
    return "tf32x3" if dtype == torch.float32 else "tf32"


@cache
def run_on(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels run on a GPU with maps in `dtype`: they need TF32, and Triton needs a C compiler."""
    if torch.cuda.get_device_capability(device) < (8, 0) or torch.version.hip is not None:
        return False
    try:
        with torch.cuda.device(device):
            call_all(device, dtype)
            torch.cuda.synchronize()
    except Exception as error:  # whatever is missing: the same maps come from PyTorch, more slowly
        logging.getLogger(__name__).warning(
            "Triton's kernels do not run here (%s): the upsampling takes PyTorch's operations, which are slower", error
        )
        return False
    return True


def call_all(device: torch.device, dtype: torch.dtype) -> None:
    """Compiles and calls every kernel once, in its largest shape, on zeros."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        step = JBUStep(5).requires_grad_(False).to(device, torch.float32)
    plan = make_plan((((0, 0),),), (24, 24), (24, 24), step.radius, device)
    source = torch.zeros(1, 12, 12, DOUBLE["C"], device=device, dtype=dtype)
    operations = TritonOperations()
    matrices = operations.matrices(step, torch.zeros(1, 3, 24, 24, device=device, dtype=torch.float32), plan, dtype)
    operations.upsample2x(matrices, step.radius, source, plan, source.new_empty(1, 24, 24, DOUBLE["C"]))
    operations.norms(matrices, step.radius, source, source[:, 0, 0].float(), plan)
