"""Locks between processes: for files that are changed, and for work that one process does at a time."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from segearth.errors import UserError, notice

if TYPE_CHECKING:
    from filelock import FileLock

PATIENCE_S = 120.0  # reading and writing a table takes seconds; a disk of a network may hang for a minute
_POLL_S = 0.02
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def locked(
    path: Path, patience: float = PATIENCE_S, busy: str = "", waiting: str = "", silent: float = 0
) -> Iterator[bool]:
    """Holds the lock of a file or a folder while the block runs, and gives whether it had to wait for others.

    It is a lock of the operating system on the file `.NAME.lock` beside it: it ends with the process that holds it,
    however that ends, and holds between machines on disks of a network that have locks (NFS, SMB, Lustre mounted with
    "flock"). On a disk without any, the block runs without, and that is said. A thread waits for another one, too; one
    that holds the lock must not ask for it again.

    Args:
        path: of what is locked; its folder exists.
        patience: seconds to wait; 0: not at all.
        busy: what is said when others still hold it.
        waiting: what is said when the waiting begins.
        silent: seconds to wait before that is said.

    Raises:
        UserError: another process holds it, or its file cannot be written.
    """
    lock_file = path.with_name(f".{path.name.lstrip('.')}.lock")
    try:
        try:
            lock, waited = _acquired(lock_file, 0), False
        except TimeoutError:
            lock, waited = _waited_for(lock_file, patience, waiting, silent), True
    except TimeoutError:
        raise UserError(
            busy
            or f"another process has been using {path} for {patience:.0f} s: expected it to be free in a moment; wait "
            "for that process, or end it, and start again"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise UserError(
                f"cannot lock {path} ({error.strerror or error}): make its folder writable, or give another one"
            ) from None
        notice(f"the disk of {path.parent} has no locks: let only one process at a time write there")
        yield False
        return
    try:
        yield waited
    finally:
        with suppress(OSError):  # Windows removes no open file; there the release does
            lock_file.unlink()
        lock.release()


def _waited_for(lock_file: Path, patience: float, waiting: str, silent: float) -> FileLock:
    """As `_acquired`, and says that it waits where that takes long."""
    if waiting and silent < patience:
        try:
            return _acquired(lock_file, silent)
        except TimeoutError:
            notice(waiting)
    return _acquired(lock_file, patience)


def _acquired(lock_file: Path, patience: float) -> FileLock:
    """The lock of the file that is at the path now: who held it last has removed the file that others wait for.

    Raises:
        TimeoutError: others held it all the time.
        OSError: it cannot be locked.
    """
    from filelock import FileLock

    end = time.monotonic() + patience
    while True:
        descriptors: list[int] = []
        # 0o666: of those who share a folder, each must be able to wait for the others
        lock = FileLock(lock_file, mode=0o666, poll_interval=_POLL_S, on_acquired=descriptors.append)
        lock.acquire(timeout=max(0.0, end - time.monotonic()))
        if _is_at(lock_file, descriptors[-1]):
            return lock
        lock.release()


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one at a path; opening asks a network's server, where a look may be stale."""
    try:
        with path.open("rb") as file:
            return os.path.samestat(os.fstat(file.fileno()), os.fstat(descriptor))
    except OSError:
        return False
