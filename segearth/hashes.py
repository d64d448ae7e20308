"""SHA-256 of files, remembered: a large one is hashed once, as long as its size and time stay."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from segearth.files import sha256_of
from segearth.json_files import read_json, write_json

LARGE_BYTES = 50_000_000  # what is smaller is hashed at every use: 50 MB take some 0.1 s
FRESH_NS = 2 * 10**9  # a file that changed so lately may change again without another time


def remembered_sha256(path: Path, memory: Path) -> str:
    """SHA-256 of a file, in hex; of a large one what is remembered of these bytes, if it is.

    Args:
        path: of the file.
        memory: folder of what is remembered; it need not be there, and need not be writable.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    if status.st_size <= LARGE_BYTES:
        return sha256_of(path)
    note = _note(path, memory)
    stamp = {"path": str(path.resolve()), "size": status.st_size, "changed": status.st_mtime_ns}
    with suppress(OSError, ValueError, TypeError, LookupError):
        known = read_json(note)
        if {key: known[key] for key in stamp} == stamp and len(known["sha256"]) == 64:
            return str(known["sha256"])
    begun = time.time_ns()
    found = sha256_of(path)
    if begun - status.st_mtime_ns > FRESH_NS and path.stat().st_mtime_ns == status.st_mtime_ns:
        remember(path, found, memory)
    return found


def remember(path: Path, sha256: str, memory: Path) -> None:
    """Notes the SHA-256 of a large file as it is now; where that cannot be written, nothing is."""
    status = path.stat()
    if status.st_size <= LARGE_BYTES:
        return
    stamp = {"path": str(path.resolve()), "size": status.st_size, "changed": status.st_mtime_ns}
    note = _note(path, memory)
    part = note.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):
        memory.mkdir(parents=True, exist_ok=True)
        write_json(part, {**stamp, "sha256": sha256})
        part.replace(note)  # whole or not at all: other processes may read it


def _note(path: Path, memory: Path) -> Path:
    """The file that remembers it."""
    return memory / f"{hashlib.sha256(str(path.resolve()).encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"
