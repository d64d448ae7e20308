"""Several processes on one training: sums over all of them, the same whatever their number but for rounding.

Every process computes the gradients of its share of a step's images, already divided by the number of all; the sum
over processes is the gradient of the step. No wrapping of the model is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from segearth.errors import UserError, first_line


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[int, int, torch.device]]:
    """Joins the group that torchrun started, if it did, for as long as the block runs.

    Args:
        device: what was asked for; with several processes on GPUs each takes its own.

    Yields:
        This process's rank, the number of processes, and its device.

    Raises:
        UserError: more processes than GPUs, an environment that torchrun did not make, another process that ended.
    """
    said = os.environ.get("WORLD_SIZE", "1")
    ranks = int(said) if said.isdigit() else 0
    if ranks < 1:
        raise UserError(f"WORLD_SIZE is {said!r}: expected a number of processes, as torchrun sets it; unset it")
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
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except ValueError as error:
        raise UserError(f"the processes cannot meet ({error}): start them with torchrun") from None
    try:
        yield dist.get_rank(), ranks, device
    except RuntimeError as error:
        if not re.search("peer|connection|remote process|nccl", str(error), re.IGNORECASE):
            raise
        raise UserError(
            f"the other processes cannot be reached any more ({first_line(error)[:200]}): where one of them ended, its "
            "own message says why; start all again, with --resume where a checkpoint was written"
        ) from None
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
