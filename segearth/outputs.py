"""Atomic writing of result files: complete or not at all."""

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
_ABANDONED_S = 24 * 3600.0  # for other machines, whose processes cannot be checked; no file takes so long

_in_use: set[str] = set()  # names of this process's temporary files
_cleaned: dict[Path, int] = {}  # folder -> process that removed leftovers there; a forked child does it again


def writable_folder(path: str | Path) -> Path:
    """Creates a folder for results, checks that it can be written, and removes leftover temporary files in it.

    Raises:
        UserError: it cannot be created or written.
    """
    if not str(path):
        raise UserError("the output folder has an empty name: expected the path of a folder; give one")
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write to the output folder {folder} ({error.strerror or error}): "
            "expected one that can be written; give another folder, or make this one writable"
        ) from None
    _cleaned.pop(folder.absolute(), None)
    _remove_leftovers(folder)
    return folder


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it to `path` when the block ends without an error.

    The temporary name keeps the suffix, from which libraries choose the format. After an error, or Ctrl-C, neither file
    remains. The temporary file of a killed process is removed by the next process that writes in the folder.

    Raises:
        UserError: the disk is full, the file cannot be written, or a folder has its name.
    """
    refuse_folder(path)
    with temporary(path) as part, write_errors(path):
        yield part
        part.replace(path)


def write_all(writers: Mapping[Path, Callable[[Path], object]], stale: Sequence[Path] = ()) -> list[Path]:
    """Writes all of several files, or none; after an error the earlier files remain.

    The files appear in order once all are complete. A killed process may leave some of them, but never the last one
    with files of another run: if the last file exists, all do. They are synced to disk on return, so their source data
    may be deleted.

    Args:
        writers: for each path, a function that writes its content to a given temporary path.
        stale: files of an earlier run to remove when the first file appears, the last one first, as it may mark that
            all are complete.

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
            with write_errors(path):
                writers[path](parts[path])
                _sync(parts[path])
        earlier = {path: files.enter_context(temporary(path)) for path in (*paths, *stale) if path.exists()}
        _move_all(parts, earlier)
        for folder in {path.parent for path in paths}:
            with suppress(OSError):  # Windows cannot open folders, some network disks cannot sync them
                _sync(folder)
    return paths


def _move_all(parts: dict[Path, Path], earlier: dict[Path, Path]) -> None:
    """Moves files to their final paths; if one cannot be moved, restores the earlier files.

    Args:
        parts: final path -> temporary file.
        earlier: final path -> backup of the existing file until all are moved.
    """
    try:
        for path in reversed(earlier):  # the last one, which marks completeness, is removed first
            with write_errors(path):
                path.replace(earlier[path])
        for path, part in parts.items():
            with write_errors(path):
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
    """Checks the free disk space before work begins.

    Args:
        folder: folder of the files to write.
        needed: estimated bytes.
        what: start of the message: what needs the space.
        kept: end of the message: what is not lost.

    Raises:
        UserError: the files will probably not fit.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what} about {bytes_text(needed)} in {folder}, which has {bytes_text(free)} left: expected enough; free "
            f"some space, or use another {option('out')}{kept}"
        )


def bytes_writer(content: bytes) -> Callable[[Path], object]:
    """A writer of bytes for `write_all`."""
    return lambda path: path.write_bytes(content)


def _sync(path: Path) -> None:
    """Syncs a file, or the entries of a folder, to disk.

    Raises:
        OSError: it cannot be synced.
    """
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows syncs only writable descriptors
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_folder(path: Path) -> None:
    """Refuses the path of a folder as the path of a result file.

    Raises:
        UserError: the path is a folder.
    """
    if path.is_dir():
        raise UserError(f"cannot write {path}, which is a folder: expected a file or nothing there; move it away")


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Converts an `OSError` in the block to a `UserError` that the file cannot be written.

    Raises:
        UserError: for an `OSError` in the block.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): expected a writable folder with room; free some space "
            "or give another folder"
        ) from None


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; the file is removed after the block.

    Its name has the host and process id, and of `path` only the suffix, as that name may have the maximum length.
    """
    _remove_leftovers(path.parent)
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
    """Yields a temporary folder in `parent`; that of a killed process is removed as a temporary file is."""
    with temporary(parent / "folder") as path:
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Removes temporary files of ended processes; once for each process and folder."""
    path = folder.absolute()
    if _cleaned.get(path) == os.getpid():
        return
    _cleaned[path] = os.getpid()
    for part in folder.glob(".*.part*"):
        name = _TEMPORARY.fullmatch(part.name)
        with suppress(OSError):
            if name is not None and _is_abandoned(part, name["host"], int(name["pid"])):
                if part.is_dir():
                    shutil.rmtree(part)
                else:
                    part.unlink()


def _is_abandoned(part: Path, host: str, pid: int) -> bool:
    """Whether no process writes a temporary file any more."""
    if pid == os.getpid() and host == _HOST:  # such as in a restarted container, with the same process id
        return part.name not in _in_use
    if host == _HOST and sys.platform != "win32":  # there, os.kill ends the process
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass
    return time.time() - part.stat().st_mtime > _ABANDONED_S
