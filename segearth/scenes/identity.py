"""What tells one raster from another, wherever it lies, so that a map goes on from what was made of the same one."""

from __future__ import annotations

import http.client
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.batch.earlier import fingerprint

if TYPE_CHECKING:
    from segearth.scenes.raster import Raster

_DERIVED = (".aux.xml", ".ovr")  # made of a raster, or statistics of it, also by programs that only look
_TIMEOUT_S = 20.0


def identity(raster: Raster) -> dict[str, Any]:
    """What is known of a raster's content without reading all of it; for JSON, and without its address.

    Args:
        raster: open.

    Returns:
        Its size and place; of files, the `fingerprint` of each; of a URL what its server tells of its version. Of
        other addresses there is no more than that: what was chosen from its pixels tells the rest.
    """
    files = [] if raster.is_remote else sorted(name for name in raster.files if not name.endswith(_DERIVED))
    return {
        "size": list(raster.size),
        "transform": list(raster.transform[:6]),
        "crs": None if raster.crs is None else raster.crs.to_wkt(),
        "files": [found for name in files if (found := fingerprint(Path(name))) is not None],
        "version": _version(raster.source),
    }


def _version(source: str) -> dict[str, str]:
    """What a web server tells of a file's version and length; nothing for other sources."""
    _, _, url = source.rpartition("/vsicurl/")
    if not url.startswith(("http://", "https://")):
        return {}
    # the first byte alone: a URL with a signature may be got, but not asked for its head
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            headers = answer.headers
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    length = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    version = {"etag": headers.get("ETag"), "modified": headers.get("Last-Modified"), "bytes": length}
    return {key: value for key, value in version.items() if value}
