"""Reads downloads, folders and zip and tar files alike, as lists of members, without trusting names or sizes.

A member's name never becomes a path that is written: what is read from an archive goes to memory, or to a file with a
number for a name.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar, cast

from segearth.datasets import names, tars, zips
from segearth.datasets.bounds import AGAIN
from segearth.errors import UserError
from segearth.paths import user_path

T = TypeVar("T")

IN_MEMORY = 128 << 20  # bytes of a member that is read from its zip file at once: over the 108 MB of a tile of Potsdam
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# What other programs unpack, with the command that does it.
REFUSED = {".7z": "7z x '{}' -o'{}'", ".7z.001": "7z x '{}' -o'{}'", ".rar": "unrar x '{}' '{}/'"}
_REFUSED_CONTENT = {b"7z\xbc\xaf\x27\x1c": ".7z", b"Rar!\x1a\x07": ".rar"}
_JUNK = {"__macosx", "thumbs.db", ".ds_store", "desktop.ini"}
_BLOCK = 1 << 20  # bytes that are read at once
_PAGE = (
    "it is a web page: the link led to a page for logging in or confirming, or the page itself was saved; open the "
    "source's page in a browser and download the file from there"
)
_CLOSED = "give yourself the right to read it (chmod -R u+rX), or give a copy of your own"


@dataclass(frozen=True)
class Member:
    """A file of a download.

    Attributes:
        path: absolute, with "/" between folders; an archive counts as a folder of its own name.
        below: the part of `path` below what the user gave.
        size: bytes.
        source: the file itself, or the archive that holds it.
        name: the member's name in the archive; "" for a file.
        stamp: tells that the content is another one: CRC-32, or the time of the last change.
        shown: its name in messages, where `source` is a temporary copy.
        number: its place in the archive, where several may have one name.
    """

    path: str
    below: str
    size: int
    source: Path
    name: str = ""
    stamp: int = 0
    shown: str = ""
    number: int = 0

    def __str__(self) -> str:
        source = names.path_name(self.source)
        return self.shown or (f"{source}: {self.name}" if self.name else source)

    def open(self) -> BinaryIO:
        """The content, from its beginning, seekable; of a tar file it is read whole, by passing over all before it.

        Raises:
            UserError: it cannot be read.
        """
        with _reading(self):
            if not self.name:
                return self.source.open("rb")
            if archive_kind(self.source) == ".tar":
                return io.BytesIO(b"".join(b"".join(blocks) for _, blocks in contents([self])))
            archive, infos = zips.index(self.source)
            info = infos[self.number][1]
            return cast("BinaryIO", archive.open(info)) if self.size > IN_MEMORY else io.BytesIO(archive.read(info))

    def read(self, most: int) -> bytes:
        """The whole content of a member that is small.

        Args:
            most: bytes that it may have.

        Raises:
            UserError: it is larger, or cannot be read.
        """
        if self.size > most:
            raise UserError(f"{self} has {self.size:,} bytes, expected at most {most:,}: {AGAIN}")
        with self.open() as file, _reading(self):
            return file.read()


def archive_kind(path: Path) -> str | None:
    """What a file is by its content: ".zip", ".tar" (compressed or not), ".7z" or ".rar"; None for anything else."""
    status = path.stat()
    return _kind(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _kind(path: Path, stamp: int, size: int) -> str | None:  # noqa: ARG001 (cache key)
    if tars.is_tar(path):
        return ".tar"
    if zipfile.is_zipfile(path):
        return ".zip"
    with path.open("rb") as file:
        start = file.read(8)
    return next((suffix for magic, suffix in _REFUSED_CONTENT.items() if start.startswith(magic)), None)


def archive_suffix(path: Path) -> str | None:
    """The suffix of an archive, of those that are read and those that are refused; None for other files."""
    name = path.name.lower()
    return next((suffix for suffix in (".zip", *TAR_SUFFIXES, *REFUSED) if name.endswith(suffix)), None)


def members(sources: Iterable[Path], skip: Iterable[str] = ()) -> tuple[list[Member], list[Path]]:
    """All files of the given archives and folders, archives in folders included.

    Several of them can have one path, such as a file in an archive and its copy extracted beside it.

    Args:
        sources: archives and folders.
        skip: names of folders and archives (without suffix) that are left out, in lower case.

    Returns:
        The files, in order of their paths, files before members of archives; and the archives that cannot be read here.

    Raises:
        UserError: nothing there, a given file that is no archive, or an archive that is damaged or not safe.
    """
    found: dict[tuple[Path, int], Member] = {}
    refused: dict[Path, None] = {}
    skip = set(skip)
    for given in sources:
        source = Path(os.path.normpath(user_path(given, "download").absolute()))
        if not source.is_dir() and not source.is_file():  # a pipe would be waited for
            raise UserError(f"no file or folder at {given}: give the archive of the download, or the extracted folder")
        for file in _walk(source, skip) if source.is_dir() else [source]:
            with _reading(file):
                # a file that is given is an archive by whatever name; of others only their names are looked at
                suffix = archive_suffix(file)
                content = archive_kind(file) if suffix is not None or file == source else None
            if content in REFUSED or (content is None and suffix in REFUSED):
                if file == source:
                    raise UserError(refusal(file))
                refused[file] = None
            elif suffix is None and content is None:
                if file == source:
                    raise UserError(f"{given} is no archive: expected a zip or tar file, or the folder of the download")
                status, path = file.stat(), names.path_name(file)
                new = Member(path, _below(path, source), status.st_size, file, "", status.st_mtime_ns)
                found.setdefault((file, 0), new)
            elif file == source or _stem(file).lower() not in skip:
                # of a given archive, folders above it are no more looked at than those above a given folder
                base = file.with_name(_stem(file)) if file == source else source
                for member in _archive(file, content):
                    new = replace(member, below=_below(member.path, base))
                    if not skip.intersection(PurePosixPath(new.below.lower()).parts[:-1]):
                        found.setdefault((file, member.number), new)
    return sorted(found.values(), key=lambda m: (m.path, m.name != "", m.source, m.number)), [*refused]


def contents(wanted: Iterable[Member]) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """The content of members in blocks, in one pass over each tar file.

    Args:
        wanted: in any order.

    Yields:
        Each of them, and its content; that is to be read before the next is asked for.

    Raises:
        UserError: an archive cannot be read, or is another one than it was.
    """
    for source, group in groupby(sorted(wanted, key=lambda m: (m.source, m.number)), lambda m: m.source):
        left = {member.number: member for member in group}
        is_tar = any(member.name for member in left.values()) and archive_kind(source) == ".tar"
        if not is_tar:
            for member in left.values():
                with member.open() as file:
                    yield member, _checked(member, iter(lambda: file.read(_BLOCK), b""))
            continue
        entries = _checked(source, tars.tar_entries(source))
        while left:
            entry = next(entries, None)
            if entry is None:
                raise UserError(f"{source} has changed since it was looked at: run again when nobody writes to it")
            if entry.number in left:
                yield left.pop(entry.number), _checked(source, entry.blocks())


def digests(wanted: Iterable[Member]) -> dict[Member, str]:
    """SHA-256 of the content of members, in hex."""
    found = {}
    for member, blocks in contents(wanted):
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
        found[member] = digest.hexdigest()
    return found


def unpack(wanted: Mapping[Member, Path], step: Callable[[], object]) -> None:
    """Writes members as files.

    Args:
        wanted: member -> the file that is written.
        step: called after each.

    Raises:
        UserError: an archive cannot be read.
        OSError: a file cannot be written.
    """
    for member, blocks in contents(wanted):
        with wanted[member].open("wb") as file:
            for block in blocks:
                file.write(block)
        step()


def refusal(path: Path) -> str:
    """What to do with an archive that is not read here."""
    content = archive_kind(path)
    suffix = content if content in REFUSED else archive_suffix(path) or ".7z"
    folder = path.with_name(_stem(path))
    command = REFUSED[suffix].format(path, folder)
    return f"{path} cannot be read here: expected zip or tar; extract it with: {command} and give the folder {folder}"


def _stem(path: Path) -> str:
    """An archive's name without its suffix."""
    return path.name[: -len(suffix)] if (suffix := archive_suffix(path)) else path.name


