"""Files that programs write: whole or not at all; and how programs end."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segearth.errors import UserError, UserNotice, is_out_of_memory


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


def run(
    program: Callable[[], None],
    less_memory: str = "use a smaller image or a smaller long side",
    interrupted: str = "nothing more is written",
) -> int:
    """Runs a command-line program and turns how it ended into an exit code.

    Args:
        program: what to run.
        less_memory: what to do where memory is not enough.
        interrupted: what is said after Ctrl-C.

    Returns:
        0 when it came to its end; 2 for what the user can mend (a mistake, a missing package, too little memory),
        after one sentence on stderr; 130 after Ctrl-C.
        Any other exception is a defect and is raised.
    """

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries' talk about themselves
        warnings.simplefilter("always", UserNotice)
        warnings.showwarning = show
        try:
            program()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"interrupted: {interrupted}", file=sys.stderr)
            return 130
        except ModuleNotFoundError as error:
            if str(error.name).startswith("segearth"):
                raise
            advice = (
                "run pip install -r requirements.txt, or use the environment that make demo set up: .venv/bin/python"
            )
            print(f"error: the Python package {error.name} is not installed here: {advice}", file=sys.stderr)
            return 2
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            print(f"error: not enough memory: {less_memory}", file=sys.stderr)
            return 2
    return 0
