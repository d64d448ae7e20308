"""Joint bilateral upsampling of many windows at once, for a GPU: the result of `tiles`, in few large operations.

On a processor small bands of tiles stay in its cache. A GPU wants the opposite: here all tiles of all windows of all
images are one list, and every operation works on as much of it as the memory allows.

Two tiles have the same kernels if they show the same part of the same picture and touch the same borders of their
windows. Such kernels are computed once: `Plan.jobs` lists the distinct ones, `Plan.slots` says which one a tile uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from segearth.models.list_memory import job_bytes, tile_bytes
from segearth.models.simfeatup import JBUStep, LinearUpsampler, pool
from segearth.models.tile_kernels import PIXELS, TILE, StepWeights, axis, project_guidance, step_weights, tile_kernels

Places = tuple[tuple[tuple[int, int], ...], ...]
"""(top, left) of the windows in each picture, in pixels."""

# Default memory of the operands that are gathered for the tiles that are computed at once: enough for all tiles of a
# 448 × 448 image.
SCRATCH_MB = 1536

MOST_PIXELS = 1 << 22  # of a window: each takes 1.1 kB in a step (4.6 GB); more is for the bands of `tiles`


class Plan(NamedTuple):
    """The tiles of a step and the kernels that they use. Tiles are numbered window by window, row by row.

    Attributes:
        jobs: (J,), a tile for each set of kernels to be computed.
        slots: (n · tiles,), for each tile the number of its kernels in `jobs`.
        rows: tiles along a window's height.
        columns: tiles along its width.
        places: (n · tiles, 3), for each tile its window, and its row and column of tiles there.
        job_places: (J, 3), the same of `jobs`.
    """

    jobs: Tensor
    slots: Tensor
    rows: int
    columns: int
    places: Tensor
    job_places: Tensor


class Operations(Protocol):
    """The parts of a step; written for PyTorch here and as Triton kernels in `triton_kernels`.

    Attributes:
        fixed: bytes that they take for any number of tiles; None: they gather for as many tiles as the memory allows.
    """

    fixed: int | None

    def matrices(self, step: JBUStep, guidance: Tensor, plan: Plan, dtype: torch.dtype) -> Tensor:
        """The kernels (J, 64, A · A) of the plan's jobs, from guidance (n, 3, H, W)."""

    def upsample2x(self, matrices: Tensor, radius: int, source: Tensor, plan: Plan, out: Tensor) -> None:
        """Applies kernels to maps (n, h, w, C), which gives `out`, (n, 2h, 2w, at most C) of any strides."""

    def norms(self, matrices: Tensor, radius: int, source: Tensor, shift: Tensor, plan: Plan) -> Tensor:
        """Lengths (n, 2h, 2w) of the doubled maps' vectors after `shift`, (n, C), is added."""


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the tables outlive the call: they must be ordinary tensors
def make_plan(
    places: Places, size: tuple[int, int], doubled: tuple[int, int], radius: int, device: torch.device
) -> Plan:
    """Finds the tiles that share kernels.

    Args:
        places: of the windows.
        size: the windows' (height, width) in pixels.
        doubled: their size after the step.
        radius: of the step.
        device: where the tables are wanted.
    """
    rows, columns = (-(-side // TILE) for side in doubled)
    factor = size[0] // doubled[0]
    whole = factor > 0 and (factor * doubled[0], factor * doubled[1]) == size
    # with such sides and radius only the outermost tiles draw on what is beyond a window's border
    whole = whole and radius <= 5 and all(side % TILE == 0 for side in doubled)
    cpu = torch.device("cpu")
    ty = torch.arange(rows, device=cpu)[:, None].expand(rows, columns)
    tx = torch.arange(columns, device=cpu).expand(rows, columns)
    border = (ty == 0) + 2 * (ty == rows - 1) + 4 * (tx == 0) + 8 * (tx == columns - 1)
    keys, first = [], 0  # tiles with the same key share kernels
    for offsets in places:
        shared = whole and all(offset % (TILE * factor) == 0 for pair in offsets for offset in pair)
        for number, (top, left) in enumerate(offsets, start=first):
            y, x = (top // (TILE * factor), left // (TILE * factor)) if shared else (0, 0)
            picture = torch.full_like(ty, first if shared else number)
            keys.append(torch.stack([picture, ty + y, tx + x, border]).flatten(1))
        first += len(offsets)
    _, slots = torch.cat(keys, dim=1).unique(dim=1, return_inverse=True)
    jobs = torch.full((int(slots.max()) + 1,), len(slots), device=cpu)
    jobs.scatter_reduce_(0, slots, torch.arange(len(slots), device=cpu), reduce="amin")
    windows = torch.arange(len(slots) // (rows * columns), device=cpu)
    where = torch.cartesian_prod(windows, ty[:, 0], tx[0]).view(-1, 3)
    return Plan(jobs.to(device), slots.to(device), rows, columns, where.to(device), where[jobs].to(device))


class TorchOperations:
    """`Operations` on any device that PyTorch knows."""

    def __init__(self, scratch_mb: float = SCRATCH_MB) -> None:
        """Sets the most memory that is gathered for the tiles that are computed at once."""
        self.fixed: int | None = None
        self.scratch = int(scratch_mb * 2**20)
        self.weights: dict[JBUStep, StepWeights] = {}

    def matrices(self, step: JBUStep, guidance: Tensor, plan: Plan, dtype: torch.dtype) -> Tensor:
        """See `Operations`."""
        rows, columns = (axis(side // 2, step.radius, guidance.device) for side in guidance.shape[2:])
        colours = guidance.permute(0, 2, 3, 1).contiguous()
        if step not in self.weights:
            self.weights[step] = step_weights(step)
        keys, inner = project_guidance(step, colours), slice(step.radius, step.radius + TILE)
        positions = columns.positions.shape[1] * rows.positions.shape[1]
        kernels = keys.new_empty(len(plan.jobs), PIXELS, positions, dtype=dtype)
        at_once = max(1, self.scratch // job_bytes(step.radius))
        for places, out in zip(plan.job_places.split(at_once), kernels.split(at_once), strict=True):
            window, ty, tx = places.unbind(dim=1)
            y, x = rows.enlarged[ty][:, :, None], columns.enlarged[tx][:, None, :]
            window = window[:, None, None]
            tiles = (keys[window, y, x], colours[window, y[:, inner], x[..., inner]])
            out.copy_(tile_kernels(self.weights[step], *tiles, columns.weights[tx], rows.weights[ty]))
        return kernels

    def upsample2x(self, matrices: Tensor, radius: int, source: Tensor, plan: Plan, out: Tensor) -> None:
        """See `Operations`."""
        source = source[..., : out.shape[-1]]
        tiles = source.new_empty(len(plan.slots), PIXELS, source.shape[-1])
        for part in self._parts(len(plan.slots), matrices, source):
            torch.bmm(*_operands(matrices, radius, source, plan, part), out=tiles[part])
        _untile(tiles, plan, out)

    def norms(self, matrices: Tensor, radius: int, source: Tensor, shift: Tensor, plan: Plan) -> Tensor:
        """See `Operations`."""
        n, h, w, _ = source.shape
        out, lengths = shift.new_empty(n, 2 * h, 2 * w, 1), []
        for part in self._parts(len(plan.slots), matrices, source):
            vectors = torch.bmm(*_operands(matrices, radius, source, plan, part)) + shift[plan.places[part, :1]]
            lengths.append(torch.linalg.vector_norm(vectors, dim=-1, keepdim=True))
            del vectors  # not held while the next ones are gathered
        _untile(lengths[0] if len(lengths) == 1 else torch.cat(lengths), plan, out)
        return out[..., 0]

    def _parts(self, tiles: int, matrices: Tensor, source: Tensor) -> Iterator[slice]:
        """Yields the parts of a list of so many tiles that are computed at once."""
        at_once = max(1, self.scratch // tile_bytes(matrices.shape[2], source.shape[-1], source.itemsize))
        return (slice(start, start + at_once) for start in range(0, tiles, at_once))


def _operands(matrices: Tensor, radius: int, source: Tensor, plan: Plan, part: slice) -> tuple[Tensor, Tensor]:
    """The kernels (m, 64, A · A) and source pixels (m, A · A, C) of a part of the list of tiles."""
    rows, columns = (axis(side, radius, source.device) for side in source.shape[1:3])
    window, ty, tx = plan.places[part].unbind(dim=1)
    pixels = source[window[:, None, None], rows.positions[ty][:, None, :], columns.positions[tx][:, :, None]]
    return matrices[plan.slots[part]], pixels.flatten(1, 2)


def _untile(tiles: Tensor, plan: Plan, out: Tensor) -> None:
    """Writes tiles (n · tiles, 64, C) as pixels to `out`, (n, H, W, C)."""
    pixels = tiles.view(len(out), plan.rows, plan.columns, TILE, TILE, -1).transpose(2, 3)
    if out.shape[1:3] == (plan.rows * TILE, plan.columns * TILE):
        out.unflatten(1, (plan.rows, TILE)).unflatten(3, (plan.columns, TILE)).copy_(pixels)
    else:  # without the overhang of the last tiles
        out.copy_(pixels.flatten(3, 4).flatten(1, 2)[:, : out.shape[1], : out.shape[2]])


def operations_for(device: torch.device, dtype: torch.dtype, scratch_mb: float = SCRATCH_MB) -> Operations | None:
    """Chooses the fastest operations on a GPU: Triton's where they run, else PyTorch's. None on other devices.

    Args:
        device: the model's.
        dtype: of the maps, float32 or float16.
        scratch_mb: most memory that is gathered for the tiles that are computed at once.
    """
    if device.type not in ("cuda", "mps"):
        return None
    if device.type == "cuda" and find_spec("triton") is not None:
        from segearth.models import triton_kernels

        if triton_kernels.run_on(device, dtype):
            return triton_kernels.TritonOperations()
    return TorchOperations(scratch_mb)


class Upsampled:
    """Maps of windows, doubled by all steps but the last; the last step gives lengths or channels on request."""

    def __init__(
        self,
        upsampler: LinearUpsampler,
        maps: Tensor,
        windows: Tensor,
        places: Places,
        operations: Operations,
    ) -> None:
        """Takes all steps but the last.

        Args:
            upsampler: whose steps they are.
            maps: (n, h, w, C) in float32 or float16, the type that maps and kernels are kept in; sums are float32.
                Matrix products like C to be a multiple of 16.
            windows: (n, 3, H, W), the normalised images.
            places: where in which picture the windows lie.
            operations: of `operations_for`.
        """
        self.operations, self.size = operations, (windows.shape[-2], windows.shape[-1])
        *steps, last = upsampler.steps(self.size[0] / maps.shape[1])
        for step in steps:
            maps = self._upsample2x(step, maps, windows, places)
        self.radius = last.radius
        # for a patch side that is no power of two: the windows are resized after the last step
        self.resized = self.size != (2 * maps.shape[1], 2 * maps.shape[2])
        if self.resized:
            maps = self._upsample2x(last, maps, windows, places)
        else:
            self.matrices, self.plan = self._kernels(last, maps, windows, places)
        self.maps = maps

    def norms(self, shift: Tensor) -> Tensor:
        """Lengths (n, 1, H, W) of the vectors of the first r channels after `shift`, (n, r), is added."""
        rank = shift.shape[1]
        if self.resized:
            lengths = [
                torch.linalg.vector_norm(pixels + window_shift[:, None, None], dim=0)
                for pixels, window_shift in zip(self._resize(slice(rank)), shift, strict=True)
            ]
            return torch.stack(lengths)[:, None]
        return self.operations.norms(self.matrices, self.radius, self.maps[..., :rank], shift, self.plan)[:, None]

    def channels(self, channels: slice) -> Tensor:
        """Some channels at full size: (n, K, H, W) float32."""
        if self.resized:
            return torch.stack(list(self._resize(channels)))
        source = self.maps[..., channels]
        out = source.new_empty(len(source), source.shape[-1], *self.size, dtype=torch.float32)
        self.operations.upsample2x(self.matrices, self.radius, source, self.plan, out.permute(0, 2, 3, 1))
        return out

    def _resize(self, channels: slice) -> Iterator[Tensor]:
        for source in self.maps[..., channels]:
            planes = source.permute(2, 0, 1)[None].float()
            yield F.interpolate(planes, size=self.size, mode="bilinear", align_corners=False)[0]

    def _kernels(self, step: JBUStep, maps: Tensor, windows: Tensor, places: Places) -> tuple[Tensor, Plan]:
        doubled = (2 * maps.shape[1], 2 * maps.shape[2])
        plan = make_plan(places, self.size, doubled, step.radius, maps.device)
        guidance = pool(windows, doubled)
        return self.operations.matrices(step, guidance, plan, maps.dtype), plan

    def _upsample2x(self, step: JBUStep, maps: Tensor, windows: Tensor, places: Places) -> Tensor:
        """(n, h, w, C) to (n, 2h, 2w, C)."""
        matrices, plan = self._kernels(step, maps, windows, places)
        out = maps.new_empty(len(maps), 2 * maps.shape[1], 2 * maps.shape[2], maps.shape[3])
        self.operations.upsample2x(matrices, step.radius, maps, plan, out)
        return out
