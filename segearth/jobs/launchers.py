"""Launchers of several processes (torchrun, SLURM, MPI): how they number them, and one message for all at the end."""

from __future__ import annotations

import hashlib
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from segearth.errors import UserError, from_script, program
from segearth.exits import exit_code, record_signal
from segearth.jobs.shards import WHOLE, Shard

HEAD_START_S = 8.0  # for the first process to say what all would say, and for the launcher to end the others
SPEAKS = "SEGEARTH_LAUNCHER_SPEAKS"  # variable set by a launcher that says itself that it was interrupted


class _Launcher(NamedTuple):
    """The variables that a launcher sets, those that tell launches at one time apart, and how it is used."""

    rank: str
    size: str
    local_rank: str
    launch: tuple[str, ...]
    example: str


_LAUNCHERS = {
    "pytorch": _Launcher(
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        ("MASTER_ADDR", "MASTER_PORT"),
        "torchrun --nproc-per-node=N {program} ... --launcher pytorch",
    ),
    "slurm": _Launcher(
        "SLURM_PROCID",
        "SLURM_NTASKS",
        "SLURM_LOCALID",
        ("SLURM_JOB_ID", "SLURM_STEP_ID"),
        "srun python {program} ... --launcher slurm",
    ),
    "mpi": _Launcher(
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"),
        "mpirun -n N python {program} ... --launcher mpi",
    ),
}
LAUNCHERS = ("none", *_LAUNCHERS)


def launched_shard(launcher: str) -> Shard:
    """The share of this process, as its launcher numbers it.

    Args:
        launcher: one of `LAUNCHERS`; "none": the process has no others beside it.

    Raises:
        UserError: an unknown launcher, or one whose variables are not set or make no sense.
    """
    if launcher not in LAUNCHERS:
        raise UserError(f"unknown launcher {launcher!r}: use one of {', '.join(LAUNCHERS)}")
    if launcher == "none":
        return WHOLE
    rank, size, local, _, example = _LAUNCHERS[launcher]
    if rank not in os.environ or size not in os.environ:
        command = program() or "segearth eval"
        raise UserError(
            f"launcher {launcher} asked for, but {rank} and {size} are not set: it did not start this process; "
            f"use it as in: {example.format(program=command if from_script() else f'-m {command}')}"
        )
    for name in (rank, size, local):
        if not os.environ.get(name, "0").isdigit():
            raise UserError(f"{name} is {os.environ[name]!r}: expected a number, as launcher {launcher} sets it")
    shard = Shard(int(os.environ[rank]), int(os.environ[size]), int(os.environ.get(local, "0")))
    if shard.index >= shard.count:
        raise UserError(
            f"{rank} is {shard.index} and {size} {shard.count}: expected ranks from 0 to {size} - 1, as "
            f"launcher {launcher} sets them"
        )
    return shard


def launch_name(launcher: str) -> str:
    """A name that all processes of a launch have in common, and no other launch at the same time.

    Args:
        launcher: one of `LAUNCHERS`.
    """
    if launcher == "none":
        return ""
    values = [os.environ.get(name, "") for name in _LAUNCHERS[launcher].launch]
    if values[0] in ("", "localhost", "127.0.0.1", "::1"):  # the same on other machines
        values.append(platform.node())
    return hashlib.sha256("\n".join(values).encode()).hexdigest()[:8]


def launcher_here() -> str:
    """What started this process, for programs without an option for it: torchrun where its variables say so.

    Returns:
        "pytorch", or "none" for a process without others.

    Raises:
        UserError: only some of the variables are set.
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
def one_message(shard: Shard) -> Iterator[None]:
    """Lets the first of several processes report an error or an interruption that all of them have.

    The others wait for a moment before they report theirs: by then their launcher has ended them. One whose error
    nobody else has reports it after that moment.

    Args:
        shard: of this process.
    """
    if shard.count == 1:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt_once)
    try:
        yield
    except KeyboardInterrupt as error:
        _end_in_silence(error, shard)
        raise
    except BaseException:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it has cleaned up: let the launcher end it
        try:
            time.sleep(HEAD_START_S if shard.index > 0 else 0)
        except KeyboardInterrupt as error:  # which ended the others, so that this process failed
            _end_in_silence(error, shard)
            raise
        raise


def _end_in_silence(error: KeyboardInterrupt, shard: Shard) -> None:
    """Ends this process if another one, or the launcher, says that it was interrupted."""
    if SPEAKS in os.environ or shard.index > 0:
        sys.stdout.flush()
        os._exit(exit_code(error))


def _interrupt_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (of signal handlers)
    """Ctrl-C comes from the terminal and again from the launcher, which would disturb the cleaning up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which follows
    raise record_signal(number)
