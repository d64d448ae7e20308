"""Where a raster is: what users write, what GDAL is given for it, and GDAL's settings, all in one place."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

from segearth.errors import UserError, printable
from segearth.paths import user_path

_CLOUD = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
_ARCHIVES = {"zip": "vsizip", "tar": "vsitar"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_SUBDATASET = re.compile(r"[A-Z][A-Z0-9_]+:(?!//)")
_NETWORK = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)(_streaming)?[/?]|https?://")

_USER = re.compile(r"(://)[^/?\s\"'<>]*@")  # and a password, which may hold an @ as well
_QUERY = re.compile(r"((?:://|/vsi)[^?\"'<>]*)\?[^\s\"'<>]*")

# GDAL's own settings win where the user makes them, in the environment or by rasterio.Env. rasterio takes whole numbers
# of GDAL_CACHEMAX as bytes; GDAL's default, 5 % of the memory, is much on a large machine with many processes.
_SETTINGS: dict[str, Any] = {
    "GDAL_CACHEMAX": 128 << 20,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,  # seconds; doubled each time
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,  # seconds of silence; by itself, GDAL waits for ever
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
}
_REMOTE_SETTINGS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no requests for files that may lie beside it
    "VSI_CACHE": "YES",
    # GDAL takes half of an answer that broke off for the whole, and keeps it; so it forgets a file when that is closed.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/",
}


def gdal_name(address: str | Path) -> str:
    """What GDAL is given for an address; nothing is opened.

    Args:
        address: a path; https://, s3://, gs:// or az://; zip://ARCHIVE!FILE, also zip+https://; GDAL's own names:
            sub-datasets such as NETCDF:"a.nc":red, /vsi..., the XML of a VRT or of a web map service.

    Raises:
        UserError: there is nothing at the path, or nobody knows the scheme.
    """
    text = str(address)
    if isinstance(address, Path):
        return _local(address)
    if text.lstrip().startswith("<") or text.startswith("/vsi"):
        return text
    if found := _SCHEME.fullmatch(text):
        return _of_scheme(found[1].lower(), found[2], text)
    if is_subdataset(text):
        return _subdataset(text)
    return _local(text)


def absolute(address: str | Path) -> str:
    """An address that means the same in every folder and process."""
    text = str(address)
    if isinstance(address, Path) or not (text.lstrip().startswith("<") or _SCHEME.fullmatch(text)):
        return gdal_name(address)
    return text


def is_address(text: str) -> bool:
    """Whether a text is an address of a raster that is no path on this computer."""
    known = text.lstrip().startswith("<") or text.startswith("/vsi") or _SCHEME.fullmatch(text) is not None
    return known or is_subdataset(text)


def place_of(address: str) -> PurePosixPath:
    """Where an address says that its raster is, such as host/folder/scene.tif; its results are called after that."""
    if address.lstrip().startswith("<"):
        return PurePosixPath("raster")
    if is_subdataset(address):
        file, *inner = (part.strip('"/') for part in without_keys(address).split(":")[1:])
        return PurePosixPath("-".join([PurePosixPath(file).stem, *inner]).replace("/", "_"))
    text = without_keys(address) if is_remote(gdal_name(address)) else address
    return PurePosixPath(re.sub("://|[!{}]", "/", text).strip("/") or "raster")


def is_subdataset(text: str) -> bool:
    """Whether an address is GDAL's name of a raster within a file, such as NETCDF:"a.nc":red."""
    return _SUBDATASET.match(text) is not None and not Path(text).exists()


def is_remote(name: str) -> bool:
    """Whether GDAL's name lies on a network."""
    return _NETWORK.search(name) is not None


def shown(address: str | Path) -> str:
    """An address for people: without the keys that a URL may carry, and short."""
    text = str(address)
    if text.lstrip().startswith("<"):
        return "the VRT" if text.lstrip().startswith("<VRT") else "the raster that the XML describes"
    return printable(without_keys(text))


def without_keys(text: str) -> str:
    """A text without what may be secret in the URLs that it holds: a user with a password, and what follows a "?"."""
    return _QUERY.sub(r"\1", _USER.sub(r"\1", text))


def gdal_settings(name: str, *, has_remote: bool = False) -> AbstractContextManager[Any]:
    """GDAL's settings for a name, in a block and for its thread.

    Args:
        name: GDAL's.
        has_remote: whether it is a file on this computer that refers to others on a network.

    Credentials are left to GDAL: AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT and so on.
    """
    import rasterio
    from rasterio.env import getenv, hasenv
    from rasterio.session import DummySession

    own = _SETTINGS
    if is_remote(name):
        own = own | _REMOTE_SETTINGS
    elif has_remote:  # what lies beside it counts: it is looked for by name, without a list of the folder
        own = own | _REMOTE_SETTINGS | {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
    chosen = {*os.environ, *(getenv() if hasenv() else ())}
    # rasterio's own session would want boto3 and hide GDAL's ways to credentials
    env: AbstractContextManager[Any] = rasterio.Env(
        session=DummySession(), **{key: value for key, value in own.items() if key not in chosen}
    )
    return env


def gdal_setting(key: str) -> str:
    """The value of one of GDAL's settings for requests: the user's, else ours; empty if there is none."""
    from rasterio.env import getenv, hasenv

    own = getenv() if hasenv() else {}
    return str(own.get(key, os.environ.get(key, _SETTINGS.get(key, ""))))


def _of_scheme(scheme: str, rest: str, text: str) -> str:
    """GDAL's name of an address with a scheme."""
    if scheme in ("http", "https"):
        return f"/vsicurl/{text}"
    if scheme in _CLOUD:
        return _CLOUD[scheme] + rest
    if scheme == "file":
        return _local(rest)
    archive, _, inner = scheme.partition("+")
    if archive in _ARCHIVES:
        where, _, member = rest.partition("!")
        outer = gdal_name(f"{inner}://{where}" if inner else where)
        return f"/{_ARCHIVES[archive]}/{{{outer}}}" + (f"/{member.lstrip('/')}" if member else "")
    raise UserError(
        f"nobody knows the scheme {scheme}:// of {shown(text)}: expected https://, s3://, gs://, az://, zip:// or a "
        "path; correct the address, or give GDAL's own name of it, /vsi..."
    )


def _subdataset(text: str) -> str:
    """A sub-dataset's name with the absolute path of its file."""
    parts = text.split(":")
    for position, part in enumerate(parts[1:], start=1):
        path = part.strip('"')
        if path and not path.isdecimal() and Path(path).exists():
            whole = str(Path(path).absolute())
            parts[position] = f'"{whole}"' if part.startswith('"') else whole
            break
    return ":".join(parts)


def _local(given: str | Path) -> str:
    path = user_path(given, "raster")
    if not path.exists():
        raise UserError(f"no raster at {printable(given)}: expected the path of an existing file; correct the path")
    return str(path.absolute())
