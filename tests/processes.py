"""Processes begun by hand: copies of the test's own, and pairs that form a group, after which no torchrun looks."""

from __future__ import annotations

import multiprocessing
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def forked(work: Callable[[], object], log: Path) -> BaseProcess:
    """Begins work in a copy of this process: nothing is imported again. Its words go to a file."""

    def child() -> None:
        with log.open("w") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return process


def torchrun_variables(rank: int, port: int) -> dict[str, str]:
    """What torchrun would set for one of two processes on a machine without GPUs."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {key: str(value) for key, value in variables.items()} | {"CUDA_VISIBLE_DEVICES": ""}


def free_port() -> int:
    """One that no connection is given before it is used: systems give them those above (Linux from 32768 on)."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


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
