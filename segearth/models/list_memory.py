"""How much memory the list of tiles of `flat` takes, on a GPU; see `window_memory`."""

from __future__ import annotations

import math
from typing import NamedTuple

from segearth.models.simfeatup import GUIDANCE_DIM, KEY_DIM
from segearth.models.tile_kernels import PIXELS, TILE
from segearth.models.window_memory import GPU_BATCH, block, encoder_batch, encoder_bytes, fitting
from segearth.windows import Grid


class ListMemory(NamedTuple):
    """Bytes of the working set; the methods are those of `WindowMemory`.

    Attributes:
        encoder: activations of one window.
        upsampler: maps and kernels of one window.
        logits: of one window.
        scratch: what an operation on all tiles of one window gathers; only as many tiles are computed at once as the
            memory leaves room for.
        fixed: taken once, for any number of windows.
    """

    encoder: int
    upsampler: int
    logits: int
    scratch: int = 0
    fixed: int = 0

    def batch(self, windows: int, max_memory_mb: float) -> int:
        """See `WindowMemory.batch`."""
        return encoder_batch(windows, max_memory_mb, self.encoder, GPU_BATCH)

    def group(self, columns: int, max_memory_mb: float) -> tuple[int, int]:
        """See `WindowMemory.group`."""
        return block(self.together(columns, max_memory_mb), columns)

    def together(self, columns: int, max_memory_mb: float) -> int:
        """How many windows are upsampled at once, at most, in a grid of so many columns.

        Half of the memory is left to what is gathered, a quarter where many logits wait for their turn.
        """
        windows = max(1, fitting(self._share(max_memory_mb, 2), self.upsampler + self.logits))
        most = self._share(max_memory_mb, 4 / 3) * 2**20
        while windows > 1 and self._held(windows, columns) > most:
            windows -= 1
        return windows

    def images(self, windows: int, beside: int, max_memory_mb: float) -> int:
        """How many images are mapped at once, if each has so many windows, and takes so many bytes beside them."""
        each = windows * (self.upsampler + self.logits) + beside
        return max(1, fitting(self._share(max_memory_mb, 2), each))

    def scratch_mb(self, windows: int, columns: int, max_memory_mb: float) -> float:
        """What may be gathered at once for the tiles of so many windows: what is left, but not next to nothing."""
        return max(max_memory_mb - (self._held(windows, columns) + self.fixed) / 2**20, max_memory_mb / 4)

    def working_set(self, grid: Grid, max_memory_mb: float, images: int = 1) -> int:
        """Bytes of the windows that are computed at once, of one image or several."""
        together = min(self.together(grid.columns, max_memory_mb), images * grid.count)
        gathered = self.scratch_mb(together, grid.columns, max_memory_mb) * 2**20
        upsampled = self._held(together, grid.columns) + min(together * self.scratch, int(gathered)) + self.fixed
        return max(self.batch(grid.count, max_memory_mb) * self.encoder, upsampled)

    def _share(self, max_memory_mb: float, part: float) -> float:
        """The memory for windows; where tiles are gathered, it is divided by `part`."""
        return (max_memory_mb - self.fixed / 2**20) / (part if self.scratch else 1)

    def _held(self, windows: int, columns: int) -> int:
        """Bytes of windows that are upsampled, and of the logits of a strip of the grid, which wait for their turn."""
        rows, side = block(windows, columns)
        waiting = 0 if rows == 1 or side == columns else rows * columns * self.logits
        return windows * (self.upsampler + self.logits) + waiting


def list_memory(
    size: tuple[int, int], patch: int, width: int, dim: int, queries: int, radius: int, item: int, fixed: int | None
) -> ListMemory:
    """Counts the largest tensors of one window, in each phase of the work.

    Kernels are counted as if no windows shared any.

    Args:
        size: its (height, width) in pixels.
        patch: side of a patch in pixels.
        width: of the encoder.
        dim: D, of its features.
        queries: Q.
        radius: of the upsampler's steps.
        item: bytes of a number in maps and kernels, 2 or 4.
        fixed: what the operations take once, in bytes; None: they gather, as PyTorch's do.
    """
    tokens = math.prod(-(-side // patch) for side in size)
    pixels, doubled = tokens * patch**2, tokens * 4 ** math.ceil(math.log2(patch))  # before it is resized
    rank, names = (-(-count // 16) * 16 for count in (min(dim, tokens + 1), queries))
    maps = item * doubled * (rank + names)  # at full size; the last step's source is a quarter of it
    kernels = item * doubled * source_side(radius) ** 2
    guide = 4 * doubled * (KEY_DIM + 2 * GUIDANCE_DIM)
    copies = 2 if fixed is None else 1  # tiles, and what is made of them
    results = 4 * pixels * (queries + 2)  # with the lengths
    phases = [
        (tokens + 1) * (28 * dim + 24 * tokens),  # vectors and their Gram matrix, in float64
        maps // 16 + kernels // 4 + copies * maps // 4,
        maps // 4 + kernels + guide,
    ]
    if doubled == pixels:
        phases.append(maps // 4 + kernels + copies * results)
    else:
        phases += [maps // 4 + kernels + copies * maps, maps + 2 * results]
    beside = 12 * pixels + 16 * tokens * dim  # normalised pixels; features and tokens
    resized = 0 if doubled == pixels else 4 * rank * (doubled + 2 * pixels)  # one window after another
    logits = 4 * queries * pixels
    scratch = doubled // PIXELS * max(job_bytes(radius), tile_bytes(source_side(radius) ** 2, rank + names, item))
    return ListMemory(
        encoder_bytes(size, patch, width),
        max(phases) + beside - logits,
        logits,
        scratch if fixed is None else 0,
        resized + (fixed or 0),
    )


def source_side(radius: int) -> int:
    """How many source positions along an axis a tile draws on, at most."""
    return TILE // 2 + radius + 3


def job_bytes(radius: int) -> int:
    """What is gathered to compute the kernels of one tile: keys of its halo, and four matrices on it."""
    return 4 * (TILE + 2 * radius) ** 2 * (KEY_DIM + 4 * PIXELS)


def tile_bytes(positions: int, channels: int, item: int) -> int:
    """What is gathered to apply kernels on so many source positions to a tile of maps with so many channels."""
    return item * ((positions + 2 * PIXELS) * channels + PIXELS * positions)
