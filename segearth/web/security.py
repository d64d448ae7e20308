"""Access control: only the page itself and programs of this computer may use the server, not other web sites.

A page of any site can send requests to this computer, and DNS rebinding can make its name resolve to this computer.
Therefore the Host header must name this server, requests that change something must come from its own page or from no
page, and other computers need a token.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segearth.web.responses import error_response

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_SAFE_METHODS = ("GET", "HEAD")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Middleware that checks each request and sets session and headers.

    Args:
        app: the application; it gets the session in `scope["session_id"]`.
        host: the host that the server listens on, as given by the user.
        port: the port that the server listens on.
        token: the token for other computers; None if they cannot reach the server.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, token: str | None) -> None:
        self._app, self._host, self._port, self._token = app, host, port, token
        self._secret = secrets.token_bytes(32)
        # with the port, as browsers send cookies to all ports of a host
        self._session, self._token_cookie = f"segearth_session_{port}", f"segearth_token_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request, or passes it to the application."""
        if scope["type"] != "http":  # there are no web sockets
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cookies = _cookies(headers)
        answer = self._refusal(scope, headers, cookies)
        session, new = self._session_of(cookies)
        scope["session_id"] = session

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    response_headers[name] = value
                if message["status"] >= 400 and scope["method"] not in _SAFE_METHODS:
                    response_headers["Connection"] = "close"  # the rest of a refused body is not read
                # a request of another site lacks the existing cookie, which a new one would replace
                if new and answer is None and headers.get("sec-fetch-site") != "cross-site":
                    response_headers.append("Set-Cookie", _cookie(self._session, session + "." + self._sign(session)))
            await send(message)

        await (answer or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers, cookies: dict[str, str]) -> Response | None:
        """The response to a request that is refused; None if it is allowed."""
        host = headers.getlist("host")
        if len(host) != 1 or not self._is_ours(host[0]):
            return error_response(
                421,
                f"this server is not {host[0][:200] if host else 'that'}: expected an address that it was started "
                f"with, such as http://localhost:{self._port}; use that one",
            )
        if self._token is not None and (answer := self._check_token(scope, headers, cookies)) is not None:
            return answer
        if scope["method"] in _SAFE_METHODS:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        foreign = origin is not None and origin.lower() != f"{scope['scheme']}://{host[0].lower()}"
        if foreign or (site is not None and site not in ("same-origin", "none")):
            return error_response(
                403, "the request comes from another web site: expected one of this page; open the page itself"
            )
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server."""
        name, port = _split(host.lower())
        if port != self._port and not (port is None and self._port == 80):
            return False
        if name in (*_LOOPBACK, self._host.lower()):
            return True
        if self._host not in ("0.0.0.0", "::"):
            return False
        # all addresses of this computer: IP addresses cannot be rebound, and its own names are trusted
        return _is_ip_address(name) or name in (socket.gethostname().lower(), socket.getfqdn().lower())

    def _check_token(self, scope: Scope, headers: Headers, cookies: dict[str, str]) -> Response | None:
        """The response to a request without token, or with one in the URL; None if it has a valid cookie or header."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for key, value in query if key == "token"]
        if tokens and scope["method"] == "GET" and self._is_token(tokens[0]):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            path = "/" + scope["path"].lstrip("/\\")
            answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            answer.headers.append("Set-Cookie", _cookie(self._token_cookie, tokens[0]))
            return answer
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(bearer.strip()):
            return None
        if self._is_token(cookies.get(self._token_cookie, "")):
            return None
        sentence = "a token is needed: expected the whole address that segearth web printed, with ?token=; open that"
        return error_response(401, sentence, headers={"WWW-Authenticate": "Bearer"})

    def _is_token(self, text: str) -> bool:
        return self._token is not None and hmac.compare_digest(text.encode(), self._token.encode())

    def _session_of(self, cookies: dict[str, str]) -> tuple[str, bool]:
        """The session of a request, and whether it is new; only ids signed by this server are valid."""
        session, _, signature = cookies.get(self._session, "").partition(".")
        if session and hmac.compare_digest(signature.encode(), self._sign(session).encode()):
            return session, False
        return secrets.token_urlsafe(24), True

    def _sign(self, session: str) -> str:
        return hmac.new(self._secret, session.encode(), sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server at this host."""
    if _is_ip_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def _cookie(name: str, value: str) -> str:
    """A Set-Cookie header. Lax: links of other sites keep the session; their changing requests are refused."""
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax"


def _cookies(headers: Headers) -> dict[str, str]:
    cookies: dict[str, str] = {}
    for line in headers.getlist("cookie"):
        for part in line.split(";"):
            name, equals, value = part.strip().partition("=")
            if equals:
                cookies.setdefault(name, value)
    return cookies


def _split(host: str) -> tuple[str, int | None]:
    """Name and port of a Host header; an invalid port is -1."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, ""
    number = None if not port else int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1
    return name.removeprefix("[").removesuffix("]"), number


def _is_ip_address(name: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
