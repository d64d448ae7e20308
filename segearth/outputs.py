"""Files that programs write: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from segearth.errors import UserError
from segearth.exits import run as run


def writable_folder(path: str | Path) -> Path:
    """Makes a folder for results, with its parents, and tries that it can be written.

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
    return folder


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it to `path` when the block ends well.

    The temporary name keeps the suffix, so that libraries that go by it write the right format. Whatever
    ends the block early, Ctrl-C included, leaves neither the file nor the temporary one.

    Raises:
        UserError: the disk is full, or the file cannot be written.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): free some space or give another folder"
        ) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_all(writers: Mapping[Path, Callable[[Path], object]]) -> list[Path]:
    """Writes several files: all, or none. They appear in their order, when the last one is complete.

    Args:
        writers: for each path, what writes its content to the temporary path that it is given.

    Returns:
        The paths.

    Raises:
        UserError: the disk is full, or a file cannot be written.
    """
    paths = list(writers)
    with ExitStack() as files:
        parts = {path: files.enter_context(atomic(path)) for path in reversed(paths)}  # renamed in reverse again
        for path in paths:
            writers[path](parts[path])
    return paths
