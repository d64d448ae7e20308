"""Files that programs write: whole or not at all."""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from segearth.errors import UserError, option
from segearth.files import bytes_text

_HOST = re.sub("[^A-Za-z0-9-]", "-", platform.node())[:40]
_TEMPORARY = re.compile(r"\.(?P<host>[A-Za-z0-9-]*)\.(?P<pid>\d+)\.[0-9a-f]{8}\.part(\..*)?")
_ABANDONED_S = 24 * 3600.0  # no file takes so long to write: for those of other machines, whose processes are not seen

_in_use: set[str] = set()  # names of this process's temporary files
_swept: dict[Path, int] = {}  # folders, and the process that looked for leftovers there: a forked child looks again


def writable_folder(path: str | Path) -> Path:
    """Makes a folder for results, with its parents, tries that it can be written, and removes leftovers in it.

    Raises:
        UserError: it cannot.
    """
    if not str(path):
        raise UserError("the output folder has an empty name: give the path of a folder")
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write to the output folder {folder} ({error.strerror or error}): "
            "give another folder, or make this one writable"
        ) from None
    _swept.pop(folder.absolute(), None)
    _sweep(folder)
    return folder


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it to `path` when the block ends well.

    The temporary name keeps the suffix, so that libraries that go by it write the right format. Whatever
    ends the block early, Ctrl-C included, leaves neither the file nor the temporary one. What a kill leaves is removed
    by the next process that writes in the folder.

    Raises:
        UserError: the disk is full, the file cannot be written, or a folder has its name.
    """
    refuse_folder(path)
    with temporary(path) as part, told(path):
        yield part
        part.replace(path)


def write_all(writers: Mapping[Path, Callable[[Path], object]], stale: Sequence[Path] = ()) -> list[Path]:
    """Writes several files: all, or none, and then what was there before stays.

    They appear in their order, when the last one is complete. A kill may leave some of them, but never the last one
    beside others of another run: whoever finds it finds all. They are on the disk itself when this returns, so that
    what they were made of may be deleted.

    Args:
        writers: for each path, what writes its content to the temporary path that it is given.
        stale: files of an earlier run that go when the first of these appears, the last one first: it may tell that
            all others are there.

    Returns:
        The paths.

    Raises:
        UserError: the disk is full, a file cannot be written, or a folder has its name.
    """
    paths = list(writers)
    for path in paths:
        refuse_folder(path)
    with ExitStack() as files:
        parts = {path: files.enter_context(temporary(path)) for path in paths}
        for path in paths:
            with told(path):
                writers[path](parts[path])
                _to_disk(parts[path])
        earlier = {path: files.enter_context(temporary(path)) for path in (*paths, *stale) if path.exists()}
        _move(parts, earlier)
        for folder in {path.parent for path in paths}:
            with suppress(OSError):  # Windows opens no folders, some disks of a network sync none
                _to_disk(folder)
    return paths


def _move(parts: dict[Path, Path], earlier: dict[Path, Path]) -> None:
    """Puts files in their places; where one cannot be moved, all are as before.

    Args:
        parts: place -> the new file.
        earlier: place -> where the file that is there is kept until all are in their places.
    """
    try:
        for path in reversed(earlier):  # the last one, which tells that all are there, goes first
            with told(path):
                path.replace(earlier[path])
        for path, part in parts.items():
            with told(path):
                part.replace(path)
    except BaseException:
        for path, part in reversed(parts.items()):
            if not part.exists():
                path.unlink(missing_ok=True)
        for path, kept in earlier.items():
            if kept.exists():
                kept.replace(path)
        raise


def check_room(folder: Path, needed: float, what: str, kept: str = "") -> None:
    """Looks at the free disk before work begins.

    Args:
        folder: where the files will be.
        needed: bytes.
        what: needs them: the begin of a sentence.
        kept: its end: what is not lost.

    Raises:
        UserError: the files will probably not fit.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what} about {bytes_text(needed)} in {folder}, which has {bytes_text(free)} left: free some space, or "
            f"use another {option('out')}{kept}"
        )


def bytes_writer(content: bytes) -> Callable[[Path], object]:
    """What writes some bytes, for `write_all`."""
    return lambda path: path.write_bytes(content)


def _to_disk(path: Path) -> None:
    """Waits until a file, or the names in a folder, would outlast a power cut.

    Raises:
        OSError: they would not.
    """
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows syncs what can be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_folder(path: Path) -> None:
    """Refuses a place that a folder has, before anything is written.

    Raises:
        UserError: a folder is there.
    """
    if path.is_dir():
        raise UserError(f"cannot write {path}, which is a folder: expected a file or nothing there; move it away")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Says in a sentence that a file cannot be written.

    Raises:
        UserError: for an `OSError` in the block.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): free some space or give another folder"
        ) from None


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A temporary path beside another, whose name tells the process; it is free again after the block.

    It has nothing of the other's name but the suffix: that name may be as long as the disk allows.
    """
    _sweep(path.parent)
    part = path.with_name(f".{_HOST}.{os.getpid()}.{secrets.token_hex(4)}.part{path.suffix}")
    _in_use.add(part.name)
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        _in_use.discard(part.name)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder in another for what a run needs meanwhile; what a kill leaves is removed as a temporary file is."""
    with temporary(parent / "folder") as path:
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes temporary files of processes that are dead; once for each process and folder."""
    place = folder.absolute()
    if _swept.get(place) == os.getpid():
        return
    _swept[place] = os.getpid()
    for part in folder.glob(".*.part*"):
        name = _TEMPORARY.fullmatch(part.name)
        with suppress(OSError):
            if name is not None and _is_abandoned(part, name["host"], int(name["pid"])):
                if part.is_dir():
                    shutil.rmtree(part)
                else:
                    part.unlink()


def _is_abandoned(part: Path, host: str, pid: int) -> bool:
    """Whether nobody writes a temporary file any more."""
    if pid == os.getpid() and host == _HOST:  # as in a container that was started again
        return part.name not in _in_use
    if host == _HOST and sys.platform != "win32":  # there, os.kill ends the process
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass
    return time.time() - part.stat().st_mtime > _ABANDONED_S
