"""Getting one file from the network: one request, bounded in time, checked before it is used."""

import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, cast
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from segearth.errors import UserError
from segearth.files import BLOCK_BYTES, File, is_whole_safetensors
from segearth.progress import switched_off

STALL_S = 30.0  # silence in the middle of a download that ends it: longer than a hiccup of a wireless network


class _Unusable(Exception):  # noqa: N818 (never leaves this module)
    """Why an answer cannot be used, as a part of a sentence."""


def offline() -> bool:
    """Whether the environment forbids every request (`SEGEARTH_OFFLINE` or `HF_HUB_OFFLINE`)."""
    values = (os.environ.get(name, "") for name in ("SEGEARTH_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in {"1", "on", "yes", "true"} for value in values)


def reachable(file: File, timeout: float = 5.0) -> bool:
    """Whether a server offers the file: one HEAD request, never repeated, redirects not followed.

    Args:
        file: The file to ask for.
        timeout: Seconds for everything, resolving the host name included.
    """
    if offline():
        return False
    try:
        with _open(file.address, _NoRedirects(), method="HEAD", timeout=timeout, silence=timeout):
            return True
    except HTTPError as answer:
        answer.close()
        return answer.code < 400
    except (OSError, HTTPException, ValueError):
        return False


def download(file: File, target: Path, *, advice: str, progress: bool = True, timeout: float = 5.0) -> None:
    """Download a file, check it, and only then give it its name; nothing is left behind by a failure.

    A file without a pinned hash is checked against the SHA-256 that the hub declares for it.

    Args:
        file: What to download.
        target: Where to put it; its folder is created.
        advice: The end of an error message: what to do next.
        progress: Whether to draw a progress bar on stderr.
        timeout: Seconds until the server must have begun to answer.

    Raises:
        UserError: No network, another content than expected, or a folder that cannot be written.
    """
    try:
        if offline():
            raise _Unusable("SEGEARTH_OFFLINE or HF_HUB_OFFLINE is set, so no request is made")
        redirects = _Redirects()
        with _answer(file, redirects, timeout) as response:
            redirects.note(response.headers)
            expected = _expected(file, response, redirects.declared)
            _save(response, expected, target, progress)
    except _Unusable as reason:
        raise UserError(
            f"Could not download {file.name} from {file.address}: {reason}. Expected a file of "
            f"{file.size_text}. {advice}"
        ) from None
    except OSError as error:  # the network's errors were translated: this is the disk
        raise UserError(
            f"Could not write {target}: {_one_line(error)}. Expected a folder that can be written, with room "
            f"for {file.size_text}. Set SEGEARTH_HOME to such a folder."
        ) from None


class _NoRedirects(HTTPRedirectHandler):
    """Leaves a redirect as it is: urllib raises it as an HTTPError."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


class _Redirects(HTTPRedirectHandler):
    """Follows redirects and keeps the headers in which the hub describes the file behind them."""

    def __init__(self) -> None:
        self.declared: dict[str, str] = {}

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        """Note the headers, then follow as usual."""
        self.note(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]

    def note(self, headers: Message) -> None:
        """Keep what is declared; the first answer counts: a storage server behind it cannot change it."""
        for name in ("X-Linked-Etag", "X-Linked-Size"):
            if name in headers:
                self.declared.setdefault(name, headers[name].strip('"'))


def _within(seconds: float, call: Callable[[], HTTPResponse]) -> HTTPResponse:
    """What `call` returns, or TimeoutError after `seconds`, whatever it is waiting for.

    A socket's own timeout bounds neither the resolution of a host name nor the number of addresses tried.
    So the call runs in a thread; one that is given up closes its answer if it ever gets one.
    """
    future: Future[HTTPResponse] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    def close(done: "Future[HTTPResponse]") -> None:
        if done.exception() is None:
            done.result().close()

    threading.Thread(target=run, name="segearth-request", daemon=True).start()
    try:
        return future.result(seconds)
    except FutureTimeoutError:  # before Python 3.11 it is not the built-in one
        future.add_done_callback(close)
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    except KeyboardInterrupt:
        future.add_done_callback(close)
        raise


def _open(address: str, redirects: HTTPRedirectHandler, *, method: str, timeout: float, silence: float) -> HTTPResponse:
    """The answer to one request; `timeout` bounds its beginning, `silence` each read of its body."""
    request = Request(address, method=method, headers={"User-Agent": "segearth"})
    opener = build_opener(redirects)  # the default one besides: it uses the environment's proxies
    return _within(timeout, lambda: cast(HTTPResponse, opener.open(request, timeout=silence)))


def _answer(file: File, redirects: _Redirects, timeout: float) -> HTTPResponse:
    try:
        return _open(file.address, redirects, method="GET", timeout=timeout, silence=STALL_S)
    except HTTPError as answer:
        answer.close()
        raise _Unusable(f"the server answered {answer.code} {answer.reason}") from None
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no URL at all, from HF_ENDPOINT
        raise _Unusable(_one_line(error)) from None


def _expected(file: File, response: HTTPResponse, declared: dict[str, str]) -> File:
    """The file with what the server's headers add: always a size, and a hash where one is declared.

    Raises:
        _Unusable: The headers contradict the table, or say too little to check the content.
    """
    lengths = [declared.get("X-Linked-Size"), response.headers.get("Content-Length")]
    announced = [int(length) for length in lengths if length is not None and length.isdecimal()]
    size = file.size if file.size is not None else next(iter(announced), None)
    if size is None:
        raise _Unusable("the server does not say how long the file is, so a whole copy cannot be told")
    for length in announced:
        if length != size:
            raise _Unusable(f"the server offers {length:,} bytes, expected {size:,}")
    expected = replace(file, size=size)
    if not file.pinned and re.fullmatch("[0-9a-f]{64}", declared.get("X-Linked-Etag", "")):
        return replace(expected, sha256=declared["X-Linked-Etag"])
    return expected


def _save(response: HTTPResponse, expected: File, target: Path, progress: bool) -> None:
    """Write the body beside `target`, check it, and move it there in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as sink:
            _copy(response, sink, expected, progress)
        if (problem := expected.damage(part)) is not None:
            raise _Unusable(f"the content is not the right one: {problem}")
        if not expected.pinned and not is_whole_safetensors(part):
            raise _Unusable("no hash is known, and the content is not a complete safetensors file")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _copy(response: HTTPResponse, sink: IO[bytes], expected: File, progress: bool) -> None:
    from tqdm import tqdm

    received, size = 0, expected.size or 0
    hidden = not progress or switched_off()
    with tqdm(total=size, unit="B", unit_scale=True, desc=expected.name, disable=hidden) as bar:
        for block in _blocks(response):
            received += len(block)
            if received > size:
                raise _Unusable(f"the server sent more than the expected {size:,} bytes")
            sink.write(block)
            bar.update(len(block))
    if received < size:
        raise _Unusable(f"the connection ended after {received:,} of {size:,} bytes")


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    """The body in pieces; an error of the network is _Unusable, so that it is not taken for the disk's."""
    try:
        while block := response.read(BLOCK_BYTES):
            yield block
    except (OSError, HTTPException) as error:
        raise _Unusable(f"the connection broke: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error  # URLError wraps what happened
    return " ".join(str(reason).split()) or type(reason).__name__
