"""The response of a server: checks of its headers, and its body with a minimum rate.

    with closing(ask("https://example.org/w", timeout=5)) as answer:
        for block in answer.blocks(time.monotonic): ...

Responses are refused if they are too slow, a web page, encoded, another part than requested, or contradictory.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import IO, Any, cast
from urllib.error import HTTPError

from segearth.downloads import connection
from segearth.downloads.connection import Redirects, Unusable, connect, reason, request_of, short_text
from segearth.hashes import BLOCK_BYTES

# A download is aborted below this rate, 1 kB/s: the slowest connections in use, of the first mobile networks, have 3 to
# 5 kB/s. At 1 kB/s the real CLIP would take a week.
WINDOW_S, WINDOW_BYTES = 60.0, 60_000
EXACT_ETAG = re.compile(r'"[!#-~]{1,200}"')  # what can be sent back in a header


class Broken(Unusable):
    """The connection broke within the body."""


class CannotResume(Unusable):
    """The server does not send the rest of an earlier response: the whole file must be requested."""


@dataclass(frozen=True)
class Answer:
    """The headers of a response whose body is not read yet.

    Attributes:
        start: Offset of the body in the file, in bytes.
        size: Bytes of the whole file, as stated by the server; None if not stated.
        etag: The strong ETag of the content, such as `"5f-a1"`; None if there is none.
        sha256: SHA-256 of the whole file, as declared by the Hugging Face hub, in hex.
        response: The connection.
    """

    start: int
    size: int | None
    etag: str | None
    sha256: str | None
    response: HTTPResponse

    def blocks(self, clock: Callable[[], float]) -> Iterator[bytes]:
        """Yields the body in blocks as they arrive.

        Args:
            clock: A monotonic clock in seconds.

        Raises:
            Broken: The connection broke, or was silent for `connection.STALL_S`.
            Unusable: Less than `WINDOW_BYTES` arrived in `WINDOW_S`.
        """
        response, left, rate = self.response, self.response.length, MinimumRate(clock)
        response.fp = io.BufferedReader(_RateChecked(response.fp, rate))
        try:
            while left != 0 and (block := response.read1(BLOCK_BYTES if left is None else min(left, BLOCK_BYTES))):
                rate.received += len(block)
                left = None if left is None else left - len(block)
                yield block
        except (OSError, HTTPException) as error:
            raise Broken(f"the connection broke: {reason(error)}") from None

    def close(self) -> None:
        """Closes the connection."""
        self.response.close()


def ask(address: str, *, start: int = 0, etag: str | None = None, token: str | None = None, timeout: float) -> Answer:
    """Requests a file, or the rest of it.

    Args:
        address: The address of the file.
        start: Number of bytes already received.
        etag: The `Answer.etag` of those bytes: if the content has changed, the server sends the whole file.
        token: A token of the Hugging Face hub.
        timeout: Seconds to reach the server; then it has `connection.STALL_S` to respond.

    Raises:
        CannotResume: The server cannot continue at `start`.
        Unusable: There is no usable response.
    """
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and etag:
        headers["If-Range"] = etag
    redirects = Redirects()
    try:
        request = request_of(address, headers, token)
        response = connect(request, redirects, timeout=timeout, patience=connection.STALL_S)
    except HTTPError as refusal:
        refusal.close()
        if refusal.code == 416 and start:
            raise CannotResume("the server has nothing after what is here") from None
        raise Unusable(_refusal(refusal, request.has_header("Authorization"))) from None
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an invalid URL, from HF_ENDPOINT
        raise Unusable(reason(error)) from None
    try:
        redirects.note(response.headers)
        return _answer(response, redirects.declared, start)
    except BaseException:
        response.close()
        raise


def _refusal(answer: HTTPError, with_token: bool) -> str:
    """Describes a response with an error status, with the waiting time that the server asks for."""
    text = f"the server answered {answer.code} {short_text(str(answer.reason), 100)}"
    if wait := answer.headers.get("Retry-After"):
        text += f" and asks to wait {short_text(wait, 40)}" + (" s" if wait.isdecimal() else "")
    if answer.code in (401, 403) and with_token:
        text += " (HF_TOKEN was sent along: it may have expired)"
    return text


def _answer(response: HTTPResponse, declared: dict[str, str], start: int) -> Answer:
    """Checks the headers of a response.

    Raises:
        CannotResume: Another part than the one from `start`.
        Unusable: Not a file, or one that could not be verified.
    """
    headers = response.headers
    if response.status not in (200, 206) or (response.status == 206 and not start):
        raise Unusable(f"the server answered {response.status} {short_text(response.reason, 100)} to a plain request")
    if headers.get_content_type() == "text/html":
        raise Unusable("the server sends a web page, as the login page of a network or a proxy does")
    if (coding := headers.get("Content-Encoding", "").strip().lower()) not in ("", "identity"):
        raise Unusable(f"the server sends the file encoded as {short_text(coding, 40)}, which was not asked for")
    size = _number(headers.get_all("Content-Length"))
    if response.status == 206:
        begin, end = _range(headers.get("Content-Range", ""))
        if begin != start or size not in (None, end - begin):
            raise CannotResume("the server sends another part than it was asked for")
        size = end
    if "X-Linked-Size" in declared:
        linked = _number([declared["X-Linked-Size"]])
        if size not in (None, linked):
            raise Unusable(f"the server offers {size:,} bytes, where {linked:,} are declared")
        size = linked
    etag, sha256 = headers.get("ETag", ""), declared.get("X-Linked-Etag", "")
    return Answer(
        start=start if response.status == 206 else 0,
        size=size,
        etag=etag if EXACT_ETAG.fullmatch(etag) else None,  # W/"..." is weak: similar, not equal content
        sha256=sha256 if re.fullmatch("[0-9a-f]{64}", sha256) else None,
        response=response,
    )


def _range(text: str) -> tuple[int, int]:
    """Begin and end of a part by its Content-Range; it must end at the end of the file.

    Raises:
        CannotResume: An invalid header, or a part that ends early.
    """
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", text.strip())
    if match is None or match[3] not in ("*", str(int(match[2]) + 1)):
        raise CannotResume("the server does not say which part of the file it sends")
    return int(match[1]), int(match[2]) + 1


def _number(values: list[str] | None) -> int | None:
    """A Content-Length; None if missing.

    Raises:
        Unusable: It is invalid, or there are several.
    """
    if not values:
        return None
    if len(set(values)) > 1 or not re.fullmatch("[0-9]{1,18}", values[0].strip()):
        raise Unusable(f"the server gives {short_text(', '.join(values), 40)} as the length")
    return int(values[0])


class MinimumRate:
    """Aborts a transfer that is too slow; only bytes of the body count.

    Args:
        clock: A monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.since, self.received = clock, clock(), 0

    def check(self) -> None:
        """Checks the rate.

        Raises:
            Unusable: Too few bytes were received.
        """
        if (seconds := self.clock() - self.since) < WINDOW_S:
            return
        if self.received < WINDOW_BYTES:
            slowest = WINDOW_BYTES / WINDOW_S / 1000
            raise Unusable(f"only {self.received:,} bytes came in {seconds:.0f} s, less than {slowest:g} kB/s")
        self.since, self.received = self.since + seconds, 0


class _RateChecked(io.RawIOBase):
    """A connection whose rate is checked before every read, also within chunk headers."""

    def __init__(self, source: IO[bytes], rate: MinimumRate) -> None:
        self.source, self.rate = cast(io.BufferedReader, source), rate

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads available bytes, or waits for the next ones."""
        self.rate.check()
        block = self.source.read1(len(buffer))  # readinto1 would wait to fill a large buffer
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Closes the connection."""
        self.source.close()
        super().close()
