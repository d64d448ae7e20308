"""Reads tar files, compressed or not, once from begin to end, without trusting their headers."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

from segearth.datasets import names
from segearth.datasets.bounds import AGAIN, MAX_HEADER, Bounds
from segearth.errors import UserError

_BLOCK = 1 << 20  # bytes that are read at once
_DIGITS = re.compile(rb"\d{64}")
_COMPRESSED: dict[bytes, Callable[[Path], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x5d\0\0": lzma.open,
}
# What damaged headers and streams make of Python's readers.
DAMAGED = (
    *(tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError),
    *(ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError),
)


@dataclass(frozen=True)
class TarEntry:
    """A file in a tar file.

    Attributes:
        number: of its header.
        name: checked, see `names.member_path`.
        size: bytes.
        blocks: its content in blocks; only until the next entry is asked for.
    """

    number: int
    name: str
    size: int
    blocks: Callable[[], Iterator[bytes]]


def is_tar(path: Path) -> bool:
    """Whether a file begins as a tar file does, once it is unpacked if it is compressed."""
    try:
        with _unpacked(path) as file:
            tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except PermissionError:
        raise
    except DAMAGED:
        return False
    return True


def tar_entries(path: Path) -> Iterator[TarEntry]:
    """The files in a tar file, one after the other.

    Raises:
        UserError: a link, a name that points outside, or more than an archive may hold.
        Exception: one of `DAMAGED`.
    """
    bounds = Bounds(path)
    with closing(_Forwards(path, bounds)) as stream:
        # tarfile asks no more of a file than what _Forwards has
        tar = tarfile.TarFile(fileobj=cast("IO[bytes]", stream), errors="surrogateescape")
        number = 0
        while (info := _next(tar, stream)) is not None:
            name = names.member_path(names.tar_name(info.name), path)
            if info.issym() or info.islnk():
                raise UserError(f"{path} holds a link ({name}): expected files only; {AGAIN}")
            bounds.claim(name, info.size)
            if info.isfile():
                yield TarEntry(number, name, info.size, partial(_blocks, stream, info))
            number += 1
        stream.finish()


def _next(tar: tarfile.TarFile, stream: _Forwards) -> tarfile.TarInfo | None:
    """The next header; None at the end."""
    stream.header = 0
    info = tar.next()
    stream.header = None
    if info is None and stream.last.strip(b"\0"):
        raise tarfile.ReadError("a header is damaged")  # which tarfile takes for the end
    tar.members = []  # type: ignore[attr-defined]  # else it keeps them all
    return info


def _blocks(stream: _Forwards, info: tarfile.TarInfo) -> Iterator[bytes]:
    """The content of a file, with zeros for the holes of a sparse one."""
    stream.seek(info.offset_data)
    position = 0
    written = cast("Sequence[tuple[int, int]] | None", info.sparse) or [(0, info.size)]  # all but the holes
    for start, size in [*(part for part in written if part[1] != 0), (info.size, 0)]:  # old maps end in empty parts
        if not position <= start <= start + size <= info.size:
            raise tarfile.ReadError("a map of holes is damaged")
        yield from _parts(start - position, bytes)
        yield from _parts(size, stream.read)
        position = start + size


def _parts(size: int, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yields a number of bytes in blocks."""
    while size > 0:
        block = read(min(size, _BLOCK))
        if not block:
            raise EOFError("it ends within a file")
        size -= len(block)
        yield block


def _unpacked(path: Path) -> IO[bytes]:
    """The bytes of a tar file without its compression, which its first bytes tell."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, opener in _COMPRESSED.items():
        if start.startswith(magic):
            return cast("IO[bytes]", opener(path))
    return path.open("rb")


class _Forwards:
    """The file object for `tarfile`: it gives no more bytes than `bounds` allows, and never seeks back.

    `tarfile` believes a header that claims gigabytes for a name, goes back for ever where a size is negative, waits
    for ever for the end of a map of holes that the file has not, and takes a time that grows with the square of their
    number where a header has digits only.

    Attributes:
        header: bytes that were read about the next member; None while its content is read.
        last: what was read last.
    """

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self._file, self._bounds = _unpacked(path), bounds
        self._is_compressed = not isinstance(self._file, io.BufferedReader)
        self._position = self._empty = 0
        self.header: int | None = 0
        self.last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise tarfile.ReadError("a header points back")
        if not self._is_compressed:
            self._position = self._file.seek(position)
        while self._position < position and self._take(min(_BLOCK, position - self._position)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        if self.header is not None:
            self.header += size
            if not 0 <= size <= self.header <= MAX_HEADER:
                raise tarfile.ReadError(f"a header has {self.header:,} bytes or more")
        self.last = self._take(size)
        self._empty = 0 if self.last else self._empty + 1
        if self._empty > 2:
            raise EOFError("it ends within a header")
        if self.header is not None and size > tarfile.BLOCKSIZE and _DIGITS.search(self.last):
            raise tarfile.ReadError("a header has a number of over 64 digits")
        return self.last

    def finish(self) -> None:
        """Reads what is left of a compressed file: checksums are at its end."""
        while self._is_compressed and self._take(_BLOCK):
            pass

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        self._position += len(data)
        if self._is_compressed:
            self._bounds.unpack(len(data))
        return data

    def close(self) -> None:
        self._file.close()
