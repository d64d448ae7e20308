"""From the CPU to a GPU without waiting: many small tensors in one copy, from memory that the GPU reads by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNED = 32  # elements: each tensor begins at a multiple of 128 bytes, as the GPU reads memory


def upload(tensors: Sequence[Tensor], device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Brings tensors to a device, as one dtype.

    Args:
        tensors: of the CPU, of any shapes and dtypes.
        device: where they are wanted. From the CPU to the CPU each stays as it is.
        dtype: what they become, still on the CPU: not every GPU has float64.
    """
    if device.type == "cpu" or not tensors:
        return [one.to(dtype) for one in tensors]
    flat = [one.flatten().to(dtype) for one in tensors]
    packed = torch.cat([F.pad(one, (0, -len(one) % ALIGNED)) for one in flat])
    if device.type == "cuda":
        packed = packed.pin_memory()  # a copy from other memory would wait for all that the GPU has to do before it
    there = packed.to(device, non_blocking=True)
    parts = there.split([len(one) + -len(one) % ALIGNED for one in flat])
    return [part[: one.numel()].view(one.shape) for part, one in zip(parts, tensors, strict=True)]
