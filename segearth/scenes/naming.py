"""Names of the output files of a scene."""

from __future__ import annotations

import re

from segearth.addresses import is_subdataset, without_credentials

_MAX_LENGTH = 120  # characters: suffixes are added, and most file systems allow 255 bytes


def scene_name(address: str) -> str:
    """Returns a valid file name for a scene: the name of its file, without folder, suffix and URL query.

    Args:
        address: see `segearth.addresses`.
    """
    if address.lstrip().startswith("<"):
        return "mosaic" if address.lstrip().startswith("<VRT") else "scene"
    address = without_credentials(address)
    if is_subdataset(address):
        _, file, *inner = re.split(r':(?=(?:[^"]*"[^"]*")*[^"]*$)', address)  # colons outside of quotes
        parts = [_stem(file.strip('"')), *inner]
    else:
        parts = [_stem(address)]
    return re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", "_".join(filter(None, parts))).strip(" ._")[:_MAX_LENGTH] or "scene"


def _stem(path: str) -> str:
    """Returns the file name without suffix, of a path with any kind of slashes or of a file in an archive."""
    return re.sub(r"(?<=.)\.[^.]*$", "", re.split(r"[/\\!]", path.rstrip("/\\"))[-1])
