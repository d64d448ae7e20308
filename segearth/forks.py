"""Processes that are forked from one that has predicted: what still works in them."""

from __future__ import annotations

import os

import torch

from segearth import errors
from segearth.errors import UserError
from segearth.models import precision

_forks_watched = False


def watch_forks() -> None:
    """Lets every child that is forked from now on compute with one thread: the pool's other threads are not in it."""
    global _forks_watched
    if not _forks_watched and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_begin_child)
        _forks_watched = True


def _begin_child() -> None:
    """Runs in a child that was just forked."""
    torch.set_num_threads(1)
    errors.forget_locks()  # a thread that held one is not in the child
    precision.forget_locks()


def check_fork(device: torch.device) -> None:
    """Refuses to compute on CUDA in a child of a process that has used CUDA.

    Raises:
        UserError: it is such a child.
    """
    if device.type == "cuda" and torch.cuda._is_in_bad_fork():
        raise UserError(
            "this process was forked from one that had used CUDA, and CUDA does not work in it: expected a process "
            'of its own; start workers by multiprocessing\'s "spawn" method, or use device="cpu"'
        )
