"""Joins the processes that torchrun has started for a training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from segearth.distributed.ranks import ONE_RANK, Ranks
from segearth.errors import UserError, first_line
from segearth.jobs.launchers import launched_shard, launcher_here, one_message
from segearth.jobs.shards import Shard

JOIN = timedelta(seconds=60)  # until all processes have met


@contextmanager
def joined(*, gpus: bool = True) -> Iterator[Ranks]:
    """Joins the process group for as long as the block runs; without torchrun, a process is a group of its own.

    When a process dies, torchrun ends the others.

    Args:
        gpus: whether each process works on a GPU of its own, where there are some.

    Raises:
        UserError: the processes do not meet, or there are more of them than GPUs.
    """
    shard = launched_shard(launcher_here())
    if shard.count == 1:
        yield ONE_RANK
        return
    ranks, complete = None, False
    try:
        with one_message(shard):
            ranks = _join(shard, gpus)
            yield ranks
        complete = True
    finally:
        if ranks is not None:
            ranks.close(complete)


def _join(shard: Shard, gpus: bool) -> Ranks:
    """Meets the other processes: NCCL with GPUs, gloo without."""
    import torch
    import torch.distributed as dist

    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", os.environ.get("PORT", "29500"))
    if available := torch.cuda.device_count() if gpus else 0:
        if shard.local >= available:
            raise UserError(
                f"process {shard.local} on this machine found {available} GPUs: start at most one process a GPU, or "
                "set CUDA_VISIBLE_DEVICES to nothing to use the CPU"
            )
        torch.cuda.set_device(shard.local)
    try:
        dist.init_process_group("nccl" if available else "gloo", timeout=JOIN)
        objects = dist.new_group(backend="gloo")
        tensors = dist.new_group(backend="nccl") if available else None
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(
            f"process {shard.index} of {shard.count} did not meet the others at {place} ({first_line(error)}): "
            f"expected all {shard.count} to be started within a minute, MASTER_ADDR and MASTER_PORT (or PORT) the same "
            "for all, a port that is free; set them, and start again"
        ) from None
    return Ranks(shard.index, shard.count, shard.local, objects, tensors)
