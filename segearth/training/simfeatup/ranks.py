"""Several processes on one training: sums over all of them, exact whatever their number.

Every process computes the gradients of its share of a step's images, already divided by the number of all; the sum
over processes is the gradient of the step. No wrapping of the model is needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from segearth.errors import UserError


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[int, int, torch.device]]:
    """Joins the group that torchrun started, if it did, for as long as the block runs.

    Args:
        device: what was asked for; with several processes on GPUs each takes its own.

    Yields:
        This process's rank, the number of processes, and its device.

    Raises:
        UserError: more processes than GPUs, or an environment that torchrun did not make.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        yield 0, 1, device
        return
    if lacking := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise UserError(
            f"WORLD_SIZE is {ranks}, but {' and '.join(lacking)} not set: start several processes with torchrun, or "
            "unset WORLD_SIZE"
        )
    if device.type == "cuda":
        local, available = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= available:
            raise UserError(
                f"process {local} on this machine found {available} GPUs: start at most one process a GPU "
                f"(torchrun --nproc-per-node={available}), or use --device cpu"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), ranks, device
    finally:
        dist.destroy_process_group()


def add_up(tensors: list[Tensor], ranks: int) -> None:
    """Replaces tensors by their sums over all processes, in one message."""
    if ranks == 1:
        return
    flat = torch.cat([one.flatten() for one in tensors])
    dist.all_reduce(flat)
    for one, total in zip(tensors, flat.split([one.numel() for one in tensors]), strict=True):
        one.copy_(total.view_as(one))


def share(tensors: Iterable[Tensor], ranks: int) -> None:
    """Replaces tensors by those of the first process."""
    if ranks > 1:
        for one in tensors:
            dist.broadcast(one.detach(), 0)


def merged(own: dict[str, str], ranks: int) -> dict[str, str]:
    """The union of all processes' dictionaries."""
    if ranks == 1:
        return own
    found: list[dict[str, str]] = [{} for _ in range(ranks)]
    dist.all_gather_object(found, own)
    return {name: value for one in found for name, value in one.items()}
