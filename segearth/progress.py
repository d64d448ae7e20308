"""Progress while windows are computed: a bar for people, a function for programs."""

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
    """Whether to draw a bar: as asked for, else on a terminal or in a notebook, without `SEGEARTH_NO_PROGRESS=1`."""
    if progress is not None:
        return progress
    return not switched_off() and (sys.stderr.isatty() or in_notebook())


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def switched_off() -> bool:
    """Whether the user wants no bars at all."""
    return os.environ.get(SWITCH, "0") not in ("", "0")


@contextmanager
def window_progress(progress: Progress, what: str = "windows") -> Iterator[WindowsDone | None]:
    """What to call with (windows done, windows in all) while the block runs; None where nobody wants to know.

    Args:
        progress: such a function; True for a bar, False for none, None as `wants_bar`.
        what: stands before the bar.
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
