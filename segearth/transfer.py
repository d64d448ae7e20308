"""Copies between host and device: image bytes go to the device, are resized and normalised there; maps come back."""

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
    """The model's input: an image resized as by `segearth.images.resizing.resize`, and normalised.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        size: (height, width) of the model's input.
        device: the model's.
        statistics: of the images that the model was trained on.

    Returns:
        (1, 3, height, width) float32 on the device; on every device the same bits.
    """
    on_cpu = device.type == "cpu"  # computed band by band, each fits into the cache
    resized = torch.from_numpy(resize(pixels, size).copy()) if on_cpu else resize_on(device, pixels, size)
    return normalise(resized.permute(2, 0, 1)[None], statistics)


def normalise(image: Tensor, statistics: Statistics = STATISTICS) -> Tensor:
    """Normalises (B, 3, H, W) RGB from 0 to 255 as CLIP expects: minus the mean, divided by the standard deviation."""
    mean, std = _on(image.device, statistics)
    return (image.float() - mean) / std


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # kept between calls: ordinary tensors
def _on(device: torch.device, statistics: Statistics) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(values, device=device, dtype=torch.float32)[:, None, None] for values in statistics)
    return mean, std


def resize_on(device: torch.device, pixels: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """`segearth.images.resizing.resize` on a device, with identical values: it computes with integers only.

    Args:
        device: where it is computed.
        pixels: (H, W, 3) uint8; only the rows that are needed go there.
        size: (height, width).

    Returns:
        (height, width, 3) uint8 on the device.
    """
    if pixels.shape[:2] == size:
        return to_device(pixels, device)
    above, row_weights = taps(pixels.shape[0], size[0])
    rows = np.stack([above, above + 1]).clip(0, pixels.shape[0] - 1)
    needed, places = np.unique(rows, return_inverse=True)
    if 2 * len(needed) <= len(pixels):
        pixels, rows = pixels[needed], places.reshape(rows.shape)
    source = to_device(pixels, device)
    neighbours, column_weights = columns(source.shape[1], size[1])
    tables = (*neighbours, *rows, *column_weights, *row_weights)
    together = to_device(np.concatenate(tables, dtype=np.int64), device)  # one asynchronous copy
    left, right, upper, lower, *weights = together.split([len(table) for table in tables])
    from_left, from_right, from_above, from_below = (weight.int()[:, None] for weight in weights)
    resized = source.new_empty(*size, 3)
    step = max(1, _VALUES // (3 * size[1]))
    for band in (slice(top, top + step) for top in range(0, size[0], step)):
        shares = []
        for row, weights in ((upper[band], from_above[band]), (lower[band], from_below[band])):
            line = source[row]
            sums = line[:, left] * from_left + line[:, right] * from_right
            shares.append((sums >> 4) * weights[:, None] >> 16)  # as OpenCV truncates, see `resize`
        resized[band] = (shares[0] + shares[1] + 2) >> 2
    return resized


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copies an array to a device; to CUDA through pinned memory, without waiting."""
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def synchronize(device: torch.device) -> None:
    """Waits until a device has finished all work that was queued so far."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def to_numpy(*tensors: Tensor) -> tuple[NDArray[Any], ...]:
    """Copies tensors of one device to NumPy arrays; from CUDA through pinned memory, with a single synchronisation."""
    device = tensors[0].device
    if device.type != "cuda":
        return tuple(tensor.cpu().numpy() for tensor in tensors)
    pinned = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
    for host, tensor in zip(pinned, tensors, strict=True):
        host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(device).synchronize()
    return tuple(host.numpy().copy() for host in pinned)  # pinned memory is scarce
