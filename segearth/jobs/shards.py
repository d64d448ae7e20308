"""Shards of a job: the share of each process, without any communication between them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from segearth.errors import UserError, option

T = TypeVar("T")

AUTO = "auto"


@dataclass(frozen=True)
class Shard:
    """The keys number `index`, `index + count`, and so on, whether they are finished or not.

    Neighbouring keys are of much the same cost, so each share gets some of everything.

    Attributes:
        index: from 0 to `count` - 1.
        count: of shares.
        local: its number among the shares on its machine, as far as that is known: of the GPU that it should take,
            modulo the number of those that it sees.
    """

    index: int = 0
    count: int = 1
    local: int = 0

    def of(self, keys: Iterable[T]) -> list[T]:
        """The keys of this shard."""
        return list(keys)[self.index :: self.count]

    def __str__(self) -> str:
        """As it is given on a command line: "2/8"."""
        return f"{self.index}/{self.count}"


WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """The share that is asked for.

    Args:
        text: "2/8", the third of eight; or "auto": see `shard_here`.

    Raises:
        UserError: it is neither, or no launcher has numbered this process.
    """
    if text == AUTO:
        return shard_here()
    numbers = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if numbers is None or not int(numbers[1]) < int(numbers[2]):
        raise UserError(
            f"{option('shard', text)}: expected I/N with I from 0 to N - 1, such as {option('shard', '0/8')} to "
            f"{option('shard', '7/8')} for eight processes, or {AUTO}"
        )
    return Shard(int(numbers[1]), int(numbers[2]))


def shard_here() -> Shard:
    """The share of this process as its launcher has numbered it: torchrun, or SLURM's srun and job arrays.

    Each task of an array may itself run several processes by srun or torchrun.

    Raises:
        UserError: there are no such numbers, or they make no sense.
    """
    array, inner = _array(), _torchrun() or _srun()
    if array is None and inner is None:
        raise UserError(
            f"{option('shard', AUTO)}: neither torchrun nor SLURM has numbered this process: expected RANK and "
            "WORLD_SIZE, SLURM_PROCID and SLURM_STEP_NUM_TASKS, or SLURM_ARRAY_TASK_ID; start it by one of them, or "
            f"give {option('shard', 'I/N')}"
        )
    array, inner = array or WHOLE, inner or WHOLE
    return Shard(array.index * inner.count + inner.index, array.count * inner.count, inner.local)


def _torchrun() -> Shard | None:
    """The shard that torchrun's variables give, over all machines."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    return _numbered("RANK", _number("RANK"), _number("WORLD_SIZE"), _number("LOCAL_RANK", 0))


def _srun() -> Shard | None:
    """The shard of a task of srun; a batch script has SLURM_PROCID, too, but is a single process."""
    if "SLURM_PROCID" not in os.environ or "SLURM_STEP_NUM_TASKS" not in os.environ:
        return None
    local = _number("SLURM_LOCALID", 0)
    return _numbered("SLURM_PROCID", _number("SLURM_PROCID"), _number("SLURM_STEP_NUM_TASKS"), local)


def _array() -> Shard | None:
    """The shard of a task of a SLURM array, whose numbers may start anywhere and have a step."""
    if "SLURM_ARRAY_TASK_ID" not in os.environ:
        return None
    number, first, last, count, step = (
        _number(f"SLURM_ARRAY_TASK_{name}", default)
        for name, default in (("ID", None), ("MIN", None), ("MAX", None), ("COUNT", None), ("STEP", 1))
    )
    if step < 1 or first + step * (count - 1) != last or (number - first) % step:
        raise UserError(
            f"{option('shard', AUTO)}: this is task {number} of an array of {count} from {first} to {last}, which is "
            f"no even row: expected one such as --array=0-7; or give {option('shard', 'I/N')}"
        )
    return _numbered("SLURM_ARRAY_TASK_ID", (number - first) // step, count, 0)


def _numbered(name: str, index: int, count: int, local: int) -> Shard:
    """A shard; refuses an index out of range."""
    if not 0 <= index < count:
        raise UserError(
            f"{option('shard', AUTO)}: {name} is {os.environ[name]}, of {count} processes: expected one of 0 to "
            f"{count - 1}; unset the variable, or give {option('shard', 'I/N')}"
        )
    return Shard(index, count, local)


def _number(name: str, default: int | None = None) -> int:
    """The number that a variable holds."""
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise UserError(
            f"{option('shard', AUTO)}: {name} is {'not set' if text is None else text}: expected a number, as torchrun "
            f"and SLURM set it; give {option('shard', 'I/N')}"
        )
    return int(text)
