"""What a server's answer says of a file, and its body at a bearable rate.

    with closing(ask("https://example.org/w", timeout=5)) as answer:
        for block in answer.blocks(time.monotonic): ...

What a server can do wrong is decided here: it is too slow, sends a web page, an encoded body, or another part than was
asked for, or contradicts itself.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import IO, Any, cast
from urllib.error import HTTPError

from segearth.downloads import connection
from segearth.downloads.connection import Redirects, Unusable, connect, reason, request_of, words
from segearth.hashes import BLOCK_BYTES

# A download ends when less than this came in that time: 1 kB/s, where the slowest lines in use, of the first mobile
# networks, give 3 to 5 kB/s. At 1 kB/s the real CLIP would take a week.
WINDOW_S, WINDOW_BYTES = 60.0, 60_000
EXACT_ETAG = re.compile(r'"[!#-~]{1,200}"')  # what can be sent back in a header


class Broken(Unusable):
    """The connection broke in the middle of the body."""


class NotContinued(Unusable):
    """The server does not go on where an earlier answer ended: the file has to be asked for as a whole."""


@dataclass(frozen=True)
class Answer:
    """The beginning of an answer; its body is still to be read.

    Attributes:
        start: Where in the file the body begins, in bytes.
        size: Bytes of the whole file, as the server says; None where it does not.
        etag: The server's name for this very content, such as `"5f-a1"`; None where it has none that is exact.
        sha256: SHA-256 of the whole file, as the Hugging Face hub declares it, in hex.
        response: The connection.
    """

    start: int
    size: int | None
    etag: str | None
    sha256: str | None
    response: HTTPResponse

    def blocks(self, clock: Callable[[], float]) -> Iterator[bytes]:
        """The body in pieces, as they come.

        Args:
            clock: Seconds of a clock that never goes back.

        Raises:
            Broken: The connection broke, or was silent for `connection.STALL_S`.
            Unusable: Less came than `WINDOW_BYTES` in `WINDOW_S`.
        """
        response, left, pace = self.response, self.response.length, Pace(clock)
        response.fp = io.BufferedReader(_Paced(response.fp, pace))
        try:
            while left != 0 and (block := response.read1(BLOCK_BYTES if left is None else min(left, BLOCK_BYTES))):
                pace.received += len(block)
                left = None if left is None else left - len(block)
                yield block
        except (OSError, HTTPException) as error:
            raise Broken(f"the connection broke: {reason(error)}") from None

    def close(self) -> None:
        """Closes the connection."""
        self.response.close()


def ask(address: str, *, start: int = 0, etag: str | None = None, token: str | None = None, timeout: float) -> Answer:
    """Asks for a file, or for the rest of it.

    Args:
        address: What to ask for.
        start: Bytes of it that are here.
        etag: The `Answer.etag` that they came with: if the server has another one by now, it sends the whole.
        token: A token of the Hugging Face hub.
        timeout: Seconds until the server must be reached; then it may take `connection.STALL_S` to answer.

    Raises:
        NotContinued: The server cannot go on at `start`.
        Unusable: There is no answer that can be used.
    """
    wanted = {"Range": f"bytes={start}-"} if start else {}
    if start and etag:
        wanted["If-Range"] = etag
    redirects = Redirects()
    try:
        request = request_of(address, wanted, token)
        response = connect(request, redirects, timeout=timeout, patience=connection.STALL_S)
    except HTTPError as refusal:
        refusal.close()
        if refusal.code == 416 and start:
            raise NotContinued("the server has nothing after what is here") from None
        raise Unusable(_refusal(refusal, request.has_header("Authorization"))) from None
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no URL at all, from HF_ENDPOINT
        raise Unusable(reason(error)) from None
    try:
        redirects.note(response.headers)
        return _answer(response, redirects.declared, start)
    except BaseException:
        response.close()
        raise


def _refusal(answer: HTTPError, with_token: bool) -> str:
    """What a server's answer above 299 says. A wait that it asks for is told, and left to the user."""
    text = f"the server answered {answer.code} {words(str(answer.reason), 100)}"
    if wait := answer.headers.get("Retry-After"):
        text += f" and asks to wait {words(wait, 40)}" + (" s" if wait.isdecimal() else "")
    if answer.code in (401, 403) and with_token:
        text += " (HF_TOKEN was sent along: it may have expired)"
    return text


def _answer(response: HTTPResponse, declared: dict[str, str], start: int) -> Answer:
    """What the headers say.

    Raises:
        NotContinued: Another part than the one from `start` on.
        Unusable: No file, or one that could not be told from a damaged one.
    """
    headers = response.headers
    if response.status not in (200, 206) or (response.status == 206 and not start):
        raise Unusable(f"the server answered {response.status} {words(response.reason, 100)} to a plain request")
    if headers.get_content_type() == "text/html":
        raise Unusable("the server sends a web page, as the login page of a network or a proxy does")
    if (coding := headers.get("Content-Encoding", "").strip().lower()) not in ("", "identity"):
        raise Unusable(f"the server sends the file encoded as {words(coding, 40)}, which was not asked for")
    size = _number(headers.get_all("Content-Length"))
    if response.status == 206:
        begin, end = _range(headers.get("Content-Range", ""))
        if begin != start or size not in (None, end - begin):
            raise NotContinued("the server sends another part than it was asked for")
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
        etag=etag if EXACT_ETAG.fullmatch(etag) else None,  # W/"...": of alike, not of equal content
        sha256=sha256 if re.fullmatch("[0-9a-f]{64}", sha256) else None,
        response=response,
    )


def _range(text: str) -> tuple[int, int]:
    """Where a part begins and where it ends, which is the end of the file, by its Content-Range.

    Raises:
        NotContinued: It says neither, or ends before the file does.
    """
    found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", text.strip())
    if found is None or found[3] not in ("*", str(int(found[2]) + 1)):
        raise NotContinued("the server does not say which part of the file it sends")
    return int(found[1]), int(found[2]) + 1


def _number(values: list[str] | None) -> int | None:
    """A length; None where it is not given.

    Raises:
        Unusable: It is none, or there are two.
    """
    if not values:
        return None
    if len(set(values)) > 1 or not re.fullmatch("[0-9]{1,18}", values[0].strip()):
        raise Unusable(f"the server gives {words(', '.join(values), 40)} as the length")
    return int(values[0])


class Pace:
    """Ends what is too slow; the bytes of the body count, not those around them.

    Args:
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.since, self.received = clock, clock(), 0

    def check(self) -> None:
        """Looks at the clock.

        Raises:
            Unusable: Too little was received.
        """
        if (seconds := self.clock() - self.since) < WINDOW_S:
            return
        if self.received < WINDOW_BYTES:
            slowest = WINDOW_BYTES / WINDOW_S / 1000
            raise Unusable(f"only {self.received:,} bytes came in {seconds:.0f} s, less than {slowest:g} kB/s")
        self.since, self.received = self.since + seconds, 0


class _Paced(io.RawIOBase):
    """A connection that is checked before every read, those of the lines between pieces of a body included."""

    def __init__(self, source: IO[bytes], pace: Pace) -> None:
        self.source, self.pace = cast(io.BufferedReader, source), pace

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What is there, or comes next."""
        self.pace.check()
        block = self.source.read1(len(buffer))  # readinto1 waits for more where the buffer is large
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Closes the connection."""
        self.source.close()
        super().close()
