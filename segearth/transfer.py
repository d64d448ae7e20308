"""Pixels on their way to a device and maps on their way back: bytes go up, resizing and normalising are done there."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from segearth.clips import STATISTICS, Statistics
from segearth.images.resizing import columns, resize, taps

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VALUES = 1 << 24  # so many values of the result are computed at once: 64 MB a tensor


def to_model(
    pixels: NDArray[np.uint8], size: tuple[int, int], device: torch.device, statistics: Statistics = STATISTICS
) -> Tensor:
    """An image as the model takes it: resized as `segearth.images.resizing.resize` does it, and normalised.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        size: (height, width) that it is mapped at.
        device: the model's.
        statistics: of the images that the model was trained on.

    Returns:
        (1, 3, height, width) float32 on the device; on every device the same bits.
    """
    here = device.type == "cpu"  # where it fits into a cache, band by band
    resized = torch.from_numpy(resize(pixels, size).copy()) if here else resize_on(device, pixels, size)
    return normalise(resized.permute(2, 0, 1)[None], statistics)


def normalise(image: Tensor, statistics: Statistics = STATISTICS) -> Tensor:
    """(B, 3, H, W) RGB from 0 to 255 to what a CLIP expects: minus the mean, divided by the standard deviation."""
    mean, std = _on(image.device, statistics)
    return (image.float() - mean) / std


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # kept between calls: ordinary tensors
def _on(device: torch.device, statistics: Statistics) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(values, device=device, dtype=torch.float32)[:, None, None] for values in statistics)
    return mean, std


def resize_on(device: torch.device, pixels: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """`segearth.images.resizing.resize` on a device, value by value the same: all of it is whole numbers.

    Args:
        device: where it is computed.
        pixels: (H, W, 3) uint8; only the rows that are needed go there.
        size: (height, width).

    Returns:
        (height, width, 3) uint8 on the device.
    """
    if pixels.shape[:2] == size:
        return up(pixels, device)
    above, row_weights = taps(pixels.shape[0], size[0])
    rows = np.stack([above, above + 1]).clip(0, pixels.shape[0] - 1)
    needed, places = np.unique(rows, return_inverse=True)
    if 2 * len(needed) <= len(pixels):
        pixels, rows = pixels[needed], places.reshape(rows.shape)
    source = up(pixels, device)
    neighbours, column_weights = columns(source.shape[1], size[1])
    tables = (*neighbours, *rows, *column_weights, *row_weights)
    together = up(np.concatenate(tables, dtype=np.int64), device)  # one copy, which nobody waits for
    left, right, upper, lower, *weights = together.split([len(table) for table in tables])
    from_left, from_right, from_above, from_below = (each.int()[:, None] for each in weights)
    resized = source.new_empty(*size, 3)
    step = max(1, _VALUES // (3 * size[1]))
    for band in (slice(top, top + step) for top in range(0, size[0], step)):
        shares = []
        for row, weights in ((upper[band], from_above[band]), (lower[band], from_below[band])):
            line = source[row]
            sums = line[:, left] * from_left + line[:, right] * from_right
            shares.append((sums >> 4) * weights[:, None] >> 16)  # OpenCV cuts bits off, see there
        resized[band] = (shares[0] + shares[1] + 2) >> 2
    return resized


def up(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on a device; on CUDA through pinned memory, so that nobody waits for it."""
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def wait(device: torch.device) -> None:
    """Returns when a device has done what was asked of it so far."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def down(*tensors: Tensor) -> tuple[NDArray[Any], ...]:
    """Arrays of tensors, which are on one device; of CUDA's through pinned memory, and with a single wait."""
    device = tensors[0].device
    if device.type != "cuda":
        return tuple(tensor.cpu().numpy() for tensor in tensors)
    pinned = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
    for host, tensor in zip(pinned, tensors, strict=True):
        host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(device).synchronize()
    return tuple(host.numpy().copy() for host in pinned)  # pinned memory is scarce
