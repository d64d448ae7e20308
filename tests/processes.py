"""Two processes that form a group, begun by hand: no torchrun looks after them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def torchrun_variables(rank: int, port: int) -> dict[str, str]:
    """What torchrun would set for one of two processes on a machine without GPUs."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {key: str(value) for key, value in variables.items()} | {"CUDA_VISIBLE_DEVICES": ""}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(arguments: list[str], rank: int, port: int, folder: Path, **more: str) -> subprocess.Popen:
    """Python with arguments as one of two processes."""
    environment = os.environ | torchrun_variables(rank, port) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pair(arguments: list[str], folder: Path, **more: str) -> list[tuple[int, str, str]]:
    """Runs Python with arguments in two processes; gives exit code, stdout and stderr of each."""
    port = free_port()
    both = [start(arguments, rank, port, folder, **more) for rank in range(2)]
    try:
        texts = [
            process.communicate(timeout=600)  # on a machine that is busy, importing takes minutes
            for process in both
        ]
    finally:
        for process in both:
            process.kill()
    return [(process.returncode, *text) for process, text in zip(both, texts, strict=True)]
