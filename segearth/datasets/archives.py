"""Downloads as lists of members: folders, zip and tar files alike, read without trusting their names or sizes.

A member's name never becomes a path that is written: what is read from an archive goes to memory, or (tar, which
has no index) to a file with a number for a name.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from segearth.errors import UserError

MAX_MEMBERS = 2_000_000
MAX_BYTES = 2 << 30  # of one member: over twice the 13,000 × 13,000 RGB of the largest image, uncompressed
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# What other programs unpack, with the command that does it.
REFUSED = {".7z": "7z x '{}' -o'{}'", ".7z.001": "7z x '{}' -o'{}'", ".rar": "unrar x '{}' '{}/'"}
_JUNK = {"__macosx", "thumbs.db", ".ds_store", "desktop.ini"}
_DAMAGED = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)
_PAGE = (
    "it is a web page: the link led to a page for logging in or confirming, or the page itself was saved; open the "
    "source's page in a browser and download the file from there"
)
_CLOSED = "give yourself the right to read it (chmod -R u+rX), or give a copy of your own"
_AGAIN = "the download is incomplete or damaged: compare its size and checksum with the source's, and download it again"


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
    """

    path: str
    below: str
    size: int
    source: Path
    name: str = ""
    stamp: int = 0
    shown: str = ""

    def __str__(self) -> str:
        return self.shown or (f"{self.source}: {self.name}" if self.name else str(self.source))

    def open(self) -> BinaryIO:
        """The content, from its beginning, seekable.

        Raises:
            UserError: it cannot be read.
        """
        try:
            if not self.name:
                return self.source.open("rb")
            archive, infos = _zip(self.source, self.source.stat().st_mtime_ns)
            return io.BytesIO(archive.read(infos[self.name]))
        except (*_DAMAGED, NotImplementedError, RuntimeError) as error:
            raise _unreadable(self, error) from None


def is_tar(path: Path) -> bool:
    """Whether an archive is read as a tar file; its content tells, and where that is damaged its suffix."""
    if tarfile.is_tarfile(path):
        return True
    return archive_suffix(path) in TAR_SUFFIXES and not zipfile.is_zipfile(path)


def archive_suffix(path: Path) -> str | None:
    """The suffix of an archive, of those that are read and those that are refused; None for other files."""
    name = path.name.lower()
    return next((suffix for suffix in (".zip", *TAR_SUFFIXES, *REFUSED) if name.endswith(suffix)), None)


def members(sources: Iterable[Path], skip: Iterable[str] = ()) -> tuple[list[Member], list[Path]]:
    """All files of the given archives and folders, archives in folders included.

    Args:
        sources: archives and folders.
        skip: names of folders and archives (without suffix) that are left out, in lower case.

    Returns:
        The files, in order of their paths, and the archives that cannot be read here.

    Raises:
        UserError: nothing there, a given file that is no archive, or an archive that is damaged or not safe.
    """
    found: dict[str, Member] = {}
    refused: list[Path] = []
    skip = set(skip)
    for given in sources:
        source = Path(os.path.normpath(given.expanduser().absolute()))
        if source.is_dir():
            files = list(_walk(source, skip))
        elif source.is_file():
            if (suffix := archive_suffix(source)) is None:
                raise UserError(f"{given} is no archive: expected a zip or tar file, or the folder of the download")
            if suffix in REFUSED:
                raise UserError(refusal(given))
            files = [source]
        else:
            raise UserError(f"no file or folder at {given}: give the archive of the download, or the extracted folder")
        for file in files:
            suffix = archive_suffix(file)
            if suffix in REFUSED:
                refused.append(file)
            elif suffix is not None and file.name[: -len(suffix)].lower() not in (set() if file == source else skip):
                # of a given archive, folders above it are no more looked at than those above a given folder
                base = file.with_name(file.name[: -len(suffix)]) if file == source else source
                for member in _archive(file, suffix):
                    shown = replace(member, below=_below(member.path, base))
                    if not skip.intersection(PurePosixPath(shown.below.lower()).parts[:-1]):
                        found.setdefault(member.path, shown)
            elif suffix is None:
                status = file.stat()
                path = text_of(file)
                found.setdefault(path, Member(path, _below(path, source), status.st_size, file, "", status.st_mtime_ns))
    return [found[path] for path in sorted(found)], refused


def refusal(path: Path) -> str:
    """What to do with an archive that is not read here."""
    suffix = archive_suffix(path) or ".7z"
    folder = path.with_name(path.name[: -len(suffix)])
    command = REFUSED[suffix].format(path, folder)
    return f"{path} cannot be read here: expected zip or tar; extract it with: {command} and give the folder {folder}"


def text_of(path: Path) -> str:
    """A path as `Member.path` has it: with slashes, accents in one piece."""
    return unicodedata.normalize("NFC", path.as_posix())


