"""What processes do together, and how they notice that one of them is gone.

Each process has a rank from 0 on; the first one writes the results. They exchange small Python objects, and, in
training, sums of tensors.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from segearth.errors import UserError, first_line, is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(seconds=45)  # a process that does not answer for so long is taken for dead
ROUND_SECONDS = 2.0  # between two roll calls
HEAD_START = 8.0  # seconds for the first process to say what all would say, and for its launcher to end the others
GO_ON = "start the same command again: it goes on where it stopped"
ENDED = "the others were ended; "
LONGEST_WAIT = timedelta(days=30)  # for slower ones: that they live is known from the roll calls
_RUNNING, _DONE, _FAILED = range(3)


class Elsewhere(Exception):  # noqa: N818 (nothing is wrong here)
    """Another process has failed at what all are doing, so that there is no use in finishing it here."""


class Lost(Exception):  # noqa: N818 (what it says is that others are)
    """The other processes cannot be reached any more."""


@dataclass
class Ranks:
    """The processes that work together, as one of them sees them.

    Attributes:
        rank: of this process, 0 to size - 1.
        size: how many there are.
        local_rank: of this process among those of its machine.
        launcher: what started them, one of `segearth.distributed.launch.LAUNCHERS`.
        group: torch's process group for objects and tensors of the CPU (gloo); None where there is one process.
        gpus: the one for tensors of GPUs (NCCL), or None.
        watch: knows whether the others are well; None where there is one process.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    launcher: str = "none"
    group: Any = None
    gpus: Any = None
    watch: Watch | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes the results."""
        return self.rank == 0

    def gather(self, own: T) -> list[T]:
        """The objects of all processes, by rank; waits until every one of them is here.

        Raises:
            Lost: one of them is gone.
        """
        if self.size == 1:
            return [own]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        with _reaching_others():
            dist.all_gather_object(found, own, group=self.group)
        return found

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors, of one device and type, by their sums over all processes, in one message.

        Raises:
            Lost: a process is gone.
        """
        import torch.distributed as dist

        self._exchange(tensors, dist.all_reduce)

    def share(self, tensors: Iterable[Tensor]) -> None:
        """As `add_up`, but by those of the first process."""
        import torch.distributed as dist

        self._exchange(tensors, lambda message, group: dist.broadcast(message, 0, group=group))

    def _exchange(self, tensors: Iterable[Tensor], collective: Callable[..., Any]) -> None:
        """Packs tensors, has a collective operation change the message in place, and unpacks it."""
        if self.size == 1:
            return
        import torch

        own = [one.detach() for one in tensors]
        message = torch.cat([one.flatten() for one in own])
        if not message.is_cuda:
            message = message.cpu()  # gloo knows no other devices
        with _reaching_others():
            collective(message, group=self.gpus if message.is_cuda else self.group)
        for one, new in zip(own, message.split([one.numel() for one in own]), strict=True):
            one.copy_(new.view_as(one))

    def leave(self, well: bool) -> None:
        """Gives up the groups, and with the last reference to them gloo's threads.

        One that still lives when Python ends may then free a tensor, and aborts the process ("terminate called
        without an active exception", github.com/pytorch/pytorch/pull/179291).

        Args:
            well: whether all processes do so; else NCCL's groups, whose end waits for the others, end with the process.
        """
        import torch.distributed as dist

        waits = self.gpus is not None and not well
        own = [self.group, self.watch and self.watch.group]
        self.group = self.gpus = None
        if self.watch is not None:
            self.watch.group = None
        for group in own if waits else [None]:  # None: all of them
            dist.destroy_process_group(group)

    def everywhere(self, work: Callable[[], T]) -> T:
        """Does something on every process, and waits for the others.

        Returns:
            This process's result.

        Raises:
            Exception: it failed here.
            UserError: it failed elsewhere; so it fails on all, and they can go on together.
            MemoryError: there was too little memory elsewhere.
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
            self.gather(_retold(error))
            raise
        for failure in self.gather(None):
            if failure is not None:
                raise failure
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


@contextmanager
def _reaching_others() -> Iterator[None]:
    """Gives a collective operation's failure its name."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise Lost(first_line(error)) from error  # a closed connection


def _retold(error: Exception) -> Exception:
    """What the other processes raise for a failure of this one."""
    if isinstance(error, UserError):
        return UserError(str(error))
    if is_out_of_memory(error):
        return MemoryError(first_line(error))
    return UserError(f"{type(error).__name__}: {error}")


class Watch:
    """Roll calls in the background, so that the death of a process ends all within a minute, and not at the end.

    Args:
        rank: of this process.
        size: how many there are.
        go_on: what a user is to do when a process is gone.

    Attributes:
        step: counts what the processes do together, see `Ranks.everywhere`.
        failed_elsewhere: the last step at which another process failed; 0: none.
    """

    def __init__(self, rank: int, size: int, go_on: str) -> None:
        import torch.distributed as dist

        self.rank, self.size, self.state, self.go_on = rank, size, _RUNNING, go_on
        self.step = self.failed_elsewhere = self._failed_here = 0
        self._hurry, self._failing = Event(), Event()
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

    def lost(self) -> None:
        """Waits until the roll call has noticed, too, that another process is gone, and ended this one."""
        self._hurry.set()
        self.thread.join(2 * PATIENCE.seconds)

    def failed(self) -> None:
        """Says that this process ends early, and waits until another one has heard it or is known to be gone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends anyway, and has cleaned up
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.state = _FAILED
        self._failing.set()
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
                    self._end("another process died or cannot be reached")
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
        """Ends this process as well, unless it is about to do so by itself; after the other one has said why."""
        if not self._failing.wait(2 * HEAD_START):
            self._end(f"process {rank} failed; its message says why")

    def _end(self, what: str) -> None:
        """Ends this process at once: the main thread may be deep in a computation."""
        print(f"\nerror: {what}: {ENDED}{self.go_on}", file=sys.stderr, flush=True)  # below a bar amid its line
        sys.stdout.flush()
        os._exit(1)
