"""Opens connections: only http and https, limited in time, redirects followed if safe."""

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

STALL_S = 30.0  # a silent download is aborted after this; longer than short failures of wireless networks


class Unusable(Exception):  # noqa: N818 (never leaves this package)
    """Why a response cannot be used, as a part of a sentence."""


class NoRedirects(HTTPRedirectHandler):
    """Does not follow redirects: urllib raises an HTTPError."""

    def redirect_request(self, *_: object) -> None:
        """Returns no new request."""


class Redirects(HTTPRedirectHandler):
    """Follows redirects and keeps the headers in which the hub describes the file."""

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
        """Stores the headers, and repeats the request without token and proxy password.

        Raises:
            Unusable: A redirect from https to http, or to another scheme.
        """
        self.note(headers)
        new = urlsplit(newurl)
        if new.scheme not in ("https", req.type):
            fp.close()
            where = short_text(f"{new.scheme}://{new.netloc.rpartition('@')[2]}")
            raise Unusable(f"the server redirects from {req.type} to {where}, which is not followed")
        kept = {name: value for name, value in req.headers.items() if name != "Proxy-authorization"}
        return Request(newurl, headers=kept, method=req.get_method())

    def note(self, headers: Message) -> None:
        """Stores declared size and hash; the first response counts, so a storage server cannot change them."""
        for name in ("X-Linked-Etag", "X-Linked-Size"):
            if name in headers:
                self.declared.setdefault(name, headers[name].strip('"'))


def is_offered(address: str, timeout: float) -> bool:
    """Whether a server offers a file: one HEAD request, never repeated, redirects not followed.

    Args:
        address: The address of the file.
        timeout: Total seconds, including name resolution.
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
    """Makes a request for a file.

    Args:
        address: The address of the file.
        headers: Additional headers.
        token: A token of the Hugging Face hub, sent only to the host of `address`, and only over https.
        method: GET or HEAD.

    Raises:
        ValueError: An unsupported address.
    """
    if "@" in urlsplit(address).netloc:
        raise ValueError("an address with a user name or a password in it is not supported")
    defaults = {"User-Agent": "segearth", "Accept-Encoding": "identity"}
    request = Request(address, headers={**defaults, **(headers or {})}, method=method)
    if token and request.type == "https" and re.fullmatch(r"[\w.-]+", token, re.ASCII):
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def connect(request: Request, redirects: HTTPRedirectHandler, *, timeout: float, patience: float = 0.0) -> HTTPResponse:
    """Sends a request, through the proxies of the environment, and returns the response.

    Args:
        request: The request; its scheme must be http or https.
        redirects: The handler of redirects.
        timeout: Seconds until the response must begin.
        patience: Additional seconds if the server was reached in time, for connections of a few kB/s.

    Raises:
        OSError, HTTPException, ValueError: No response, or an error status (HTTPError).
        Unusable: A redirect that is not followed.
    """
    reached = threading.Event()
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        _Handler(reached),
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
    except FutureTimeoutError:  # before Python 3.11 it differs from the built-in TimeoutError
        answer.add_done_callback(_close)
        waited = timeout + (patience if reached.is_set() else 0)
        raise TimeoutError(f"no answer within {waited:g} s") from None
    except KeyboardInterrupt:
        answer.add_done_callback(_close)
        raise


def _in_background(call: Callable[[], HTTPResponse]) -> "Future[HTTPResponse]":
    """Starts a call in a daemon thread.

    The timeout of a socket limits neither name resolution nor the number of addresses tried.
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
    """Closes a response that is no longer needed."""
    if done.exception() is None:
        done.result().close()


class _Connection(HTTPConnection):
    """A connection that sets an event once it is established.

    Args:
        reached: The event.
    """

    def __init__(self, host: str, *, reached: threading.Event, **others: Any) -> None:
        super().__init__(host, **others)
        self.reached = reached

    def connect(self) -> None:
        """Connects and sets the event."""
        super().connect()
        self.reached.set()


class _SecureConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Handler(HTTPHandler, HTTPSHandler):
    """Opens http and https with `_Connection`.

    Args:
        reached: see `_Connection`.
    """

    def __init__(self, reached: threading.Event) -> None:
        super().__init__()
        self.reached = reached

    def http_open(self, req: Request) -> HTTPResponse:
        """Opens an http URL."""
        return self.do_open(cast(Any, _Connection), req, reached=self.reached)

    def https_open(self, req: Request) -> HTTPResponse:
        """Opens an https URL."""
        return self.do_open(cast(Any, _SecureConnection), req, reached=self.reached)


def reason(error: BaseException) -> str:
    """The message of an error in one printable line."""
    inner = getattr(error, "reason", None) or error  # URLError wraps the cause
    return short_text(str(inner)) or type(inner).__name__


def short_text(text: str, longest: int = 200) -> str:
    """Text of a server as one short printable line."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[:longest]}..."
