"""What is answered: JSON, and errors as sentences beside what caused them."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response


class Refused(Exception):  # noqa: N818 (an answer; nothing failed)
    """A request that is answered by a sentence.

    Attributes:
        status: of HTTP, from 400 on.
        sentence: what happened, what was expected, what to do next.
        field: which part of the request caused it, such as "classes"; None for no part.
    """

    def __init__(self, status: int, sentence: str, field: str | None = None) -> None:
        super().__init__(status, sentence, field)
        self.status, self.sentence, self.field = status, sentence, field


def error(status: int, sentence: str, field: str | None = None, headers: dict[str, str] | None = None) -> Response:
    """An error as JSON."""
    return JSONResponse({"error": sentence, "field": field}, status, headers)


def refused(why: Refused) -> Response:
    """The answer of a `Refused`."""
    return error(why.status, why.sentence, why.field)


def tile(png: bytes | None, *, keep_s: int) -> Response:
    """A tile of 256 × 256 pixels.

    Args:
        png: its bytes; None where nothing is.
        keep_s: seconds for which the browser may keep it.
    """
    keep = {"Cache-Control": f"private, max-age={keep_s}" if keep_s else "no-store"}
    if png is None:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    return Response(png, media_type="image/png", headers=keep)


def facts(value: dict[str, Any] | list[Any], status: int = 200) -> Response:
    """Something as JSON that is never kept."""
    return JSONResponse(value, status, {"Cache-Control": "no-store"})
