"""The model on windows of an image: how many at once, through the encoder, to logits of their pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from segearth.models.averaging import View, mean_of_views
from segearth.models.dense_clip import DenseCLIP
from segearth.models.encoded_windows import EncodedGroup, Part, encoded_parts, in_order, joined, kept
from segearth.models.factored import listed
from segearth.models.flat import MOST_PIXELS, SCRATCH_MB
from segearth.models.list_memory import ListMemory, list_memory
from segearth.models.pixel_logits import PixelLogits
from segearth.models.precision import no_autocast
from segearth.models.replay import Replay
from segearth.models.window_groups import cut, group_windows
from segearth.models.window_memory import CPU_BATCH, GPU_BATCH, MAX_MEMORY_MB, WindowMemory, window_memory
from segearth.windows import Grid, Window


class WindowModel(nn.Module):
    """What `SegEarth` does with single windows; attributes as of that."""

    encoder: DenseCLIP
    replay: Replay
    upsampler: nn.Module | None
    query_features: Tensor
    cls_token_lambda: float
    slide_crop: int
    slide_stride: int
    tta: str | None

    def grid(self, height: int, width: int) -> Grid:
        """Where the windows of an image of (height, width) pixels lie; with `slide_crop` 0, one holds all."""
        crop = self.slide_crop or max(height, width, 1)
        return Grid(height, width, crop, self.slide_stride if self.slide_crop else crop)

    def batch(self, grid: Grid, max_memory_mb: float = MAX_MEMORY_MB) -> int:
        """How many windows of a grid a call of the encoder gets."""
        return self.memory(grid).batch(grid.count, max_memory_mb)

    def memory(self, grid: Grid) -> WindowMemory | ListMemory:
        """What a window of a grid takes."""
        encoder, device = self.encoder, self.query_features.device
        dtype = next(encoder.parameters(), self.query_features).dtype
        shape = (grid.window_size, encoder.patch_size, encoder.width, encoder.dim, len(self.query_features))
        operations = listed(self.upsampler, device, dtype)
        if operations is not None and math.prod(grid.window_size) <= MOST_PIXELS:
            radius = int(self.upsampler.radius)  # type: ignore[union-attr, arg-type]
            return list_memory(*shape, radius, 4 if dtype == torch.float32 else 2, operations.fixed)
        most = GPU_BATCH if device.type in ("cuda", "mps") else CPU_BATCH
        return window_memory(*shape, self.upsampler is not None, most)

    @torch.no_grad()
    def window_logits(
        self,
        image: Tensor,
        windows: Sequence[Window],
        batch: int,
        max_memory_mb: float = MAX_MEMORY_MB,
        keep: Callable[[EncodedGroup], object] | None = None,
    ) -> Iterator[tuple[Window, Tensor]]:
        """Logits of some windows, one after another in the order given: what `Blend` takes.

        Args:
            image: (3, H, W), normalised, the part of an image or raster that holds the windows.
            windows: in pixels of `image`, row by row; some of the grid may be missing.
            batch: windows in a call of the encoder. The last call is padded with repeats, so that all have one shape:
                the logits have the same bits in whatever company their windows come. See `batch`.
            max_memory_mb: as in `logits`.
            keep: called with all that `encoded_window_logits` needs for other queries, group by group; never with
                test-time averaging, of which nothing can be kept.

        Yields:
            Each window, and its logits (Q, height, width) float32. With test-time averaging each window is flipped and
            turned by itself, unlike in `logits`, where the image is: the same but where the last windows of a row or
            column are pulled back to the border.
        """
        if self.tta is not None:
            for window in windows:
                crop = image[None, :, window.top : window.bottom, window.left : window.right]
                yield window, self._averaged_window(self.tta, crop, max_memory_mb)
            return
        for _, window, logits in self._window_logits(image[None], windows, batch, max_memory_mb, keep):
            yield window, logits

    def _averaged_window(self, tta: str, crop: Tensor, max_memory_mb: float) -> Tensor:
        """Logits (Q, height, width) of one window (1, 3, height, width): the mean over its views."""

        def in_view(_number: int, _view: View, seen: Tensor) -> Tensor:
            whole = Window(0, seen.shape[-2], 0, seen.shape[-1])
            return next(logits[None] for *_, logits in self._window_logits(seen, [whole], 1, max_memory_mb))

        return mean_of_views(tta, crop, in_view)[0]

    @torch.no_grad()
    def encoded_window_logits(
        self, image: Tensor, windows: Sequence[Window], groups: Iterable[EncodedGroup]
    ) -> Iterator[tuple[Window, Tensor]]:
        """`window_logits` without the encoder; of groups without norms the logits have the same bits.

        Args:
            image: as of `window_logits`, which was called with it.
            windows: likewise.
            groups: what that gave to `keep`, of a model with the same encoder and upsampler.

        Yields:
            As `window_logits`.
        """
        parts = (
            (window, own)
            for group in groups
            for window, own in zip(
                group.windows,
                self._pixel_logits.of_group(
                    cut(image, group.windows, self.encoder.patch_size), *group[1:], scratch_mb=MAX_MEMORY_MB / 4
                ),
                strict=True,
            )
        )
        yield from in_order(windows, parts)

    def _window_logits(
        self,
        image: Tensor,
        windows: Sequence[Window],
        batch: int,
        max_memory_mb: float,
        keep: Callable[[EncodedGroup], object] | None = None,
    ) -> Iterator[tuple[int, Window, Tensor]]:
        """Yields the number of an image of (B, 3, H, W), a window in it, and its logits, in this order."""
        parts: Iterator[Part] = self._encoded_parts(image, windows, batch, max_memory_mb)
        if keep is not None:
            parts = kept(parts, keep)
        together, scratch_mb = self._together(len(image) * len(windows), windows, max_memory_mb)
        logits_of_windows = (
            ((part.number, window), own)
            for several in joined(parts, together)
            for part, logits in zip(several, self._pixel_logits.of_parts(several, scratch_mb), strict=True)
            for window, own in zip(part.group.windows, logits, strict=True)
        )
        order = [(number, window) for number in range(len(image)) for window in windows]
        for (number, window), own in in_order(order, logits_of_windows):
            yield number, window, own

    def _encoded_parts(
        self, image: Tensor, windows: Sequence[Window], batch: int, max_memory_mb: float
    ) -> Iterator[Part]:
        """Runs the encoder on windows of images (B, 3, H, W), in groups as large as the memory allows."""
        if not windows:
            return
        patch, (memory, columns) = self.encoder.patch_size, self._memory_of(windows)
        grouped = group_windows(windows, patch, *memory.group(columns, max_memory_mb))
        yield from encoded_parts(self._encode, image, grouped, patch, batch)

    def _together(self, count: int, windows: Sequence[Window], max_memory_mb: float) -> tuple[int, float]:
        """How many of `count` windows, of several groups, are upsampled together (0: each group by itself).

        And the MB that may be gathered for them.
        """
        if not windows:
            return 0, SCRATCH_MB
        memory, columns = self._memory_of(windows)
        if not isinstance(memory, ListMemory):
            return 0, SCRATCH_MB
        together = min(memory.together(columns, max_memory_mb), count)
        return together, memory.scratch_mb(together, columns, max_memory_mb)

    def _memory_of(self, windows: Sequence[Window]) -> tuple[WindowMemory | ListMemory, int]:
        """What each of some windows of a grid takes, and the grid's columns, as far as they are there."""
        first = windows[0]
        size = (first.bottom - first.top, first.right - first.left)
        return self.memory(Grid(*size, *size)), sum(window.top == first.top for window in windows)

    @property
    def _pixel_logits(self) -> PixelLogits:
        """What makes logits of encoded windows."""
        return PixelLogits(self.upsampler, self.query_features, self.cls_token_lambda, self.encoder.patch_size)

    def _encode(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Patch features (n, D, h, w) as the encoder gives them, and [CLS] vectors (n, D) in float32, or None."""
        with no_autocast():
            features, cls = self.replay(self.encoder, image)
        return features, None if cls is None else cls.float()
