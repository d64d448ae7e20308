"""Settings that results depend on: their hash, and the first setting that differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from segearth.json_files import excerpt


class Difference(NamedTuple):
    """One setting that differs.

    Attributes:
        field: where it is, such as "classes[2].threshold".
        before: its earlier value, as JSON for a message, or "nothing".
        now: likewise.
    """

    field: str
    before: str
    now: str


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings, 64 hexadecimal digits: the same for every order of the keys.

    Args:
        settings: what JSON can hold; tuples are as lists.

    Raises:
        ValueError: NaN or an infinite number.
    """
    return hashlib.sha256(_canonical(settings).encode()).hexdigest()


def first_difference(before: Any, now: Any, field: str = "") -> Difference | None:
    """The first setting that differs, as deep inside as it can be named; None if all are the same.

    Args:
        before: what JSON can hold.
        now: likewise; its order counts.
        field: the name of what is compared, for a part of settings.
    """
    if _canonical(before) == _canonical(now):
        return None
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**now, **before}:
            name = f"{field}.{key}" if field else str(key)
            if key not in before or key not in now:
                return Difference(name, *(excerpt(one[key]) if key in one else "nothing" for one in (before, now)))
            if (inner := first_difference(before[key], now[key], name)) is not None:
                return inner
    if isinstance(before, list | tuple) and isinstance(now, list | tuple) and len(before) == len(now):
        for index, pair in enumerate(zip(before, now, strict=True)):
            if (inner := first_difference(*pair, f"{field}[{index}]")) is not None:
                return inner
    return Difference(field, *_excerpts(before, now))


def _excerpts(before: Any, now: Any) -> tuple[str, str]:
    """Excerpts of two values for a message, from where they differ."""
    texts = _canonical(before), _canonical(now)
    if excerpt(before) != excerpt(now):
        return excerpt(before), excerpt(now)
    same = next((i for i, pair in enumerate(zip(*texts, strict=False)) if len(set(pair)) == 2), min(map(len, texts)))
    start = max(0, same - 10)
    return f"...{texts[0][start : start + 40]}", f"...{texts[1][start : start + 40]}"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
