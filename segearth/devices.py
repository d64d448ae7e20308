"""What the processors here can do."""

from __future__ import annotations

from pathlib import Path

import torch

_BF16 = {"avx512_bf16", "amx_bf16", "bf16", "sve_bf16"}  # of Intel and AMD, and of ARM
_AMPERE = (8, 0)  # the first NVIDIA GPUs with bf16


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
