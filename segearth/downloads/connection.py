"""Opening a connection: http and https alone, bounded in time, redirects followed where that is safe."""

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import IO, Any, cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from segearth.errors import printable

STALL_S = 30.0  # silence in the middle of a download that ends it: longer than a hiccup of a wireless network


class Unusable(Exception):  # noqa: N818 (never leaves this package)
    """Why an answer cannot be used, as a part of a sentence."""


class NoRedirects(HTTPRedirectHandler):
    """Leaves a redirect as it is: urllib raises it as an HTTPError."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


class Redirects(HTTPRedirectHandler):
    """Follows redirects and keeps the headers in which the hub describes the file behind them."""

    inf_msg = "redirects without end, the last one "
    http_error_308 = HTTPRedirectHandler.http_error_302  # Python 3.10 does not know it

    def __init__(self) -> None:
        self.declared: dict[str, str] = {}

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: Message,
        newurl: str,
    ) -> Request:
        """Note the headers, then follow: with the headers of the first request, but no token and no proxy's password.

        Raises:
            Unusable: The way leads from https to http, or to a scheme that is neither.
        """
        self.note(headers)
        new = urlsplit(newurl)
        if new.scheme not in ("https", req.type):
            fp.close()
            where = words(f"{new.scheme}://{new.netloc.rpartition('@')[2]}")
            raise Unusable(f"the server redirects from {req.type} to {where}, which is not followed")
        kept = {name: value for name, value in req.headers.items() if name != "Proxy-authorization"}
        return Request(newurl, headers=kept, method=req.get_method())

    def note(self, headers: Message) -> None:
        """Keep what is declared; the first answer counts: a storage server behind it cannot change it."""
        for name in ("X-Linked-Etag", "X-Linked-Size"):
            if name in headers:
                self.declared.setdefault(name, headers[name].strip('"'))


def is_offered(address: str, timeout: float) -> bool:
    """Whether a server offers a file: one HEAD request, never repeated, redirects not followed.

    Args:
        address: What to ask for.
        timeout: Seconds for everything, resolving the host name included.
    """
    try:
        with connect(request_of(address, method="HEAD"), NoRedirects(), timeout=timeout):
            return True
    except HTTPError as answer:
        answer.close()
        return answer.code < 400
    except (OSError, HTTPException, ValueError):
        return False


def request_of(
    address: str, headers: Mapping[str, str] | None = None, token: str | None = None, method: str = "GET"
) -> Request:
    """A request for a file.

    Args:
        address: What to ask for.
        headers: More headers.
        token: A token of the Hugging Face hub. It goes to the host of `address` alone, and never over http.
        method: GET or HEAD.

    Raises:
        ValueError: No address that can be asked.
    """
    if "@" in urlsplit(address).netloc:
        raise ValueError("an address with a user name or a password in it is not supported")
    own = {"User-Agent": "segearth", "Accept-Encoding": "identity"}
    made = Request(address, headers={**own, **(headers or {})}, method=method)
    if token and made.type == "https" and re.fullmatch(r"[\w.-]+", token, re.ASCII):
        made.add_unredirected_header("Authorization", f"Bearer {token}")
    return made


def connect(request: Request, redirects: HTTPRedirectHandler, *, timeout: float, patience: float = 0.0) -> HTTPResponse:
    """The answer to a request, by the environment's proxies; neither files nor ftp are opened.

    Args:
        request: of `request_of`.
        redirects: What becomes of redirects.
        timeout: Seconds until the answer must have begun.
        patience: Seconds more for a server that was reached in that time: a line of a few kB/s needs them.

    Raises:
        OSError, HTTPException, ValueError: There is none. An HTTPError is one: the server's refusal.
        Unusable: There is one that is not followed.
    """
    reached = threading.Event()
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        _Opens(reached),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        redirects,
    ):
        opener.add_handler(handler)
    answer = _in_background(lambda: cast(HTTPResponse, opener.open(request, timeout=STALL_S)))
    try:
        try:
            return answer.result(timeout)
        except FutureTimeoutError:
            if not reached.is_set():
                raise
            return answer.result(patience)
    except FutureTimeoutError:  # before Python 3.11 it is not the built-in one
        answer.add_done_callback(_close)
        waited = timeout + (patience if reached.is_set() else 0)
        raise TimeoutError(f"no answer within {waited:g} s") from None
    except KeyboardInterrupt:
        answer.add_done_callback(_close)
        raise


def _in_background(call: Callable[[], HTTPResponse]) -> "Future[HTTPResponse]":
    """Begins a call in a thread of its own, which nobody has to wait for.

    A socket's own timeout bounds neither the resolution of a host name nor the number of addresses tried.
    """
    future: Future[HTTPResponse] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="segearth-request", daemon=True).start()
    return future


def _close(done: "Future[HTTPResponse]") -> None:
    """Closes an answer that nobody waits for any more."""
    if done.exception() is None:
        done.result().close()


class _Connection(HTTPConnection):
    """A connection that tells when it stands.

    Args:
        reached: Set then.
    """

    def __init__(self, host: str, *, reached: threading.Event, **others: Any) -> None:
        super().__init__(host, **others)
        self.reached = reached

    def connect(self) -> None:
        """Reaches the server."""
        super().connect()
        self.reached.set()


class _SecureConnection(_Connection, HTTPSConnection):
    """The same by TLS."""


class _Opens(HTTPHandler, HTTPSHandler):
    """Opens http and https.

    Args:
        reached: of `_Connection`.
    """

    def __init__(self, reached: threading.Event) -> None:
        super().__init__()
        self.reached = reached

    def http_open(self, req: Request) -> HTTPResponse:
        """The answer."""
        return self.do_open(cast(Any, _Connection), req, reached=self.reached)

    def https_open(self, req: Request) -> HTTPResponse:
        """The answer, by TLS."""
        return self.do_open(cast(Any, _SecureConnection), req, reached=self.reached)


def reason(error: BaseException) -> str:
    """What an error says, in a line that can be shown."""
    inner = getattr(error, "reason", None) or error  # URLError wraps what happened
    return words(str(inner)) or type(inner).__name__


def words(text: str, longest: int = 200) -> str:
    """A server's words as a short line that can be shown."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[:longest]}..."