def _walk(folder: Path, skip: set[str]) -> Iterator[Path]:
    """The files below a folder, hidden ones and junk left out."""

    def closed(error: OSError) -> None:
        raise UserError(f"the folder {error.filename} cannot be read ({error.strerror}): {_CLOSED}")

    for parent, folders, files in os.walk(folder, onerror=closed):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n.lower() not in skip | _JUNK)
        for name in sorted(files):
            path = Path(parent, name)
            if not name.startswith(".") and name.lower() not in _JUNK and path.is_file():
                yield path


def _below(path: str, source: Path) -> str:
    return path.removeprefix(names.path_name(source)).lstrip("/")


def _archive(path: Path, content: str | None) -> Iterator[Member]:
    """The files in an archive; one that is neither zip nor tar is damaged."""
    top, stamp = names.path_name(path.with_name(_stem(path))), path.stat().st_mtime_ns
    found: Iterator[tuple[int, str, int, int]]
    with _reading(path):
        if content == ".tar" or (content is None and archive_suffix(path) != ".zip"):
            found = ((entry.number, entry.name, entry.size, stamp) for entry in _checked(path, tars.tar_entries(path)))
        else:
            found = ((number, name, info.file_size, info.CRC) for number, (name, info) in zips.index(path)[1].items())
    for number, name, size, mark in found:
        parts = PurePosixPath(name).parts
        if parts and not any(part.lower() in _JUNK for part in parts) and not parts[-1].startswith("."):
            yield Member(f"{top}/{name}", "", size, path, name, mark, number=number)


def _checked(what: object, items: Iterator[T]) -> Iterator[T]:
    """Yields the items; an archive that turns out to be damaged raises a `UserError`."""
    with _reading(what):
        yield from items


@contextmanager
def _reading(what: object) -> Iterator[None]:
    """Raises a `UserError` where a file or archive is damaged or may not be read."""
    try:
        yield
    except (*zips.DAMAGED, *tars.DAMAGED) as error:
        if isinstance(error, UserError):
            raise
        raise _unreadable(what, error) from None


def _unreadable(what: object, error: Exception) -> UserError:
    name = names.path_name(what) if isinstance(what, Path) else what
    if isinstance(error, PermissionError):
        return UserError(f"{name} cannot be read ({error.strerror}): {_CLOSED}")
    if isinstance(what, Path) and _is_page(what):
        return UserError(f"{name} is no archive: {_PAGE}")
    if isinstance(error, NotImplementedError):  # as Windows packs what is over 2 GB: deflate64
        archive = what.source if isinstance(what, Member) else what
        return UserError(
            f"{name} is packed in a way that Python cannot read ({error}): extract the archive with another program "
            f"(7z x '{archive}') and give the folder"
        )
    return UserError(f"{name} cannot be read ({error or type(error).__name__}): {AGAIN}")


def _is_page(path: Path) -> bool:
    """Whether a file begins as HTML does."""
    with path.open("rb") as file:
        return file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype", b"<html"))
