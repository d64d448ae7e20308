"""Several processes on one evaluation: what they do together, and how they notice that one of them is gone.

Each process has a rank from 0 on; the first one writes the results. They exchange nothing but small Python objects,
so that a machine without GPUs does as well as one with.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Any, TypeVar

from segearth.errors import UserError

T = TypeVar("T")

PATIENCE = timedelta(seconds=45)  # a process that does not answer for so long is taken for dead
ROUND_SECONDS = 2.0  # between two roll calls
GO_ON = "start the same command again: it goes on where it stopped"
ADVICE = f"the others were ended; {GO_ON}"
LONGEST_WAIT = timedelta(days=30)  # for slower ones: that they live is known from the roll calls
_RUNNING, _DONE, _FAILED = range(3)


class Elsewhere(Exception):  # noqa: N818 (nothing is wrong here)
    """Another process has failed at what all are doing, so that there is no use in finishing it here."""


@dataclass
class Ranks:
    """The processes of an evaluation, as one of them sees them.

    Attributes:
        rank: of this process, 0 to size - 1.
        size: how many there are.
        local_rank: of this process among those of its machine.
        launcher: what started them, one of `segearth.openmmlab.launch.LAUNCHERS`.
        group: torch's process group for objects; None where there is one process.
        watch: knows whether the others are well; None where there is one process.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    launcher: str = "none"
    group: Any = None
    watch: Watch | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes the results."""
        return self.rank == 0

    def gather(self, own: T) -> list[T]:
        """The objects of all processes, by rank; waits until every one of them is here."""
        if self.size == 1:
            return [own]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, own, group=self.group)
        return found

    def leave(self) -> None:
        """Gives up the groups, and with the last reference to them gloo's threads.

        One that still lives when Python ends may then free a tensor, and aborts the process ("terminate called
        without an active exception", github.com/pytorch/pytorch/pull/179291).
        """
        import torch.distributed as dist

        self.group = None
        if self.watch is not None:
            self.watch.group = None
        dist.destroy_process_group()

    def everywhere(self, work: Callable[[], T]) -> T:
        """Does something on every process, and waits for the others.

        Returns:
            This process's result.

        Raises:
            Exception: it failed here.
            UserError: it failed elsewhere; so it fails on all, and they can go on together.
        """
        if self.watch is not None:
            self.watch.step += 1
        try:
            result: T | None = work()
        except Elsewhere:
            result = None  # gather() brings the reason
        except Exception as error:
            if self.watch is not None:
                self.watch.stumbled()
            self.gather(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
            raise
        for text in self.gather(""):
            if text:
                raise UserError(text)
        return result  # type: ignore[return-value]

    def go_on(self) -> None:
        """To be called now and then by long work in `everywhere`.

        Raises:
            Elsewhere: another process has failed at this work, some seconds ago.
        """
        if self.watch is not None and self.watch.failed_elsewhere == self.watch.step:
            raise Elsewhere

    def one_a_machine_first(self, work: Callable[[], T]) -> T:
        """As `everywhere`, but the first process of a machine before the others: what is downloaded comes once."""
        if self.size == 1:
            return work()
        first = self.local_rank == 0
        own = self.everywhere(lambda: work() if first else None)
        rest = self.everywhere(lambda: None if first else work())
        return own if first else rest  # type: ignore[return-value]


ALONE = Ranks()


class Watch:
    """Roll calls in the background, so that the death of a process ends all within a minute, and not at the end.

    Args:
        rank: of this process.
        size: how many there are.

    Attributes:
        step: counts what the processes do together, see `Ranks.everywhere`.
        failed_elsewhere: the last step at which another process failed; 0: none.
    """

    def __init__(self, rank: int, size: int) -> None:
        import torch.distributed as dist

        self.rank, self.size, self.state = rank, size, _RUNNING
        self.step = self.failed_elsewhere = self._failed_here = 0
        self._hurry = Event()
        self.group: Any = dist.new_group(backend="gloo", timeout=PATIENCE)
        self.thread = Thread(target=self._call_roll, daemon=True)
        self.thread.start()

    def done(self) -> None:
        """Says that this process came to its end, and waits for the others."""
        self.state = _DONE
        self._hurry.set()
        self.thread.join()

    def stumbled(self) -> None:
        """Tells the others that this process failed at the present step, and goes on with the next one."""
        self._failed_here = self.step
        self._hurry.set()

    def failed(self) -> None:
        """Says that this process ends early, and waits until another one has heard it or is known to be gone."""
        self.state = _FAILED
        self._hurry.set()
        self.thread.join()  # at most PATIENCE; Python cannot end while a thread is in a collective call

    def _call_roll(self) -> None:
        import torch
        import torch.distributed as dist

        while True:
            state = self.state
            calls = torch.zeros(2, self.size, dtype=torch.int64)
            calls[:, self.rank] = torch.tensor([state, self._failed_here])
            try:
                dist.all_reduce(calls, group=self.group)
            except RuntimeError:  # a closed connection, or no answer in time
                if self.state != _FAILED:
                    _end("another process of this evaluation died or cannot be reached")
                return
            votes, steps = calls
            steps[self.rank] = 0
            self.failed_elsewhere = int(steps.max())
            if bool((votes == _FAILED).any()):
                if state != _FAILED:
                    self._follow(votes.tolist().index(_FAILED))
                return
            if bool((votes == _DONE).all()):
                return
            self._hurry.wait(ROUND_SECONDS)
            self._hurry.clear()

    def _follow(self, rank: int) -> None:
        """Ends this process as well, unless it is about to do so by itself."""
        time.sleep(2 * ROUND_SECONDS)
        if self.state != _FAILED:
            _end(f"process {rank} of this evaluation failed; its message says why")


def _end(what: str) -> None:
    """Ends this process at once: the main thread may be deep in a computation."""
    print(f"\nerror: {what}: {ADVICE}", file=sys.stderr, flush=True)  # below a bar in the middle of its line
    sys.stdout.flush()
    os._exit(1)
