"""Addresses of rasters: conversion to GDAL names, display without credentials, and GDAL's settings."""

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

_USER = re.compile(r"(://)[^/?\s\"'<>]*@")  # user and password; a password may contain an @
_QUERY = re.compile(r"((?:://|/vsi)[^?\"'<>]*)\?[^\s\"'<>]*")

# Defaults: settings that the user makes in the environment or by rasterio.Env take precedence. rasterio interprets an
# integer GDAL_CACHEMAX as bytes; GDAL's default of 5 % of the memory is too much for many processes on one machine.
_SETTINGS: dict[str, Any] = {
    "GDAL_CACHEMAX": 128 << 20,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,  # seconds; doubled each time
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,  # seconds without data; GDAL's default is to wait forever
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
}
_REMOTE_SETTINGS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no requests for sidecar files
    "VSI_CACHE": "YES",
    # GDAL caches a truncated response as if it were complete; not caching makes it forget a file when it is closed.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/",
}


def gdal_name(address: str | Path) -> str:
    """Returns the GDAL name of an address, without opening it.

    Args:
        address: a path; https://, s3://, gs:// or az://; zip://ARCHIVE!FILE, also zip+https://; GDAL's own names:
            sub-datasets such as NETCDF:"a.nc":red, /vsi..., the XML of a VRT or of a web map service.

    Raises:
        UserError: the path does not exist, or the scheme is unknown.
    """
    text = str(address)
    if isinstance(address, Path):
        return _local(address)
    if text.lstrip().startswith("<") or text.startswith("/vsi"):
        return text
    if match := _SCHEME.fullmatch(text):
        return _scheme_name(match[1].lower(), match[2], text)
    if is_subdataset(text):
        return _subdataset(text)
    return _local(text)


def absolute_address(address: str | Path) -> str:
    """Returns an address that is valid in every working directory and process: local paths become absolute."""
    text = str(address)
    if isinstance(address, Path) or not (text.lstrip().startswith("<") or _SCHEME.fullmatch(text)):
        return gdal_name(address)
    return text


def is_address(text: str) -> bool:
    """Whether a text is a raster address other than a local path."""
    is_name = text.lstrip().startswith("<") or text.startswith("/vsi") or _SCHEME.fullmatch(text) is not None
    return is_name or is_subdataset(text)


def address_path(address: str) -> PurePosixPath:
    """Returns the path part of an address, such as host/folder/scene.tif; output files are named after it."""
    if address.lstrip().startswith("<"):
        return PurePosixPath("raster")
    if is_subdataset(address):
        file, *inner = (part.strip('"/') for part in without_credentials(address).split(":")[1:])
        return PurePosixPath("-".join([PurePosixPath(file).stem, *inner]).replace("/", "_"))
    text = without_credentials(address) if is_remote(gdal_name(address)) else address
    return PurePosixPath(re.sub("://|[!{}]", "/", text).strip("/") or "raster")


def is_subdataset(text: str) -> bool:
    """Whether an address is a GDAL sub-dataset name, such as NETCDF:"a.nc":red."""
    return _SUBDATASET.match(text) is not None and not Path(text).exists()


def is_remote(name: str) -> bool:
    """Whether a GDAL name refers to a network file system or server."""
    return _NETWORK.search(name) is not None


def display_name(address: str | Path) -> str:
    """Returns an address for messages: short and without credentials."""
    text = str(address)
    if text.lstrip().startswith("<"):
        return "the VRT" if text.lstrip().startswith("<VRT") else "the raster that the XML describes"
    return printable(without_credentials(text))


def without_credentials(text: str) -> str:
    """Removes user names, passwords and query strings (after "?") from the URLs in a text."""
    return _QUERY.sub(r"\1", _USER.sub(r"\1", text))


def gdal_settings(name: str, *, has_remote: bool = False) -> AbstractContextManager[Any]:
    """Returns a context manager with GDAL's settings for a dataset, for the current thread.

    Args:
        name: GDAL name of the dataset.
        has_remote: whether it is a local file that refers to remote ones.

    Credentials are left to GDAL: AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT and so on.
    """
    import rasterio
    from rasterio.env import getenv, hasenv
    from rasterio.session import DummySession

    settings = _SETTINGS
    if is_remote(name):
        settings = settings | _REMOTE_SETTINGS
    elif has_remote:  # local sidecar files are looked up by name, without listing the folder
        settings = settings | _REMOTE_SETTINGS | {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
    set_by_user = {*os.environ, *(getenv() if hasenv() else ())}
    # rasterio's default session needs boto3 and hides GDAL's own credential handling
    env: AbstractContextManager[Any] = rasterio.Env(
        session=DummySession(), **{key: value for key, value in settings.items() if key not in set_by_user}
    )
    return env


def gdal_setting(key: str) -> str:
    """Returns a GDAL setting for HTTP requests: the user's value, else the default above, else an empty text."""
    from rasterio.env import getenv, hasenv

    settings = getenv() if hasenv() else {}
    return str(settings.get(key, os.environ.get(key, _SETTINGS.get(key, ""))))


def _scheme_name(scheme: str, rest: str, text: str) -> str:
    """Returns the GDAL name of an address with a scheme."""
    if scheme in ("http", "https"):
        return f"/vsicurl/{text}"
    if scheme in _CLOUD:
        return _CLOUD[scheme] + rest
    if scheme == "file":
        return _local(rest)
    archive, _, inner = scheme.partition("+")
    if archive in _ARCHIVES:
        container, _, member = rest.partition("!")
        outer = gdal_name(f"{inner}://{container}" if inner else container)
        return f"/{_ARCHIVES[archive]}/{{{outer}}}" + (f"/{member.lstrip('/')}" if member else "")
    raise UserError(
        f"unknown scheme {scheme}:// of {display_name(text)}: expected https://, s3://, gs://, az://, zip:// "
        "or a path; correct the address, or give GDAL's own name of it, /vsi..."
    )


def _subdataset(text: str) -> str:
    """Returns a sub-dataset name with the absolute path of its file."""
    parts = text.split(":")
    for position, part in enumerate(parts[1:], start=1):
        path = part.strip('"')
        if path and not path.isdecimal() and Path(path).exists():
            absolute = str(Path(path).absolute())
            parts[position] = f'"{absolute}"' if part.startswith('"') else absolute
            break
    return ":".join(parts)


def _local(address: str | Path) -> str:
    path = user_path(address, "raster")
    if not path.exists():
        raise UserError(f"no raster at {printable(address)}: expected the path of an existing file; correct the path")
    return str(path.absolute())
