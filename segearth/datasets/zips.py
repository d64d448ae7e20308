"""Zip files: their index, checked before anything in them is read."""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

from segearth.datasets import names
from segearth.datasets.bounds import AGAIN, Bounds
from segearth.errors import UserError

_UTF8, _ENCRYPTED = 0x800, 1  # flags of a member
# What damaged indices and streams make of Python's reader.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError),
    *(ValueError, ArithmeticError, LookupError, TypeError, RuntimeError),
)


def index(path: Path) -> tuple[zipfile.ZipFile, dict[int, tuple[str, zipfile.ZipInfo]]]:
    """An open zip file, kept open for the next call, and its files by their place in the index, with checked names.

    Raises:
        UserError: a link, a password, a name that points outside, or more than an archive may hold.
        Exception: one of `DAMAGED`.
    """
    status = path.stat()
    return _index(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _index(path: Path, stamp: int, size: int) -> tuple[zipfile.ZipFile, dict[int, tuple[str, zipfile.ZipInfo]]]:  # noqa: ARG001 (cache key)
    archive, bounds = zipfile.ZipFile(path), Bounds(path)
    found = {}
    for number, info in enumerate(archive.infolist()):
        original = info.orig_filename
        name = names.member_path(original if info.flag_bits & _UTF8 else names.zip_name(original), path)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UserError(f"{path} holds a link ({name}): expected files only; {AGAIN}")
        if info.flag_bits & _ENCRYPTED:
            raise UserError(
                f"{path} is encrypted: expected an archive without a password; extract it with the publisher's "
                f"password (7z x '{path}' -o'{path.with_suffix('')}' asks for it) and give the folder"
            )
        bounds.claim(name, info.file_size)
        if not original.endswith(("/", "\\")):  # a folder
            found[number] = (name, info)
    return archive, found
