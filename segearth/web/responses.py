"""Responses: JSON, tiles, and errors as a sentence with the field that caused them."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response


class RequestError(Exception):
    """A request that is refused with a sentence.

    Attributes:
        status: HTTP status, from 400.
        sentence: what happened, what was expected, what to do next.
        field: the field of the request that caused it, such as "classes"; None for no field.
    """

    def __init__(self, status: int, sentence: str, field: str | None = None) -> None:
        super().__init__(status, sentence, field)
        self.status, self.sentence, self.field = status, sentence, field


def error_response(
    status: int, sentence: str, field: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """An error as JSON."""
    return JSONResponse({"error": sentence, "field": field}, status, headers)


def tile_response(png: bytes | None, *, keep_s: int) -> Response:
    """A tile of 256 × 256 pixels.

    Args:
        png: its bytes; None for an empty tile.
        keep_s: seconds that the browser may cache it.
    """
    keep = {"Cache-Control": f"private, max-age={keep_s}" if keep_s else "no-store"}
    if png is None:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    return Response(png, media_type="image/png", headers=keep)


def json_response(value: dict[str, Any] | list[Any], status: int = 200) -> Response:
    """A value as JSON that is never cached."""
    return JSONResponse(value, status, {"Cache-Control": "no-store"})
