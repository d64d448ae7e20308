"""What tells one raster from another, wherever it lies, so that a map goes on from what was made of the same one."""

from __future__ import annotations

import http.client
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from segearth.addresses import gdal_settings, is_remote, shown, without_keys
from segearth.errors import UserError, first_line, without_warnings
from segearth.hashes import fingerprint
from segearth.jobs.settings import settings_hash
from segearth.scenes import http_get

if TYPE_CHECKING:
    from segearth.scenes.raster import Raster

_DERIVED = (".aux.xml", ".ovr")  # made of a raster, or statistics of it, also by programs that only look
_AT_ONCE = 16  # requests
_FEW = 64  # files that are looked at for each block, which takes a second at most, where a block takes a minute


def identity(raster: Raster) -> dict[str, Any]:
    """What is known of a raster's content without reading all of it; for JSON, and without its address.

    Args:
        raster: open.

    Returns:
        Its size, place and types; of each file that it consists of, the `fingerprint`; of each URL what its server
        tells of its version; of each file in a cloud where its first and last tiles lie. Of other addresses there is no
        more than that: what was chosen from its pixels tells the rest.

    Raises:
        UserError: a server does not answer.
    """
    files = [found for path in _files(raster) if (found := _fingerprint(path)) is not None]
    return {**_outline(raster), "files": files, "versions": _versions(_remote(raster))}


def content(raster: Raster, known: list[Any] | None = None) -> str:
    """SHA-256 of what can be looked at again for each block: `identity`, but of many files their sizes alone.

    Args:
        raster: open.
        known: `versions` of its identity, if servers were asked a moment ago.

    Raises:
        UserError: a server does not answer.
    """
    files, remote = _files(raster), _remote(raster)
    looked_at = [_fingerprint(path) if len(files) <= _FEW else _size(path) for path in files]
    if known is None:
        known = _versions(remote) if len(remote) <= _FEW else []
    versions: list[Any] = known if len(remote) <= _FEW else list(map(without_keys, remote))
    return settings_hash({**_outline(raster), "files": looked_at, "versions": versions})


def check_same(raster: Raster) -> None:
    """Refuses a raster that is another one than its spec was chosen from, such as one that was replaced meanwhile.

    Args:
        raster: open, with a spec. A file that is gone is no other: who reads its pixels will say that.

    Raises:
        UserError: it is another one, or a server does not answer.
    """
    expected = raster.spec.content
    if expected and content(raster) != expected and not _is_gone(raster):
        raise UserError(
            f"{raster.name} has become another raster while it was mapped: expected it to stay as it was; put the "
            "first one back and start again to go on, or make a new map of this one"
        )


def _is_gone(raster: Raster) -> bool:
    """Whether files of it are not there; GDAL tells none where they went while it was opened."""
    files = _files(raster)
    return not all(path.exists() for path in files) or not (files or _remote(raster))


def _outline(raster: Raster) -> dict[str, Any]:
    return {
        "size": list(raster.size),
        "transform": list(raster.transform[:6]),
        "crs": None if raster.crs is None else raster.crs.to_wkt(),
        "types": [band.dtype for band in raster.bands],
    }


def _files(raster: Raster) -> list[Path]:
    """Its files on this computer, in the order of their names."""
    return [Path(name) for name in sorted(raster.files) if _is_path(name) and not name.endswith(_DERIVED)]


def _is_path(name: str) -> bool:
    return not (is_remote(name) or name.startswith("/vsi") or name.lstrip().startswith("<"))


def _remote(raster: Raster) -> list[str]:
    """GDAL's names of what of it lies on a network."""
    names = {name for name in (raster.source, *raster.files) if is_remote(name) and not name.lstrip().startswith("<")}
    return sorted(names, key=lambda name: (without_keys(name), name))


def _fingerprint(path: Path) -> dict[str, Any] | None:
    """As `fingerprint`, computed once as long as the file does not change: every block asks for it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _fingerprint_of(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _fingerprint_of(path: Path, *_: int) -> dict[str, Any] | None:
    return fingerprint(path)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _versions(names: Sequence[str]) -> list[dict[str, Any]]:
    """What servers and clouds tell of files, by GDAL's names of them."""
    if not names:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(names))) as threads:
        return list(threads.map(_version, names))


def _version(name: str) -> dict[str, Any]:
    """What is told of the version of a file on a network, by GDAL's name of it."""
    url = _url(name)
    try:
        return _layout(name) if url is None else _told_by_server(url)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UserError(
            f"{shown(name if url is None else url)} does not answer ({without_keys(first_line(error))}): expected what "
            "tells whether it is still the same file; start again when its server is back"
        ) from None


def _url(name: str) -> str | None:
    """The URL in GDAL's name, of the archive if it is of a file in one; None if there is none."""
    if name.startswith("/vsicurl?"):
        return next(iter(parse_qs(name.partition("?")[2]).get("url", [])), None)
    if name.startswith("/vsicurl/"):
        url = name.removeprefix("/vsicurl/")
    else:
        found = re.search(r"\{/vsicurl/([^{}]*)\}|/vsicurl/(.*?\.(?:zip|tar|tgz|tar\.gz|gz))(?:/|$)", name)
        url = "" if found is None else found[1] or found[2]
    return url if url.startswith(("http://", "https://")) else None


def _told_by_server(url: str) -> dict[str, Any]:
    """Version and length of a file; nothing where its server tells GDAL more than us."""
    try:
        # the first byte alone: a URL with a signature may be got, but not asked for its head
        _, headers = http_get.get(url, 1, {"Range": "bytes=0-0"})
    except http_get.Refused:
        return {}
    length = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    version = {"etag": headers.get("ETag"), "modified": headers.get("Last-Modified"), "bytes": length}
    return {key: value for key, value in version.items() if value}


def _layout(name: str) -> dict[str, Any]:
    """Where the first and the last tiles of a TIFF lie, which tells nearly its length; nothing of other formats.

    It stands for what clouds tell of a file's version, which GDAL knows but rasterio does not hand on.
    """
    import rasterio

    with gdal_settings(name), without_warnings(rasterio.errors.NotGeoreferencedWarning):
        try:
            with rasterio.open(name) as dataset:
                tall, wide = dataset.block_shapes[0]
                corners = {(0, 0), ((dataset.width - 1) // wide, (dataset.height - 1) // tall)}
                found = [
                    dataset.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band)
                    for band in sorted({1, dataset.count})
                    for column, row in sorted(corners)
                    for what in ("OFFSET", "SIZE")
                ]
        except rasterio.errors.RasterioError as error:
            raise OSError(first_line(error)) from None
    return {"tiles": found} if any(found) else {}
