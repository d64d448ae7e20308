"""A conversion whose process dies; in a module of its own, as each worker process imports it."""

from __future__ import annotations

import multiprocessing
import os
import signal

from segearth.datasets import convert


class Dying(convert.Conversion):
    """Converts; the process of one of the pairs dies."""

    def __call__(self, key: str) -> dict:
        if key == min(self.pairs) and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(key)
