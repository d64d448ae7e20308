"""The mean of overlapping windows at every pixel, for a whole image or for a band of rows that moves down a raster."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from segearth.windows import Grid, Window, starts

Weights = Callable[[int], Tensor]  # side of a window -> weights along it, (side,) float64, all positive


def mean(side: int) -> Tensor:
    """All windows count alike, as in the paper."""
    return torch.ones(side, dtype=torch.float64, device="cpu")


def hann(side: int) -> Tensor:
    """A window counts most in its middle: sin²(π (i + ½) / side), never zero."""
    return torch.sin(math.pi * (torch.arange(side, dtype=torch.float64, device="cpu") + 0.5) / side) ** 2


BLENDS: dict[str, Weights] = {"mean": mean, "hann": hann}


class Blend:
    """Sums of the windows' logits, and their weighted means.

    The sums are float32, so they depend on the order of the additions in their last bit. Windows must therefore be
    added in the grid's order, row by row; then a pixel's mean has the same bits whatever area it is computed in, for
    an area gets all windows that touch it.
    """

    def __init__(
        self,
        grid: Grid,
        queries: int,
        area: Window | None = None,
        rows: int | None = None,
        blend: str = "mean",
        device: torch.device | str | None = None,
    ) -> None:
        """Begins at the top of an area, with nothing added.

        Args:
            grid: of the image or raster.
            queries: Q.
            area: the part of it that is wanted; None: all.
            rows: how many rows are held at once; None: all of the area. To be moved with `take`, at least a
                window's height.
            blend: a name of `BLENDS`.
            device: where the sums are kept.
        """
        self.area = area or Window(0, grid.height, 0, grid.width)
        self.top = self.area.top
        height = self.area.bottom - self.area.top
        rows = height if rows is None else min(rows, height)
        self.sums = torch.zeros(queries, rows, self.area.right - self.area.left, dtype=torch.float32, device=device)
        self._is_mean = blend == "mean"
        self._row_weights, sums = _axis(grid.height, grid.crop, grid.stride, blend, self.sums.device)
        self._row_sums = sums[self.area.top : self.area.bottom]
        self._column_weights, sums = _axis(grid.width, grid.crop, grid.stride, blend, self.sums.device)
        self._column_sums = sums[self.area.left : self.area.right]

    def add(self, window: Window, logits: Tensor) -> None:
        """Adds the part of a window that lies in the rows held.

        Args:
            window: of the grid, in its pixels.
            logits: (Q, height, width) float32 of the window.

        Raises:
            ValueError: a window that reaches below the rows held, where its area goes on.
        """
        held = self.top + self.sums.shape[1]
        if window.bottom > held and held < self.area.bottom:
            raise ValueError(f"{window} does not lie in the rows {self.top} to {held} that are held: take rows first")
        top, bottom = max(window.top, self.top), min(window.bottom, held)
        left, right = max(window.left, self.area.left), min(window.right, self.area.right)
        if top >= bottom or left >= right:
            return
        rows, columns = slice(top - window.top, bottom - window.top), slice(left - window.left, right - window.left)
        part = logits[:, rows, columns]
        if not self._is_mean:
            part = part * (self._row_weights[rows, None] * self._column_weights[columns])
        place = self.sums[:, top - self.top : bottom - self.top, left - self.area.left : right - self.area.left]
        place.add_(part)

    def take(self, bottom: int) -> Tensor:
        """Takes the rows that no further window will be added to, and moves on.

        Args:
            bottom: the first row that is still open, in pixels of the grid.

        Returns:
            (Q, rows, width of the area) float32: the means from the first row held up to `bottom`; of no rows
            where there is nothing to take.

        Raises:
            ValueError: more rows than are held.
        """
        bottom = min(bottom, self.area.bottom)
        count, held = max(0, bottom - self.top), self.sums.shape[1]
        if count > held:
            raise ValueError(f"rows {self.top} to {bottom} asked for, {held} are held: take fewer at once")
        first = self.top - self.area.top
        total = self._row_sums[first : first + count, None] * self._column_sums
        follow = min(held, self.area.bottom - bottom) - (held - count)  # rows that come below those that stay
        if count == held:
            taken = self.sums.div_(total)
            self.sums = self.sums.new_zeros(len(taken), follow, taken.shape[2])
        else:
            taken = self.sums[:, :count] / total
            self.sums = F.pad(self.sums[:, count:], [0, 0, 0, follow])
        self.top += count
        return taken


@lru_cache(maxsize=16)  # on a GPU, making them takes longer than a window's sum
@torch.inference_mode(False)  # the tables outlive the call: they must be ordinary tensors
def _axis(length: int, crop: int, stride: int, blend: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """A window's weights along an axis of `length` pixels, and the sum of all windows' weights at each of these."""
    weights = BLENDS[blend](min(length, crop))
    total = torch.zeros(length, dtype=torch.float64, device="cpu")
    for start in starts(length, crop, stride):
        total[start : start + len(weights)] += weights
    return weights.float().to(device), total.float().to(device)
