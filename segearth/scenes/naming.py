"""What a scene's files are called."""

from __future__ import annotations

import re

from segearth.addresses import is_subdataset, without_keys

_MOST = 120  # characters: endings are added, and most disks allow 255 bytes


def scene_name(address: str) -> str:
    """A name that files can have: that of a raster's file, without folder, suffix and whatever a URL may carry.

    Args:
        address: see `segearth.addresses`.
    """
    if address.lstrip().startswith("<"):
        return "mosaic" if address.lstrip().startswith("<VRT") else "scene"
    address = without_keys(address)
    if is_subdataset(address):
        _, file, *inner = re.split(r':(?=(?:[^"]*"[^"]*")*[^"]*$)', address)  # colons outside of quotes
        parts = [_stem(file.strip('"')), *inner]
    else:
        parts = [_stem(address)]
    return re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", "_".join(filter(None, parts))).strip(" ._")[:_MOST] or "scene"


def _stem(path: str) -> str:
    """Of a path with any kind of slashes, or of a file in an archive."""
    return re.sub(r"(?<=.)\.[^.]*$", "", re.split(r"[/\\!]", path.rstrip("/\\"))[-1])
