"""Reads request bodies with limits of size and time; uploaded files are written directly to disk."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from segearth.errors import printable
from segearth.web.responses import RequestError

_MOST_JSON = 1 << 20
_MOST_AROUND = 1 << 16  # bytes of a form beside the file


@dataclass(frozen=True)
class Pace:
    """The minimum speed of a body.

    Attributes:
        grace_s: seconds until its first byte, and of delay behind the minimum rate.
        bytes_per_s: minimum mean rate.
    """

    grace_s: float = 30.0
    bytes_per_s: float = 20_000


async def chunks(request: Request, most: int, pace: Pace, too_large: str, field: str | None) -> AsyncIterator[bytes]:
    """Yields the body of a request in chunks.

    Args:
        request: the request, whose body is unread.
        most: maximum bytes.
        pace: minimum speed.
        too_large: the error message for a larger body.
        field: field of the request, for errors.

    Raises:
        RequestError: too large or too slow.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise RequestError(413, too_large, field)
    started, received = time.monotonic(), 0
    stream = request.stream().__aiter__()
    while True:
        left = started + pace.grace_s + received / pace.bytes_per_s - time.monotonic()
        try:
            chunk = await asyncio.wait_for(stream.__anext__(), max(0.0, left))
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise RequestError(
                408, f"the upload is too slow: expected {pace.bytes_per_s / 1000:g} kB a second; try again", field
            ) from None
        received += len(chunk)
        if received > most:
            raise RequestError(413, too_large, field)
        yield chunk


async def read_json(request: Request, pace: Pace) -> dict[str, Any]:
    """Reads the body of a request as a JSON object.

    Raises:
        RequestError: not a JSON object, too large or too slow.
    """
    if _type(request) != "application/json":
        raise RequestError(415, f"the body is {_type(request) or 'of no type'}: expected application/json; send that")
    body = b"".join([chunk async for chunk in chunks(request, _MOST_JSON, pace, "the request is too long", None)])
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is no JSON: expected an object; correct it") from None
    if not isinstance(value, dict):
        raise RequestError(400, "the body is no object: expected one, in braces; correct it")
    return value


def is_form(request: Request) -> bool:
    """Whether a request is a form with a file."""
    return _type(request) == "multipart/form-data"


async def save_file(request: Request, target: Path, most_bytes: int, pace: Pace) -> str:
    """Writes the field `file` of a form to a file; other fields are ignored.

    Args:
        request: a form.
        target: the path to write, independent of the request.
        most_bytes: maximum bytes of the file.
        pace: minimum speed.

    Returns:
        The name of the uploaded file, for display.

    Raises:
        RequestError: too large, too slow, no file or no form, or the disk is full.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise RequestError(
            400, "the form has no boundary: expected multipart/form-data; send it by a browser or curl", "file"
        )
    too_large = (
        f"the file is larger than {most_bytes / 1e6:,.0f} MB: expected a smaller one; give its path below the "
        "folder of images, or start the server with a larger limit of uploads"
    )
    with target.open("xb") as out:
        form = _Form(out)
        parser = MultipartParser(boundary, form.callbacks())
        try:
            async for chunk in chunks(request, most_bytes + _MOST_AROUND, pace, too_large, "file"):
                await run_in_threadpool(parser.write, chunk)
                if form.bytes > most_bytes:
                    raise RequestError(413, too_large, "file")
            parser.finalize()
        except FormParserError:
            raise RequestError(400, "the form is broken: expected multipart/form-data; send it again", "file") from None
        except ClientDisconnect:
            raise RequestError(400, "the upload broke off: expected the whole file; send it again", "file") from None
        except OSError as error:
            raise RequestError(
                507, f"the upload cannot be kept ({error.strerror}): expected room for it; free some space", "file"
            ) from None
    if form.name is None or not form.ended:
        raise RequestError(400, "there is no whole file in the form: expected a field `file`; send one", "file")
    return form.name


class _Form:
    """Callbacks for a multipart parser: write the first field `file` to a file, ignore the rest."""

    def __init__(self, out: BinaryIO) -> None:
        self.name: str | None = None
        self.bytes, self.ended = 0, False
        self._out, self._wanted = out, False
        self._header, self._value, self._disposition = b"", b"", b""

    def callbacks(self) -> dict[str, Any]:
        """The callbacks for `MultipartParser`."""
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data")
        return {f"on_{name}": getattr(self, f"_{name}") for name in (*names, "end")}

    def _part_begin(self) -> None:
        self._wanted, self._header, self._value, self._disposition = False, b"", b"", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") == b"file" and b"filename" in options and self.name is None:
            self.name = display_name(options[b"filename"].decode("utf-8", "replace"))
            self._wanted = True

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self.bytes += end - start
            self._out.write(data[start:end])

    def _end(self) -> None:
        self.ended = True


def display_name(given: str) -> str:
    """The name of a file for display, without its folder."""
    return printable(re.split(r"[/\\]", given)[-1])[:200].strip() or "image"


def _type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
