"""Identity of a raster, independent of its path: a map is resumed only if the raster is still the same."""

from __future__ import annotations

import http.client
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from segearth.addresses import display_name, gdal_settings, is_remote, without_credentials
from segearth.errors import UserError, first_line, without_warnings
from segearth.hashes import fingerprint
from segearth.jobs.settings import settings_hash
from segearth.scenes import http_get

if TYPE_CHECKING:
    from segearth.scenes.raster import Raster

_DERIVED = (".aux.xml", ".ovr")  # derived files, such as statistics, that viewers may write
_MAX_REQUESTS = 16  # simultaneous HTTP requests
_MAX_HASHED_FILES = 64  # with more files, only their sizes are compared for each block, to take a second at most


def raster_identity(raster: Raster) -> dict[str, Any]:
    """Identifies a raster without reading all of it; for JSON, and without its address.

    Args:
        raster: an open raster.

    Returns:
        Size, georeferencing and data types; the `fingerprint` of each local file; the version of each URL as reported
        by its server; the positions of the first and last tiles of each file in cloud storage. Rasters at other
        addresses are told apart only by the pixels sampled for their spec.

    Raises:
        UserError: a server does not respond.
    """
    files = list(filter(None, map(_fingerprint, _local_files(raster))))
    return {**_grid_and_types(raster), "files": files, "versions": _versions(_remote_names(raster))}


def content_hash(raster: Raster, known: list[Any] | None = None) -> str:
    """Returns a SHA-256 that is cheap enough to check for each block.

    It is the hash of `raster_identity`, but with only the sizes of local files if there are many.

    Args:
        raster: an open raster.
        known: `versions` of its identity, if they were requested just before.

    Raises:
        UserError: a server does not respond.
    """
    files, remote = _local_files(raster), _remote_names(raster)
    prints = [_fingerprint(path) if len(files) <= _MAX_HASHED_FILES else _size(path) for path in files]
    if known is None:
        known = _versions(remote) if len(remote) <= _MAX_HASHED_FILES else []
    versions: list[Any] = known if len(remote) <= _MAX_HASHED_FILES else list(map(without_credentials, remote))
    return settings_hash({**_grid_and_types(raster), "files": prints, "versions": versions})


def check_unchanged(raster: Raster) -> None:
    """Refuses a raster that was replaced or changed since its spec was chosen.

    Args:
        raster: an open raster with a spec. A deleted file is not reported here, but when its pixels are read.

    Raises:
        UserError: the raster has changed, or a server does not respond.
    """
    expected = raster.spec.content
    if expected and content_hash(raster) != expected and not _is_gone(raster):
        raise UserError(
            f"{raster.name} has become another raster while it was mapped: expected it to stay unchanged; put the "
            "first one back and start again to resume, or make a new map of this one"
        )


def _is_gone(raster: Raster) -> bool:
    """Whether files of it are missing; GDAL lists no files if they were deleted while it was opened."""
    files = _local_files(raster)
    return not all(path.exists() for path in files) or not (files or _remote_names(raster))


def _grid_and_types(raster: Raster) -> dict[str, Any]:
    return {
        "size": list(raster.size),
        "transform": list(raster.transform[:6]),
        "crs": None if raster.crs is None else raster.crs.to_wkt(),
        "types": [band.dtype for band in raster.bands],
    }


def _local_files(raster: Raster) -> list[Path]:
    """Returns its local files, sorted by name, without derived ones."""
    return [Path(name) for name in sorted(raster.files) if _is_path(name) and not name.endswith(_DERIVED)]


def _is_path(name: str) -> bool:
    return not (is_remote(name) or name.startswith("/vsi") or name.lstrip().startswith("<"))


def _remote_names(raster: Raster) -> list[str]:
    """Returns the GDAL names of its remote files."""
    names = {name for name in (raster.source, *raster.files) if is_remote(name) and not name.lstrip().startswith("<")}
    return sorted(names, key=lambda name: (without_credentials(name), name))


def _fingerprint(path: Path) -> dict[str, Any] | None:
    """Returns the `fingerprint` of a file, cached while the file does not change; None if it is missing."""
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
    """Returns the versions of remote files, given by their GDAL names."""
    if not names:
        return []
    with ThreadPoolExecutor(min(_MAX_REQUESTS, len(names))) as threads:
        return list(threads.map(_version, names))


def _version(name: str) -> dict[str, Any]:
    """Returns the version of a remote file, given by its GDAL name."""
    url = _url(name)
    try:
        return _tile_positions(name) if url is None else _server_version(url)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UserError(
            f"{display_name(name if url is None else url)} does not answer ({without_credentials(first_line(error))}): "
            "expected the version of the file; start again when its server is back"
        ) from None


def _url(name: str) -> str | None:
    """Returns the URL in a GDAL name, for a file in an archive that of the archive; None if there is none."""
    if name.startswith("/vsicurl?"):
        return next(iter(parse_qs(name.partition("?")[2]).get("url", [])), None)
    if name.startswith("/vsicurl/"):
        url = name.removeprefix("/vsicurl/")
    else:
        match = re.search(r"\{/vsicurl/([^{}]*)\}|/vsicurl/(.*?\.(?:zip|tar|tgz|tar\.gz|gz))(?:/|$)", name)
        url = "" if match is None else match[1] or match[2]
    return url if url.startswith(("http://", "https://")) else None


def _server_version(url: str) -> dict[str, Any]:
    """Returns ETag, modification time and length of a file; empty if the server refuses our request."""
    try:
        # GET of one byte: a signed URL may allow GET, but not HEAD
        _, headers = http_get.http_get(url, 1, {"Range": "bytes=0-0"})
    except http_get.RequestRefused:
        return {}
    length = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    version = {"etag": headers.get("ETag"), "modified": headers.get("Last-Modified"), "bytes": length}
    return {key: value for key, value in version.items() if value}


def _tile_positions(name: str) -> dict[str, Any]:
    """Returns positions and sizes of the first and last tiles of a TIFF; empty for other formats.

    They replace the version that cloud storage reports, which GDAL knows but rasterio does not expose.
    """
    import rasterio

    with gdal_settings(name), without_warnings(rasterio.errors.NotGeoreferencedWarning):
        try:
            with rasterio.open(name) as dataset:
                tall, wide = dataset.block_shapes[0]
                corners = {(0, 0), ((dataset.width - 1) // wide, (dataset.height - 1) // tall)}
                positions = [
                    dataset.get_tag_item(f"BLOCK_{item}_{column}_{row}", "TIFF", bidx=band)
                    for band in sorted({1, dataset.count})
                    for column, row in sorted(corners)
                    for item in ("OFFSET", "SIZE")
                ]
        except rasterio.errors.RasterioError as error:
            raise OSError(first_line(error)) from None
    return {"tiles": positions} if any(positions) else {}
