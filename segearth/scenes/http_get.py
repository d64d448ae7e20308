"""HTTP GET requests with GDAL's settings: proxy, headers, number of retries and delay."""

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
_LATER = (408, 425, 429)  # retried, as are all codes from 500


class RequestRefused(OSError):  # noqa: N818 (callers can continue without an answer)
    """A server refused the request, or its certificate is invalid; retrying does not help."""


def http_get(url: str, max_bytes: int, headers: dict[str, str] | None = None) -> tuple[bytes, Message]:
    """Downloads a URL, with retries after temporary server errors.

    Args:
        url: http or https; may contain user and password.
        max_bytes: maximum number of bytes to read.
        headers: in addition to GDAL_HTTP_HEADERS.

    Returns:
        The content, and the response headers.

    Raises:
        RequestRefused: the server refuses the request.
        OSError, http.client.HTTPException, ValueError: all attempts failed, or the URL is invalid.
    """
    plain_url, authorization = _without_user(url)
    all_headers = {**_headers(), **authorization, **(headers or {})}
    request = urllib.request.Request(plain_url, headers=all_headers)
    proxy = gdal_setting("GDAL_HTTP_PROXY")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(
            {"http": proxy, "https": gdal_setting("GDAL_HTTPS_PROXY") or proxy} if proxy else None
        )
    )
    retries, delay = int(gdal_setting("GDAL_HTTP_MAX_RETRY")), float(gdal_setting("GDAL_HTTP_RETRY_DELAY"))
    while True:
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as response:
                return response.read(max_bytes), response.headers
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in _LATER:
                raise RequestRefused(str(error)) from None
            if retries <= 0:
                raise
        except (OSError, http.client.HTTPException) as error:
            if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                raise RequestRefused(str(error)) from None
            if retries <= 0:
                raise
        time.sleep(delay)
        retries, delay = retries - 1, 2 * delay


def _without_user(url: str) -> tuple[str, dict[str, str]]:
    """Removes user and password from a URL; returns it and the Authorization header."""
    match = re.match(r"(https?://)([^/?]*)@(.*)", url, re.DOTALL | re.IGNORECASE)
    if match is None:
        return url, {}
    token = base64.b64encode(unquote(match[2]).encode()).decode()
    return match[1] + match[3], {"Authorization": f"Basic {token}"}


def _headers() -> dict[str, str]:
    """Parses GDAL_HTTP_HEADERS, such as "Authorization: Bearer x,Accept: y"."""
    lines = re.split(r"[,\r\n]+(?=\s*[\w-]+:)", gdal_setting("GDAL_HTTP_HEADERS"))
    return {name.strip(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
