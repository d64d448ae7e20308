"""Several processes on one evaluation: joining the group that a launcher started."""

from __future__ import annotations

import os
from typing import Any

from segearth.errors import UserError

# What each launcher sets: rank and number of processes; and how it is used.
_LAUNCHERS = {
    "pytorch": ("RANK", "WORLD_SIZE", "torchrun --nproc-per-node=N eval.py ... --launcher pytorch"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "srun python eval.py ... --launcher slurm"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "mpirun -n N python eval.py ... --launcher mpi"),
}
LAUNCHERS = ("none", *_LAUNCHERS)


def check_launcher(launcher: str) -> None:
    """Refuses a launcher that did not start this process.

    Raises:
        UserError: it is unknown, or its environment variables are not set.
    """
    if launcher not in LAUNCHERS:
        raise UserError(f"unknown launcher {launcher!r}: use one of {', '.join(LAUNCHERS)}")
    if launcher == "none":
        return
    rank, size, example = _LAUNCHERS[launcher]
    if rank not in os.environ or size not in os.environ:
        raise UserError(
            f"launcher {launcher} asked for, but {rank} and {size} are not set: it did not start this process; "
            f"use it as in: {example}"
        )


def join(launcher: str, settings: dict[str, Any]) -> None:
    """Joins the processes' group.

    Args:
        launcher: one of `LAUNCHERS`.
        settings: the config's `dist_cfg`; its backend, such as nccl, becomes gloo where there is no GPU.
    """
    import torch
    from mmengine.dist import init_dist, is_distributed

    if launcher == "none" or is_distributed():
        return
    if torch.cuda.is_available():
        init_dist(launcher, **settings)
        return
    rank, size, _ = _LAUNCHERS[launcher]  # mmengine's own way always selects a GPU
    os.environ["RANK"], os.environ["WORLD_SIZE"] = os.environ[rank], os.environ[size]
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    torch.distributed.init_process_group("gloo")


def leave() -> None:
    """Leaves the group, if this process joined one."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
