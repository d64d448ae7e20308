"""Collective operations of a training: sums of gradients, and weights of the first process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from segearth.errors import UserError, first_line, is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


@dataclass
class Ranks:
    """The processes that train together, as one of them sees them.

    Attributes:
        rank: of this process, 0 to size - 1.
        size: how many there are.
        local_rank: of this process among those of its machine.
        group: torch's process group for objects and tensors of the CPU (gloo); None where there is one process.
        gpus: the one for tensors of GPUs (NCCL), or None.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    group: Any = None
    gpus: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes the results."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The objects of all processes, by rank; waits until every process has given its object.

        Raises:
            UserError: another process is gone.
        """
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        with _reaching_others():
            dist.all_gather_object(values, value, group=self.group)
        return values

    def all_reduce(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors, of one device and type, by their sums over all processes, in one message.

        Raises:
            UserError: another process is gone.
        """
        import torch.distributed as dist

        self._exchange(tensors, dist.all_reduce)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors, of one device and type, by those of the first process.

        Raises:
            UserError: another process is gone.
        """
        import torch.distributed as dist

        self._exchange(tensors, lambda message, group: dist.broadcast(message, 0, group=group))

    def _exchange(self, tensors: Iterable[Tensor], collective: Callable[..., Any]) -> None:
        """Packs tensors, has a collective operation change the message in place, and unpacks it."""
        if self.size == 1:
            return
        import torch

        detached = [tensor.detach() for tensor in tensors]
        message = torch.cat([tensor.flatten() for tensor in detached])
        if not message.is_cuda:
            message = message.cpu()  # gloo knows no other devices
        with _reaching_others():
            collective(message, group=self.gpus if message.is_cuda else self.group)
        for tensor, new in zip(detached, message.split([tensor.numel() for tensor in detached]), strict=True):
            tensor.copy_(new.view_as(tensor))

    def close(self, complete: bool) -> None:
        """Destroys the process groups, and with them gloo's threads.

        A thread that still lives when Python ends may then free a tensor, and aborts the process ("terminate called
        without an active exception", github.com/pytorch/pytorch/pull/179291).

        Args:
            complete: whether all processes do so; else NCCL's groups, whose end waits for the others, end with the
                process.
        """
        import torch.distributed as dist

        if self.gpus is None or complete:
            self.group = self.gpus = None
            dist.destroy_process_group()


ONE_RANK = Ranks()


@contextmanager
def _reaching_others() -> Iterator[None]:
    """Turns the failure of a collective operation into a sentence."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"another process died or cannot be reached ({first_line(error)}): expected all processes to run to the "
            "end; start the same command again"
        ) from error
