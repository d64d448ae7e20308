"""Where and how the model computes: the one place that chooses a device, a precision and a bound of memory."""

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
    """What a model computes with.

    Attributes:
        device: one that is there.
        precision: of the image encoder, a key of `PRECISIONS`; all else is computed in float32.
        max_memory_mb: bound of the working set of windows, beside the model, the image and the map. Results do not
            depend on it.
    """

    device: torch.device
    precision: str
    max_memory_mb: float

    @classmethod
    def choose(
        cls, device: str | torch.device = "auto", precision: str = "fp32", max_memory_mb: float | None = None
    ) -> Compute:
        """Turns "auto" into what is best here.

        Args:
            device: "auto" (CUDA, else Apple's MPS, else CPU), "cpu", "cuda", "cuda:1", "mps".
            precision: "fp32", "bf16", "fp16", or "auto": fp16 on CUDA, bf16 on a CPU that has it in hardware, else
                fp32.
            max_memory_mb: None: what suits the device.

        Raises:
            UserError: an unknown device or precision, or a device that is not here.
        """
        target = choose_device(device)
        memory = memory_for(target) if max_memory_mb is None else max_memory_mb
        return cls(target, choose_precision(precision, target), memory)


def memory_for(device: torch.device) -> float:
    """The bound of the working set that suits a device, in MB: on a GPU at most half of what is free there.

    What PyTorch keeps of its own earlier calls is free, too: else the second image would be computed in other parts
    than the first one.
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
    """What decides the last bits on a device: its kind, and how the encoder's float32 products are computed.

    That is told where it is not as PyTorch does by itself: on a CPU by oneDNN; rounded, where the caller allows it.
    """
    if (rounded := rounding(device.type)) is not None:
        return f"{device.type}, products may be rounded to {rounded}"
    return "cpu, products by oneDNN" if device.type == "cpu" and onednn_is_used() else device.type


@contextmanager
def even_threads() -> Iterator[None]:
    """Lets PyTorch compute with 1, 2, 4, 8 or so on threads in a block, at most as many as before.

    What each thread then gets of the encoder's activations, whose sides are multiples of powers of two, has no odd end.
    There PyTorch takes other instructions (of the sigmoid in CLIP's QuickGELU, for one), so that the last bit would
    depend on the number of threads: with 3, 5 or 7 logits differ by 1e-7, with 1, 2, 4 and 8 they are the same.
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
    """Turns "auto" into the precision that is fast on a device, and refuses what is none.

    Raises:
        UserError: an unknown precision.
    """
    if precision == "auto":
        if device.type == "cuda":
            return "fp16"
        return "bf16" if device.type == "cpu" and bf16_in_hardware(device) else "fp32"
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r}: use one of auto, {', '.join(PRECISIONS)}")
    return precision


def choose_device(device: str | torch.device) -> torch.device:
    """Turns "auto" into the best device there is, and refuses one that is not there.

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
        raise UserError(f"unknown device {device!r}: use auto, cpu, cuda, cuda:N or mps") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device {device} asked for, but torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            f"devices here: use {option('device', 'cpu')}, or install a CUDA build of torch and the NVIDIA driver"
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"device mps asked for, but there is no Apple GPU here: use {option('device', 'cpu')}")
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"unknown device {device!r}: use auto, cpu, cuda, cuda:N or mps")
    return chosen


def bf16_in_hardware(device: torch.device) -> bool:
    """Whether a device multiplies bf16 by instructions of its own, which makes that precision fast."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _AMPERE
    return device.type == "cpu" and bool(_BF16 & _cpu_features())


def _cpu_features() -> set[str]:
    """Names of the processor's instruction sets; nothing where they cannot be told."""
    if (tell := getattr(torch.cpu, "get_capabilities", None)) is not None:  # since torch 2.9
        return {name for name, has in tell().items() if has is True}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return set(next(lines, "").partition(":")[2].split())
