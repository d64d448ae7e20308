"""Requests to web servers, in the ways that GDAL's settings tell: its proxy, its headers, as often as it asks."""

from __future__ import annotations

import base64
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from email.message import Message
from urllib.parse import unquote

from segearth.addresses import gdal_setting

_TIMEOUT_S = 30.0
_LATER = (408, 425, 429)  # beside all from 500: it may be better in a moment


class Refused(OSError):  # noqa: N818 (what a server does; whoever asks can go on without)
    """A server, or its certificate, that will not answer better if it is asked again."""


def get(url: str, most_bytes: int, headers: dict[str, str] | None = None) -> tuple[bytes, Message]:
    """What a URL gives, asked for again where its server fails for the moment.

    Args:
        url: http or https; it may hold a user and a password.
        most_bytes: that are read.
        headers: more than GDAL_HTTP_HEADERS says.

    Raises:
        Refused: it will not give it.
        OSError, http.client.HTTPException, ValueError: it failed each time, or is no URL.
    """
    plain, own = _without_user(url)
    request = urllib.request.Request(plain, headers={**_headers(), **own, **(headers or {})})
    proxy = gdal_setting("GDAL_HTTP_PROXY")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(
            {"http": proxy, "https": gdal_setting("GDAL_HTTPS_PROXY") or proxy} if proxy else None
        )
    )
    again, pause = int(gdal_setting("GDAL_HTTP_MAX_RETRY")), float(gdal_setting("GDAL_HTTP_RETRY_DELAY"))
    while True:
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as answer:
                return answer.read(most_bytes), answer.headers
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in _LATER:
                raise Refused(str(error)) from None
            if again <= 0:
                raise
        except (OSError, http.client.HTTPException) as error:
            if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                raise Refused(str(error)) from None
            if again <= 0:
                raise
        time.sleep(pause)
        again, pause = again - 1, 2 * pause


def _without_user(url: str) -> tuple[str, dict[str, str]]:
    """A URL without user and password, and the header that has them."""
    found = re.match(r"(https?://)([^/?]*)@(.*)", url, re.DOTALL | re.IGNORECASE)
    if found is None:
        return url, {}
    token = base64.b64encode(unquote(found[2]).encode()).decode()
    return found[1] + found[3], {"Authorization": f"Basic {token}"}


def _headers() -> dict[str, str]:
    """GDAL_HTTP_HEADERS, such as "Authorization: Bearer x,Accept: y"."""
    lines = re.split(r"[,\r\n]+(?=\s*[\w-]+:)", gdal_setting("GDAL_HTTP_HEADERS"))
    return {name.strip(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
