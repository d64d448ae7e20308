"""Names of files in downloads, as text that is safe to compare, to print and to use in file names."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from segearth.datasets.bounds import AGAIN
from segearth.errors import UserError

_LONGEST = 4096  # characters; Linux has no longer paths
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of surrogate pairs, line separators
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # make a terminal show a name backwards


def member_path(name: str, archive: Path) -> str:
    """A member's name as the relative path that it is extracted to, with "/" between folders.

    Raises:
        UserError: it points outside of the archive, or no disk can have it.
    """
    if len(name) > _LONGEST:
        raise UserError(
            f"{archive} has a member with a name of {len(name):,} characters: expected at most {_LONGEST:,}; {AGAIN}"
        )
    parts = name.replace("\\", "/").split("/")
    outside = parts[0] == "" and len(parts) > 1
    parts = [part for part in parts if part not in ("", ".")]
    if outside or ".." in parts or "\0" in name or any(part[1:2] == ":" for part in parts[:1]):
        raise UserError(
            f"{archive} has a member with the path {name!r}, which points outside of it: expected relative paths; "
            "this is no archive of the publisher, download it from the source"
        )
    return safe_name("/".join(parts))


def decode_name(raw: bytes) -> str:
    """Decodes a name of unknown encoding: UTF-8, GBK (as a Chinese Windows writes), or else code page 437."""
    for encoding in ("utf-8", "gbk"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("cp437")  # has a character for every byte


def zip_name(name: str) -> str:
    """A zip member's name without the mark of UTF-8, which `zipfile` has read as cp437."""
    try:
        return decode_name(name.encode("cp437"))
    except UnicodeEncodeError:
        return name


def tar_name(name: str) -> str:
    """A tar member's name; `tarfile` keeps bytes that are no UTF-8 as surrogates."""
    try:
        return decode_name(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return name


def path_name(path: Path) -> str:
    """A path of the disk in the form of `Member.path`: slashes between folders, composed accents, valid text."""
    text = path.as_posix()
    return safe_name(text if text.isascii() else decode_name(os.fsencode(text)))


def safe_name(name: str) -> str:
    """The name in Unicode's form NFC, with U+FFFD for each character that would confuse a terminal or a disk."""
    if name.isascii() and name.isprintable():
        return name
    name = unicodedata.normalize("NFC", name)
    return "".join("\ufffd" if unicodedata.category(c) in _UNPRINTABLE or c in _TURNING else c for c in name)