def _unreadable(what: object, error: Exception) -> UserError:
    """What to do with a file or archive that is damaged, or that others own."""
    if isinstance(error, PermissionError):
        return UserError(f"{what} cannot be read ({error.strerror}): {_CLOSED}")
    if isinstance(what, Path) and _is_page(what):
        return UserError(f"{what} is no archive: {_PAGE}")
    return UserError(f"{what} cannot be read ({error}): {_AGAIN}")


def _is_page(path: Path) -> bool:
    """Whether a file begins as HTML does."""
    with path.open("rb") as file:
        return file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype", b"<html"))


def unpack_tar(archive: Path, wanted: dict[str, Path], step: Callable[[], object]) -> None:
    """Writes members of a tar file, in one pass.

    Args:
        archive: the tar file.
        wanted: member's name -> the file that is written.
        step: called after each.
    """
    try:
        with tarfile.open(archive) as tar:
            for info in tar:
                if (target := wanted.get(_name(info.name))) is not None and (content := tar.extractfile(info)):
                    with target.open("wb") as file:
                        while block := content.read(1 << 20):
                            file.write(block)
                    step()
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _unreadable(archive, error) from None


def _walk(folder: Path, skip: set[str]) -> Iterator[Path]:
    """The files below a folder, hidden ones and junk left out."""

    def closed(error: OSError) -> None:
        raise UserError(f"the folder {error.filename} cannot be read ({error.strerror}): {_CLOSED}")

    for parent, folders, names in os.walk(folder, onerror=closed):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n.lower() not in skip | _JUNK)
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and name.lower() not in _JUNK and path.is_file():
                yield path


def _below(path: str, source: Path) -> str:
    return path.removeprefix(text_of(source)).lstrip("/")


def _archive(path: Path, suffix: str) -> Iterator[Member]:
    """The files in an archive."""
    top = text_of(path.with_name(path.name[: -len(suffix)]))
    stamp = path.stat().st_mtime_ns
    try:
        if is_tar(path):
            content = [(name, size, stamp) for name, size in _tar(path)]
        else:
            content = [(name, info.file_size, info.CRC) for name, info in _zip(path, stamp)[1].items()]
    except _DAMAGED as error:
        raise _unreadable(path, error) from None
    for name, size, mark in content:
        parts = PurePosixPath(name).parts
        if not parts or any(part.lower() in _JUNK for part in parts) or parts[-1].startswith("."):
            continue
        if size > MAX_BYTES:
            raise UserError(f"{name} in {path} claims {size:,} bytes, expected at most {MAX_BYTES:,}: {_AGAIN}")
        yield Member(f"{top}/{unicodedata.normalize('NFC', name)}", "", size, path, name, mark)


@lru_cache(maxsize=4)
def _zip(path: Path, stamp: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:  # noqa: ARG001 (cache key)
    """An open zip file and its files by checked name."""
    archive = zipfile.ZipFile(path)
    infos = {}
    for info in archive.infolist():
        name = _check(info.orig_filename if info.flag_bits & 0x800 else _decoded(info.orig_filename), path)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UserError(f"{path} holds a link ({name}): expected files only; {_AGAIN}")
        if info.flag_bits & 1:
            raise UserError(
                f"{path} is encrypted: expected an archive without a password; extract it with the publisher's "
                f"password (7z x '{path}' -o'{path.with_suffix('')}' asks for it) and give the folder"
            )
        if not info.is_dir() and not name.endswith("/"):
            infos[name] = info
    if len(infos) > MAX_MEMBERS:
        raise UserError(f"{path} holds {len(infos):,} files, expected at most {MAX_MEMBERS:,}: {_AGAIN}")
    return archive, infos


def _tar(path: Path) -> Iterator[tuple[str, int]]:
    """Checked names and sizes of the files in a tar file."""
    with tarfile.open(path) as tar:
        for count, info in enumerate(tar):
            name = _check(info.name, path)
            if info.issym() or info.islnk():
                raise UserError(f"{path} holds a link ({name}): expected files only; {_AGAIN}")
            if count > MAX_MEMBERS:
                raise UserError(f"{path} holds more than {MAX_MEMBERS:,} files: {_AGAIN}")
            if info.isfile():
                yield name, info.size


def _decoded(name: str) -> str:
    """A name of a zip without its UTF-8 mark, which `zipfile` reads as cp437; on a Chinese Windows it is GBK."""
    try:
        raw = name.encode("cp437")
    except UnicodeEncodeError:
        return name
    for encoding in ("utf-8", "gbk"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return name


def _name(name: str) -> str:
    """A member's name with "/" between folders, without "./" before it."""
    name = name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def _check(name: str, archive: Path) -> str:
    """The name, or the refusal of one that points outside."""
    name = _name(name)
    if name.startswith("/") or ".." in name.split("/") or (len(name) > 1 and name[1] == ":") or "\0" in name:
        raise UserError(
            f"{archive} has a member with the path {name!r}, which points outside of it: expected relative paths; "
            "this is no archive of the publisher, download it from the source"
        )
    return name
