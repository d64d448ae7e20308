"""From the CPU to a GPU without waiting: many small tensors in one copy, from memory that the GPU reads by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

T = TypeVar("T")

ALIGNED = 32  # elements: each tensor begins at a multiple of 128 bytes, as the GPU reads memory


def upload(tree: T, device: torch.device, dtype: torch.dtype) -> T:
    """Brings tensors to a device, as one dtype.

    Args:
        tree: tensors of the CPU of any shape and dtype, in lists and tuples, named ones, too; all else stays.
        device: where they are wanted; from the CPU to the CPU nothing is copied.
        dtype: what they become, still on the CPU: not every GPU has float64.

    Returns:
        The same with its tensors there.
    """
    here = [tensor.to(dtype) for tensor in _tensors(tree)]
    if device.type == "cpu" or not here:
        return cast(T, _rebuilt(tree, iter(here)))
    flat = [F.pad(tensor.flatten(), (0, -tensor.numel() % ALIGNED)) for tensor in here]
    packed = torch.cat(flat)
    if device.type == "cuda":
        packed = packed.pin_memory()  # a copy from other memory would wait for all that the GPU has to do before it
    parts = packed.to(device, non_blocking=True).split([len(part) for part in flat])
    there = (part[: tensor.numel()].view(tensor.shape) for part, tensor in zip(parts, here, strict=True))
    return cast(T, _rebuilt(tree, there))


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from _tensors(part)


def _rebuilt(tree: Any, tensors: Iterator[Tensor]) -> Any:
    """The tree with other tensors, in the order of `_tensors`."""
    if isinstance(tree, Tensor):
        return next(tensors)
    if not isinstance(tree, (list, tuple)):
        return tree
    parts = [_rebuilt(part, tensors) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
