"""A remote file (URL, size, hash, licence) and checks of local copies."""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segearth.hashes import git_blob_of, sha256_of
from segearth.json_files import parse_json

ABOUT = 0.1  # relative tolerance of `about_size`, which has three digits
HEADER_BYTES = 100_000_000  # longest header of a safetensors file: the limit of the library


@dataclass(frozen=True)
class Packaged:
    """A file that is part of the package, in `segearth/data`.

    Attributes:
        name: Its file name.
        sha256: SHA-256 of its content, in hex; None where it is not pinned.
        licence: Licence of the content.
        about: Description in a sentence.
    """

    name: str
    sha256: str | None = None
    licence: str = ""
    about: str = ""


@dataclass(frozen=True)
class File:
    """A remote file that is downloaded when it is needed.

    Attributes:
        name: File name in the cache.
        url: Its URL; None for a file of a model hub, or if no URL is known.
        size: Exact size in bytes; None if unknown.
        about_size: Rounded size in bytes, for display, where the exact one is unknown.
        sha256: SHA-256 of the content, in hex.
        git_blob: Git's blob id of the content, in hex: a hash as well.
        hub: Repository and file name on the Hugging Face hub.
        revision: Commit of that repository, in hex; "main", the newest one, if no commit is known.
        mirrors: More URLs of the same content, tried in this order if the first one fails.
        member: If the URL is that of a zip archive: the end of the name of the file in it. All other attributes except
            `name` then describe the archive.
        licence: Licence of the content, as far as its publisher states one.
        about: Description in a sentence.
    """

    name: str
    url: str | None = None
    size: int | None = None
    about_size: int = 0
    sha256: str | None = None
    git_blob: str | None = None
    hub: tuple[str, str] | None = None
    revision: str = "main"
    mirrors: tuple[str, ...] = ()
    member: str = ""
    licence: str = ""
    about: str = ""

    @property
    def has_place(self) -> bool:
        """Whether the file has a URL or a place on the hub."""
        return bool(self.url or self.hub)

    @property
    def address(self) -> str:
        """The URL; for files of the hub it begins with `HF_ENDPOINT`, a mirror, if that is set."""
        if self.hub is None:
            return self.url or ""
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        repository, name = self.hub
        return f"{endpoint.rstrip('/')}/{repository}/resolve/{self.revision}/{name}"

    @property
    def size_text(self) -> str:
        """The size for display."""
        if self.size is None and not self.about_size:
            return "a size that is not known"
        if self.size is None:
            return f"about {self.about_size / 1e6:.0f} MB"
        return f"{self.size / 1e6:.1f} MB"

    @property
    def pinned(self) -> bool:
        """Whether a hash is known."""
        return self.sha256 is not None or self.git_blob is not None

    def may_have(self, size: int) -> bool:
        """Whether a copy may have this size in bytes."""
        if self.size is not None:
            return size == self.size
        return not self.about_size or abs(size - self.about_size) <= ABOUT * self.about_size

    def is_complete(self, path: Path) -> bool:
        """Whether the copy at `path` is complete by its length.

        Without a known size, safetensors files and zip archives, such as torch's, are complete if their own structure
        is.
        """
        if self.member:
            return is_whole_zip(path) is not False
        if self.size is not None:
            return path.stat().st_size == self.size
        if self.name.endswith(".safetensors"):
            return self.may_have(path.stat().st_size) and is_whole_safetensors(path)
        return self.may_have(path.stat().st_size) and is_whole_zip(path) is not False

    def damage(self, path: Path, sha256: Callable[[Path], str] | None = None) -> str | None:
        """Describes how the content at `path` differs from the known hashes; None if it agrees.

        Args:
            path: The copy.
            sha256: Function for the SHA-256 of a file, in place of `sha256_of`.
        """
        if self.member:
            return None  # the hashes are those of the archive
        if self.sha256 is not None and (digest := (sha256 or sha256_of)(path)) != self.sha256:
            return f"its SHA-256 is {digest}, expected {self.sha256}"
        if self.git_blob is not None and (digest := git_blob_of(path)) != self.git_blob:
            return f"its git blob id is {digest}, expected {self.git_blob}"
        return None


def is_whole_safetensors(path: Path) -> bool:
    """Whether the header of a safetensors file is readable and the file has the length that it states."""
    size = path.stat().st_size
    with path.open("rb") as source:
        length = int.from_bytes(source.read(8), "little")
        if length > min(size - 8, HEADER_BYTES):
            return False
        try:
            entries = parse_json(source.read(length))
            ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
            return bool(8 + length + max(ends) == size)
        except (ValueError, LookupError, TypeError, AttributeError):
            return False


def is_whole_zip(path: Path) -> bool | None:
    """Whether a zip archive has its end, with the table of contents; None if the file is no zip archive."""
    with path.open("rb") as source:
        if source.read(4) != b"PK\x03\x04":
            return None
    return zipfile.is_zipfile(path)


def bytes_text(count: float) -> str:
    """A number of bytes for display, with three significant digits."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count / 1e3:.3g} kB"
