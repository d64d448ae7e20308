"""Seconds of a call and of its parts, memory at its peak, and how many operations it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

Parts: TypeAlias = "dict[str, tuple[tuple[Any, str], ...]]"  # part -> the functions that are timed, by owner and name

CPU = torch.device("cpu")
# what a host calls to start something on a GPU, as the profiler names it
_STARTS = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")


def timed(call: Callable[[], object], device: torch.device = CPU) -> float:
    """Seconds that a call takes, until all is done that it started on a device."""
    synchronize(device)
    started = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Waits for what runs on a device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def clocks(parts: Parts) -> Iterator[dict[str, float]]:
    """Adds up the seconds spent in each of some parts, none of which calls another, while the block runs."""
    spent = dict.fromkeys(parts, 0.0)

    def watch(part: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                spent[part] += time.perf_counter() - started

        return call

    with ExitStack() as patches:
        for part, functions in parts.items():
            for owner, name in functions:
                patches.enter_context(patch.object(owner, name, watch(part, getattr(owner, name))))
        yield spent


def resident_mb(entry: str) -> float:
    """Resident memory of this process (VmRSS) or its peak (VmHWM) in MB, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{entry}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {entry} in /proc/self/status")


def forget_peak() -> None:
    """Lets Linux count the peak of this process's resident memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb(call: Callable[[], object], device: torch.device = CPU) -> float | None:
    """MB that a call takes at its peak beside what was there; None where that is not counted."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    if device.type != "cpu" or not Path("/proc/self/clear_refs").exists():
        return None
    before_mb = resident_mb("VmRSS")
    forget_peak()
    call()
    return max(0.0, resident_mb("VmHWM") - before_mb)


class Operations(TorchDispatchMode):
    """Counts the operations that compute something: PyTorch's own, without views and Triton's kernels.

    Attributes:
        count: so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Counts one and calls it."""
        returned = [value.alias_info for value in func._schema.returns]
        view = bool(returned) and all(alias is not None and not alias.is_write for alias in returned)
        self.count += not view
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def started(call: Callable[[], object], device: torch.device = CPU) -> dict[str, int]:
    """What a call starts: `operations` as PyTorch counts them; on CUDA `launches` by the host and `kernels` that run.

    A CUDA graph is one launch of many kernels. In inference mode operations are counted before they are taken apart, so
    that there are fewer.
    """
    with Operations() as counter:
        call()
    found = {"operations": counter.count}
    if device.type == "cuda":
        synchronize(device)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            call()
            synchronize(device)
        events = seen.events() or []
        found["launches"] = sum(event.name.startswith(_STARTS) for event in events)
        found["kernels"] = sum(event.device_type.name == "CUDA" for event in events)
    return found
