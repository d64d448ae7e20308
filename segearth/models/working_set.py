"""How many windows a model computes at once, by its parts and the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from segearth.models.dense_clip import DenseCLIP
from segearth.models.factored import listed
from segearth.models.flat import MOST_PIXELS, SCRATCH_MB
from segearth.models.list_memory import ListMemory, list_memory
from segearth.models.window_memory import CPU_BATCH, GPU_BATCH, WindowMemory, window_memory


def memory_of(
    encoder: DenseCLIP, upsampler: nn.Module | None, query_features: Tensor, size: tuple[int, int]
) -> WindowMemory | ListMemory:
    """What a window takes.

    Args:
        encoder: as of `SegEarth`.
        upsampler: likewise.
        query_features: likewise, on the device that computes.
        size: (height, width) of the window in pixels.
    """
    device, dtype = query_features.device, next(encoder.parameters(), query_features).dtype
    shape = (size, encoder.patch_size, encoder.width, encoder.dim, len(query_features))
    operations = listed(upsampler, device, dtype)
    if operations is not None and math.prod(size) <= MOST_PIXELS:
        radius = int(upsampler.radius)  # type: ignore[union-attr, arg-type]
        return list_memory(*shape, radius, 4 if dtype == torch.float32 else 2, operations.fixed)
    most = GPU_BATCH if device.type in ("cuda", "mps") else CPU_BATCH
    return window_memory(*shape, upsampler is not None, most)


def upsampled_together(
    memory: WindowMemory | ListMemory, columns: int, count: int, max_memory_mb: float
) -> tuple[int, float]:
    """How many windows of several groups are upsampled together (0: each group by itself), and the MB gathered for it.

    Args:
        memory: of a window.
        columns: windows in a row of the grid.
        count: windows in all.
        max_memory_mb: bound of the working set.
    """
    if not isinstance(memory, ListMemory):
        return 0, SCRATCH_MB
    together = min(memory.together(columns, max_memory_mb), count)
    return together, memory.scratch_mb(together, columns, max_memory_mb)
