"""A joint bilateral upsampling step as matrix products over tiles: what `JBUStep` computes, fast on any device.

The plain step multiplies every pixel's T = (2r+1)² taps with a neighbourhood in the bicubically enlarged map. Here
the output is cut into tiles of 8 × 8 pixels, which together need a halo of S × S enlarged pixels, S = 8 + 2r:

- the range kernel's dot products of a tile are one product, (64 × 32) · (32 × S²). Of its row p, the taps of pixel p
  are the (2r+1)² entries around it; with the right strides they are a view, no gathering is needed;
- the taps, put back at these places of a (64 × S²) matrix, are the tile's convolution;
- bicubic enlargement and reflected borders are linear and separable, S enlarged rows being made of A ≤ 12 rows of the
  source. Multiplied into the convolution, they leave a (64 × A²) matrix that acts on the source itself;
- the output tile is that matrix times the (A² × C) source pixels, for any number of channels C.

Kernels depend on the image alone. Windows that overlap share them, except in the tiles along a window's own border.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segearth.models.simfeatup import JBUStep, pointwise

TILE = 8
PIXELS = TILE * TILE


class Axis(NamedTuple):
    """How tiles along one axis draw on the source, bicubic enlargement and reflection included.

    Attributes:
        weights: (tiles, S, A), of the tile's S enlarged positions on its A source positions.
        positions: (tiles, A), these source positions.
    """

    weights: Tensor
    positions: Tensor


@lru_cache(maxsize=64)
def axis(length: int, radius: int, device: torch.device) -> Axis:
    """The tables for a source axis of `length`, enlarged to twice that.

    Positions beyond the reflected border belong to the last tile's overhang and are cut away later.
    """
    enlarged = 2 * length
    tiles = -(-enlarged // TILE)
    position = torch.arange(tiles)[:, None] * TILE - radius + torch.arange(TILE + 2 * radius)
    position = position.abs()
    position = torch.where(position >= enlarged, 2 * (enlarged - 1) - position, position).clamp(0, enlarged - 1)
    centre = (position.double() + 0.5) / 2 - 0.5
    base = centre.floor()
    weights = _cubic(centre - base)
    index = (base[..., None].long() + torch.arange(-1, 3)).clamp(0, length - 1)  # (tiles, S, 4)
    start = index.amin(dim=(1, 2))
    width = int((index.amax(dim=(1, 2)) - start).max()) + 1
    start = start.clamp(max=length - width)
    matrix = torch.zeros(tiles, position.shape[1], width, dtype=torch.double)
    matrix.scatter_add_(2, index - start[:, None, None], weights)
    return Axis(matrix.float().to(device), (start[:, None] + torch.arange(width)).to(device))


def _cubic(t: Tensor) -> Tensor:
    """The four weights of cubic convolution (Keys, 1981) at the fraction t, with a = -0.75 as in torch; (..., 4)."""
    a = -0.75

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return torch.stack([far(t + 1), near(t), near(1 - t), far(2 - t)], dim=-1)


class Guide:
    """The kernels of one step for one picture, computed for the tiles that are asked for."""

    def __init__(self, step: JBUStep, guidance: Tensor) -> None:
        """Projects the guidance.

        Args:
            step: the learned step.
            guidance: (3, H, W), pooled to the step's output size, H and W even.
        """
        radius = step.radius
        self.radius = radius
        height, width = guidance.shape[-2:]
        self.rows = axis(height // 2, radius, guidance.device)
        self.columns = axis(width // 2, radius, guidance.device)
        ty, tx = len(self.rows.positions), len(self.columns.positions)
        overhang = [0, tx * TILE - width, 0, ty * TILE - height]
        keys = F.pad(step.range_proj(guidance[None]), [radius] * 4, mode="reflect")[0]
        keys = F.pad(keys, overhang).permute(1, 2, 0).contiguous()  # (H + 2r, W + 2r, 32), and the overhang
        side = TILE + 2 * radius
        row, pixel, _ = keys.stride()
        self.halos = keys.as_strided((ty, tx, side, side, keys.shape[2]), (TILE * row, TILE * pixel, row, pixel, 1))
        colours = F.pad(guidance, overhang).unflatten(2, (tx, TILE)).unflatten(1, (ty, TILE))
        self.colours = colours.permute(1, 3, 2, 4, 0).flatten(2, 3)  # (ty, tx, 64, 3)
        self.temperature = step.range_temp.exp().clamp(1e-4, 1e4)
        self.spatial = step.spatial_kernel()
        first, first_bias = pointwise(step.fixup_proj[0])
        last, last_bias = pointwise(step.fixup_proj[3])
        taps = len(self.spatial)
        self.fixup = (first[:, :taps].T, first[:, taps:].T, first_bias, 0.1 * last.T, 0.1 * last_bias)

    def kernels(self, rows: slice, columns: slice) -> Tensor:
        """The matrices of a rectangle of tiles, (rows, columns, 64, A · A) on source pixels in (x, y) order."""
        side, width = TILE + 2 * self.radius, 2 * self.radius + 1
        halos = self.halos[rows, columns]
        ty, tx = halos.shape[:2]
        n = ty * tx
        centres = halos[:, :, self.radius : self.radius + TILE, self.radius : self.radius + TILE]
        products = torch.bmm(
            (centres * self.temperature).reshape(n, PIXELS, -1), halos.reshape(n, side * side, -1).transpose(1, 2)
        )
        shape = (n, TILE, TILE, width, width)
        # of row p = (py, px) the taps (dy, dx) stand in column (py + dy) · S + px + dx
        strides = (PIXELS * side * side, TILE * side * side + side, side * side + 1, side, 1)
        kernel = products.as_strided(shape, strides).reshape(n * PIXELS, -1).softmax(dim=-1)
        kernel = kernel.mul_(self.spatial)
        kernel = kernel.div_(kernel.sum(dim=-1, keepdim=True).clamp_(min=1e-7))
        on_taps, on_colours, bias, last, last_bias = self.fixup
        hidden = torch.addmm(bias, self.colours[rows, columns].reshape(n * PIXELS, -1), on_colours)
        hidden = F.gelu(hidden.addmm_(kernel, on_taps))
        kernel = kernel.add_(last_bias).addmm_(hidden, last)
        banded = kernel.new_zeros(n, PIXELS, side, side)
        banded.as_strided(shape, strides).copy_(kernel.view(shape))
        across, down = self.columns.weights[columns], self.rows.weights[rows]
        banded = torch.matmul(banded.view(ty, tx, PIXELS * side, side), across)  # enlarged columns -> source columns
        banded = banded.view(n, PIXELS, side, -1).transpose(2, 3).reshape(ty, -1, side)
        return torch.bmm(banded, down).view(ty, tx, PIXELS, -1)


class Placed(NamedTuple):
    """A window in a picture that several windows share: its tile offsets, and its own guide for its border."""

    top: int
    left: int
    guide: Guide


def upsample_tiles(
    step: JBUStep, sources: list[Tensor], guidance: Tensor, offsets: list[tuple[int, int]], size: tuple[int, int]
) -> Iterator[tuple[int, int, Tensor]]:
    """Doubles the maps of several windows of one picture, tile row by tile row.

    Args:
        step: the learned step.
        sources: a map (h, w, C) for each window.
        guidance: (3, H, W), the picture that holds the windows, pooled to the step's output resolution.
        offsets: (top, left) of each window in that picture, in pixels of that resolution, multiples of 8.
        size: (2h, 2w), the windows' size at that resolution.

    Yields:
        Number of the window, tile row in it, and the tiles of that row, (columns, 64, C), overhang included.
    """
    height, width = size
    shared = Guide(step, guidance)
    whole_height, whole_width = guidance.shape[-2:]
    alone = (whole_height, whole_width) == size
    guides = [shared if alone else Guide(step, guidance[:, y : y + height, x : x + width]) for y, x in offsets]
    ty, tx = len(guides[0].rows.positions), len(guides[0].columns.positions)
    for row in range(len(shared.rows.positions)):
        common: Tensor | None = None
        for number, ((y, x), source, guide) in enumerate(zip(offsets, sources, guides, strict=True)):
            own_row, first = row - y // TILE, x // TILE
            if not 0 <= own_row < ty:
                continue
            at_border = (own_row == 0 and y > 0) or (own_row == ty - 1 and y + height < whole_height)
            if at_border:
                kernel = guide.kernels(slice(own_row, own_row + 1), slice(None))[0]
            else:
                if common is None:
                    common = shared.kernels(slice(row, row + 1), slice(None))[0]
                kernel = common[first : first + tx]
                ends = [0] * (x > 0) + [tx - 1] * (x + width < whole_width)
                if ends:
                    kernel = kernel.clone()
                for end in ends:
                    kernel[end] = guide.kernels(slice(own_row, own_row + 1), slice(end, end + 1))[0, 0]
            pixels = source[guide.rows.positions[own_row], guide.columns.positions[:, :, None]]  # (tx, A, A, C), (x, y)
            yield number, own_row, torch.bmm(kernel, pixels.flatten(1, 2))


def double(step: JBUStep, sources: list[Tensor], guidance: Tensor, offsets: list[tuple[int, int]]) -> list[Tensor]:
    """Doubles the maps (h, w, C) of several windows of one picture to (2h, 2w, C); see `upsample_tiles`."""
    h, w, channels = sources[0].shape
    tx = -(-2 * w // TILE)
    doubled = [source.new_empty(-(-2 * h // TILE) * TILE, tx * TILE, channels) for source in sources]
    for number, row, tiles in upsample_tiles(step, sources, guidance, offsets, (2 * h, 2 * w)):
        rows = doubled[number][row * TILE : (row + 1) * TILE].view(TILE, tx, TILE, channels)
        rows.copy_(tiles.view(tx, TILE, TILE, channels).transpose(0, 1))
    return [one[: 2 * h, : 2 * w] for one in doubled]
