"""Device, precision and memory limit of the model: the only place that chooses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from segearth.errors import UserError, option
from segearth.models.onednn import onednn_is_used
from segearth.models.precision import rounding
from segearth.models.window_memory import MAX_MEMORY_MB

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
GPU_MEMORY_MB = 2000  # more windows at once bring nothing (ViT-B/16 on an H200, images of 896 and 1792 pixels)

_BF16 = {"avx512_bf16", "amx_bf16", "bf16", "sve_bf16"}  # of Intel and AMD, and of ARM
_AMPERE = (8, 0)  # the first NVIDIA GPUs with bf16


@dataclass(frozen=True)
class Compute:
    """Device, precision and memory limit of a model.

    Attributes:
        device: a device of this machine.
        precision: of the image encoder, a key of `PRECISIONS`; all else is computed in float32.
        max_memory_mb: limit of the working set of windows, in addition to the model, the image and the map. Results do
            not depend on it.
    """

    device: torch.device
    precision: str
    max_memory_mb: float

    @classmethod
    def choose(
        cls, device: str | torch.device = "auto", precision: str = "fp32", max_memory_mb: float | None = None
    ) -> Compute:
        """Resolves "auto" to the best choice on this machine.

        Args:
            device: "auto" (CUDA, else Apple's MPS, else CPU), "cpu", "cuda", "cuda:1", "mps".
            precision: "fp32", "bf16", "fp16", or "auto": fp16 on CUDA, bf16 on a CPU that has it in hardware, else
                fp32.
            max_memory_mb: None: `memory_for` the device.

        Raises:
            UserError: an unknown device or precision, or a device that is not here.
        """
        target = choose_device(device)
        memory = memory_for(target) if max_memory_mb is None else max_memory_mb
        return cls(target, choose_precision(precision, target), memory)


def memory_for(device: torch.device) -> float:
    """The default limit of the working set on a device, in MB: on a GPU at most half of its free memory.

    Memory that PyTorch has reserved and not allocated counts as free: otherwise the second image would be divided
    differently than the first.
    """
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    elif device.type == "mps":  # of the memory that it shares with the processor
        free = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    else:
        return MAX_MEMORY_MB
    return max(MAX_MEMORY_MB, min(GPU_MEMORY_MB, free / 2 / 2**20))


def arithmetic(device: torch.device) -> str:
    """Describes what the last bits of results depend on: the kind of device, and how float32 products are computed.

    The products are named where they differ from PyTorch's default: by oneDNN on a CPU, or rounded.
    """
    if (rounded := rounding(device.type)) is not None:
        return f"{device.type}, products may be rounded to {rounded}"
    return "cpu, products by oneDNN" if device.type == "cpu" and onednn_is_used() else device.type


@contextmanager
def even_threads() -> Iterator[None]:
    """Reduces PyTorch's threads to a power of two in a block.

    Then the activations of the encoder, whose sides are multiples of powers of two, are divided among threads without
    a remainder. For a remainder PyTorch uses other instructions (such as for the sigmoid in CLIP's QuickGELU), so the
    last bit would depend on the number of threads: with 3, 5 or 7 logits differ by 1e-7, with 1, 2, 4 and 8 they are
    equal.
    """
    before = torch.get_num_threads()
    even = 1 << (before.bit_length() - 1)
    if even == before:
        yield
        return
    torch.set_num_threads(even)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_precision(precision: str, device: torch.device) -> str:
    """Resolves "auto" to the precision that is fast on a device, and checks others.

    Raises:
        UserError: an unknown precision.
    """
    if precision == "auto":
        if device.type == "cuda":
            return "fp16"
        return "bf16" if device.type == "cpu" and bf16_in_hardware(device) else "fp32"
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r}: expected one of auto, {', '.join(PRECISIONS)}; give one")
    return precision


def choose_device(device: str | torch.device) -> torch.device:
    """Resolves "auto" to the best available device, and checks others.

    Raises:
        UserError: an unknown device, or one that this machine (or this build of torch) does not have.
    """
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise UserError(f"unknown device {device!r}: expected one of auto, cpu, cuda, cuda:N, mps; give one") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device {device} asked for, but torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            f"devices here: expected one of those; use {option('device', 'cpu')}, or install a CUDA build of torch "
            "and the NVIDIA driver"
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(
            f"device mps asked for, but there is no Apple GPU here: expected one; use {option('device', 'cpu')}"
        )
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise _unknown_device(device)
    return chosen


def _unknown_device(device: object) -> UserError:
    return UserError(f"unknown device {device!r}: expected one of auto, cpu, cuda, cuda:N, mps; give one")


def bf16_in_hardware(device: torch.device) -> bool:
    """Whether a device has instructions for bf16 products, which makes that precision fast."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _AMPERE
    return device.type == "cpu" and bool(_BF16 & _cpu_features())


def _cpu_features() -> set[str]:
    """Names of the CPU's instruction sets; empty where they are unknown."""
    if (tell := getattr(torch.cpu, "get_capabilities", None)) is not None:  # since torch 2.9
        return {name for name, has in tell().items() if has is True}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return set(next(lines, "").partition(":")[2].split())
