"""JSON files: strict and bounded reading of untrusted files, and writing of standard JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

# Of a text: "{}," needs 29 times its size in memory, so at most 1 GB. The manifest of a million images has 30 MB.
MOST_BYTES = 32 << 20
Kind: TypeAlias = "type | tuple[type, ...]"
_ADVICE = "expected JSON in UTF-8"


def read_json(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Reads a JSON file.

    Args:
        path: a regular file; pipes and devices are refused, as they may never end.
        most_bytes: a larger file is refused.

    Raises:
        ValueError: it holds no JSON, see `parse_json`; the message is a phrase for "cannot read FILE (...)".
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    return parse_json(content, most_bytes)


def parse_json(content: str | bytes, most_bytes: int = MOST_BYTES) -> Any:
    """Parses JSON; refuses infinite numbers and objects or lists nested deeper than Python's recursion limit.

    Args:
        content: text, or bytes in UTF-8; a byte order mark is allowed.
        most_bytes: longer content is refused.

    Raises:
        ValueError: anything else; the message is a phrase.
    """
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than the {most_bytes / 1e6:,.0f} MB that such a file can have")
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content.removeprefix("\ufeff")
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8, {_ADVICE}") from None
    except RecursionError:
        raise ValueError("its lists and objects are nested too deeply") from None


def json_text(value: Any, indent: int | None = 2) -> str:
    """A value as JSON text that ends with a line break.

    Raises:
        ValueError: NaN or an infinite number, or lists and objects that are nested too deeply.
    """
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    except RecursionError:
        raise ValueError("lists and objects are nested too deeply for JSON") from None


def json_line(value: Any) -> str:
    """A value as a line of JSON in ASCII, as some readers split lines at Unicode line separators.

    Raises:
        ValueError: see `json_text`.
    """
    return json.dumps(value, allow_nan=False) + "\n"


def schema_error(values: Any, kinds: Mapping[str, Kind]) -> str | None:
    """How a JSON object differs from a schema, as the end of a sentence; None if it agrees.

    Args:
        values: the parsed value.
        kinds: required entries, with the type or types of each.
    """
    if not isinstance(values, dict):
        return "is no JSON object"
    for key, kind in kinds.items():
        if key not in values:
            return f"has no {key}"
        if not isinstance(values[key], kind):
            return f"has {excerpt(values[key])} as {key}"
    return None


def excerpt(value: Any) -> str:
    """The first characters of a JSON value for a message, without control characters."""
    return json_line(value)[:-1][:40]


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Writes a value as JSON in UTF-8.

    Bytes of file names that are not UTF-8 (lone surrogates in Python) become JSON escapes, so that reading gives the
    same string.

    Raises:
        ValueError: see `json_text`.
        OSError: the file cannot be written.
    """
    path.write_bytes(json_text(value, indent).encode("utf-8", errors="backslashreplace"))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number
