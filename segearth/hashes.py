"""Hashes of files; the SHA-256 of a large file is computed once and cached until its size or time changes."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from segearth.json_files import read_json, write_json

BLOCK_BYTES = 1 << 18
MEGABYTE = 1 << 20
LARGE_BYTES = 50_000_000  # smaller files are hashed at every use: 50 MB take about 0.1 s
FRESH_NS = 2 * 10**9  # a file that changed less than this ago may change again and keep its time


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    return _digest(path, hashlib.sha256())


def git_blob_of(path: Path) -> str:
    r"""Git's blob id of a file: SHA-1 over `blob SIZE\0` and the content, in hex."""
    header = b"blob %d\0" % path.stat().st_size
    return _digest(path, hashlib.sha1(header, usedforsecurity=False))


def fingerprint(path: Path) -> dict[str, Any] | None:
    """A fingerprint of an file, independent of its path: size and hash of the first and last megabyte.

    Returns:
        bytes and sha256_of_ends; None if the file cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(MEGABYTE))
            if size > MEGABYTE:
                file.seek(max(MEGABYTE, size - MEGABYTE))
                digest.update(file.read(MEGABYTE))
    except OSError:
        return None
    return {"bytes": size, "sha256_of_ends": digest.hexdigest()}


def cached_sha256(path: Path, cache: Path) -> str:
    """SHA-256 of a file, in hex; for a large file the cached value, if the file has not changed since.

    Args:
        path: the file.
        cache: folder of cached hashes; it may be missing or read-only.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    if status.st_size <= LARGE_BYTES:
        return sha256_of(path)
    stamp = _stamp(path, status)
    with suppress(OSError, ValueError, TypeError, LookupError):
        entry = read_json(_entry_path(path, cache))
        if {key: entry[key] for key in stamp} == stamp and len(entry["sha256"]) == 64:
            return str(entry["sha256"])
    started = time.time_ns()
    digest = sha256_of(path)
    if started - status.st_mtime_ns > FRESH_NS and path.stat().st_mtime_ns == status.st_mtime_ns:
        store_sha256(path, digest, cache)
    return digest


def store_sha256(path: Path, sha256: str, cache: Path) -> None:
    """Caches the SHA-256 of a large file in its present state; does nothing where the cache cannot be written."""
    status = path.stat()
    if status.st_size <= LARGE_BYTES:
        return
    entry = _entry_path(path, cache)
    part = entry.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        write_json(part, {**_stamp(path, status), "sha256": sha256})
        part.replace(entry)  # atomic: other processes may read it


def _stamp(path: Path, status: os.stat_result) -> dict[str, object]:
    """The state of a file in which a cached hash is valid."""
    return {"path": str(path.resolve()), "size": status.st_size, "changed": status.st_mtime_ns}


def _entry_path(path: Path, cache: Path) -> Path:
    """The cache entry of a file."""
    return cache / f"{hashlib.sha256(str(path.resolve()).encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"


def _digest(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as source:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
