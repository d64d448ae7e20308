"""Estimates the memory that windows take by their largest tensors, and how many are therefore computed at once."""

from __future__ import annotations

import math
from typing import NamedTuple

from segearth.windows import Grid

# Windows in a call of the encoder, at most. A processor's caches and pages like few (ViT-B/16, nine windows: 5 to 7 %
# less time in calls of 3 to 5 than in one), a GPU likes many.
CPU_BATCH = 5
GPU_BATCH = 16

# Keeps the prediction of a 448 × 448 image with ViT-B/16 and SimFeatUp within the model plus 600 MB.
MAX_MEMORY_MB = 400


class WindowMemory(NamedTuple):
    """Bytes of the working set for one window.

    Attributes:
        encoder: its activations.
        upsampler: its maps and kernels.
        logits: with the copies on the way.
        most: windows in a call of the encoder, however much memory there is.
    """

    encoder: int
    upsampler: int
    logits: int
    most: int = CPU_BATCH

    def batch(self, windows: int, max_memory_mb: float) -> int:
        """How many windows the encoder gets in a call: one shape for all calls of an image.

        Matrix products of another shape may be rounded in another way, so the number depends on the image and the
        memory alone. It is at least 2 if there are two windows: products of two windows and more were found to have the
        same bits, those of one window have other bits. Among numbers that need the same number of calls, or one call
        more, the one with the least padding is taken.

        Args:
            windows: of an image.
            max_memory_mb: bound of the working set.
        """
        return encoder_batch(windows, max_memory_mb, self.encoder, self.most)

    def group(self, columns: int, max_memory_mb: float) -> tuple[int, int]:
        """How many (rows, columns) of windows are upsampled together, because they share kernels.

        Args:
            columns: windows in a row of the grid.
            max_memory_mb: bound of the working set.
        """
        together = self.together(columns, max_memory_mb)
        rows, side = block(together, columns)
        # logits are added in the order of the grid, so that a whole strip of such rows is held
        if side < columns and rows * columns * self.logits > max_memory_mb * 2**20:
            return 1, together
        return rows, side

    def together(self, columns: int, max_memory_mb: float) -> int:  # noqa: ARG002 (as of `ListMemory`)
        """How many windows are upsampled at once, at most."""
        return max(1, fitting(max_memory_mb, self.upsampler + self.logits))

    def working_set(self, grid: Grid, max_memory_mb: float) -> int:
        """Bytes of the windows that are computed at once."""
        columns = grid.columns
        rows, side = self.group(columns, max_memory_mb)
        together = min(rows * side, grid.count)
        held = 0 if rows == 1 or side == columns else rows * columns * self.logits
        return max(
            self.batch(grid.count, max_memory_mb) * self.encoder, together * (self.upsampler + self.logits) + held
        )


def encoder_batch(windows: int, max_memory_mb: float, each: int, most: int) -> int:
    """See `WindowMemory.batch`: for windows of `each` bytes, at most `most` of them in a call."""
    most = min(most, max(2, fitting(max_memory_mb, each)))
    calls = max(1, -(-windows // most))
    spread = (max(2, -(-windows // number)) for number in (calls, calls + 1))
    return max(1, min(windows, min(spread, key=lambda number: -windows % number)))


def block(together: int, columns: int) -> tuple[int, int]:
    """(rows, columns) of a block of at most `together` windows in a grid of so many columns, as square as it can be."""
    side = min(math.isqrt(together), columns)
    return together // side, side


def fitting(max_memory_mb: float, each: int) -> int:
    """How many items of `each` bytes fit into a memory; 0 if not even one does."""
    return int(min(max(max_memory_mb, 0) * 2**20 / each, 1e6))


def encoder_bytes(size: tuple[int, int], patch: int, width: int) -> int:
    """Bytes of the activations for a window of (height, width) pixels: q, k, v, attention, the FFN of four widths."""
    return int(4 * 16 * size[0] * size[1] / patch**2 * width) + 1


def window_memory(
    size: tuple[int, int], patch: int, width: int, dim: int, queries: int, upsampled: bool, most: int = CPU_BATCH
) -> WindowMemory:
    """Counts the largest tensors of one window.

    Args:
        size: its (height, width) in pixels.
        patch: side of a patch in pixels.
        width: of the encoder.
        dim: D, of its features.
        queries: Q.
        upsampled: whether features are upsampled.
        most: windows in a call of the encoder, `GPU_BATCH` on a GPU.
    """
    pixels = size[0] * size[1]
    tokens = pixels / patch**2
    rank = min(dim, tokens + 1) + queries
    maps = pixels * 0.35 * rank  # the last step's source has a quarter of the pixels, the one before 1/16
    guidance = pixels * 40  # 32 keys and 3 colours, with borders
    logits = pixels * 2.25 * queries  # with the copies on the way
    upsampler = int(4 * (maps + guidance)) if upsampled else 0
    return WindowMemory(encoder_bytes(size, patch, width), upsampler, int(4 * logits) + 1, most)
