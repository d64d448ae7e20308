"""Joining the group of processes that a launcher started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import NamedTuple

from segearth.distributed.ranks import ALONE, GO_ON, HEAD_START, LONGEST_WAIT, Lost, Ranks, Watch
from segearth.errors import UserError, first_line, from_script, program
from segearth.exits import exit_code, record_signal

JOIN = timedelta(seconds=60)  # until all processes have met
SPEAKS = "SEGEARTH_LAUNCHER_SPEAKS"  # variable set by a launcher that says itself that it was interrupted


class _Launcher(NamedTuple):
    """The variables that a launcher sets, and how it is used."""

    rank: str
    size: str
    local_rank: str
    example: str


_LAUNCHERS = {
    "pytorch": _Launcher(
        "RANK", "WORLD_SIZE", "LOCAL_RANK", "torchrun --nproc-per-node=N {program} ... --launcher pytorch"
    ),
    "slurm": _Launcher("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "srun python {program} ... --launcher slurm"),
    "mpi": _Launcher(
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "mpirun -n N python {program} ... --launcher mpi",
    ),
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
    rank, size, local, example = _LAUNCHERS[launcher]
    if rank not in os.environ or size not in os.environ:
        own = program() or "segearth eval"
        raise UserError(
            f"launcher {launcher} asked for, but {rank} and {size} are not set: it did not start this process; "
            f"use it as in: {example.format(program=own if from_script() else f'-m {own}')}"
        )
    for name in (rank, size, local):
        if not os.environ.get(name, "0").isdigit():
            raise UserError(f"{name} is {os.environ[name]!r}: expected a number, as launcher {launcher} sets it")
    if int(os.environ[rank]) >= int(os.environ[size]):
        raise UserError(
            f"{rank} is {os.environ[rank]} and {size} {os.environ[size]}: expected ranks from 0 to {size} - 1, as "
            f"launcher {launcher} sets them"
        )


def launcher_here() -> str:
    """What started this process, for programs that are not told: torchrun where its variables say so.

    Returns:
        "pytorch", or "none" for a process alone.

    Raises:
        UserError: there is only a part of the variables.
    """
    names = _LAUNCHERS["pytorch"]
    if os.environ.get(names.size, "1") == "1":
        return "none"
    if names.rank not in os.environ:
        raise UserError(
            f"{names.size} is {os.environ[names.size]}, but {names.rank} is not set: start several processes with "
            f"torchrun, or unset {names.size}"
        )
    return "pytorch"


@contextmanager
def joined(launcher: str, *, gpus: bool = True, go_on: str = GO_ON) -> Iterator[Ranks]:
    """Joins the processes' group for as long as the block runs; a process alone is a group, too.

    When a process dies, or leaves the block by an exception, the others end within a minute.

    Args:
        launcher: one of `LAUNCHERS`.
        gpus: whether each process works on a GPU of its own, where there are some.
        go_on: what a user is to do when a process is gone.

    Raises:
        UserError: it did not start this process, the processes do not meet, or there are more than GPUs.
    """
    check_launcher(launcher)
    if launcher == "none":
        yield ALONE
        return
    signal.signal(signal.SIGINT, _interrupt_once)
    ranks = _join(launcher, gpus)
    ranks.watch = watch = Watch(ranks.rank, ranks.size, go_on)
    well = False
    try:
        yield ranks
        watch.done()
        well = True
    except KeyboardInterrupt as error:
        watch.failed()
        if SPEAKS in os.environ or not ranks.is_main:  # the launcher, or the first process, says it
            sys.stdout.flush()
            os._exit(exit_code(error))
        raise
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it ends anyway, and has cleaned up: the launcher hurries it
        if isinstance(error, Lost):
            watch.lost()
        watch.failed()
        if not ranks.is_main:
            time.sleep(HEAD_START)
        raise
    finally:
        ranks.leave(well)


def _interrupt_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (of signal handlers)
    """Ctrl-C comes from the terminal and again from the launcher, which would disturb the cleaning up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which follows
    raise record_signal(number)


def _join(launcher: str, gpus: bool) -> Ranks:
    """Meets the other processes: NCCL with GPUs, gloo without."""
    import torch
    import torch.distributed as dist

    names = _LAUNCHERS[launcher]
    rank, size = int(os.environ[names.rank]), int(os.environ[names.size])
    local = int(os.environ.get(names.local_rank, "0"))
    os.environ["RANK"], os.environ["WORLD_SIZE"] = str(rank), str(size)
    if "MASTER_ADDR" not in os.environ:
        os.environ["MASTER_ADDR"] = _first_node() if launcher == "slurm" else "127.0.0.1"
    os.environ.setdefault("MASTER_PORT", os.environ.get("PORT", "29500"))
    if available := torch.cuda.device_count() if gpus else 0:
        if local >= available:
            raise UserError(
                f"process {local} on this machine found {available} GPUs: start at most one process a GPU, or set "
                "CUDA_VISIBLE_DEVICES to nothing to use the CPU"
            )
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("nccl" if available else "gloo", timeout=JOIN)
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(
            f"process {rank} of {size} did not meet the others at {place} ({first_line(error)}): expected all {size} "
            "to be started within a minute, MASTER_ADDR and MASTER_PORT (or PORT) the same for all, a port that is "
            "free; set them, and start again"
        ) from None
    objects = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
    tensors = dist.new_group(backend="nccl", timeout=LONGEST_WAIT) if available else None
    return Ranks(rank, size, local, launcher, objects, tensors)


def _first_node() -> str:
    """Where the first process of a SLURM job runs."""
    nodes = os.environ.get("SLURM_JOB_NODELIST") or os.environ.get("SLURM_NODELIST")
    if nodes is None or os.environ.get("SLURM_NNODES", "1") == "1":
        return "127.0.0.1"
    try:
        out = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
        return out.stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise UserError(
            f"cannot tell the first node of {nodes} ({error}): set MASTER_ADDR to its name before srun"
        ) from None
