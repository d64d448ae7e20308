"""Progress of computing windows: a bar on a terminal, or a callback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from segearth.errors import without_warnings

WindowsDone: TypeAlias = Callable[[int, int], None]
Progress: TypeAlias = "WindowsDone | bool | None"

SWITCH = "SEGEARTH_NO_PROGRESS"


def wants_bar(progress: bool | None) -> bool:
    """Whether to draw a bar. None: on a terminal or in a notebook, unless `SEGEARTH_NO_PROGRESS=1` is set."""
    if progress is not None:
        return progress
    return not switched_off() and (sys.stderr.isatty() or in_notebook())


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def switched_off() -> bool:
    """Whether `SEGEARTH_NO_PROGRESS` disables all bars."""
    return os.environ.get(SWITCH, "0") not in ("", "0")


@contextmanager
def window_progress(progress: Progress, what: str = "windows") -> Iterator[WindowsDone | None]:
    """Yields a callback (windows done, total windows); None where no progress is wanted.

    Args:
        progress: a callback; True for a bar, False for none, None: see `wants_bar`.
        what: title of the bar.
    """
    if callable(progress):
        yield progress
        return
    if not wants_bar(progress):
        yield None
        return
    with without_warnings():  # in a notebook without widgets tqdm falls back to text, and says so
        from tqdm.auto import tqdm

    bar = tqdm(desc=what, unit="", leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        bar.close()
