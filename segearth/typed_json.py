"""Dataclasses as JSON objects: their type hints are the schema that a file is checked against."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from segearth.json_files import excerpt

T = TypeVar("T")


def entry(key: str, *, default: Any = MISSING, omitted: bool = False, noun: str = "") -> Any:
    """A field of a dataclass whose JSON key differs from its name.

    Args:
        key: in JSON.
        default: of the field; with one, the key may be missing or null.
        omitted: whether the key is left out of JSON while the value is None.
        noun: what an element of a list is called in messages, such as "a class".
    """
    return field(default=default, metadata={"key": key, "omitted": omitted, "noun": noun})


def from_json(cls: type[T], values: object) -> T:
    """Builds a dataclass from a JSON object; unknown keys are ignored.

    Types that hints may have: str, int, float (whole numbers are floats, too), bool, dict, Any, None, dataclasses,
    `tuple[X, ...]` for lists, and unions of these.

    Raises:
        ValueError: a key is missing, or its value has another type; the message ends a sentence: "has no images".
    """
    if not isinstance(values, dict):
        raise ValueError("is no JSON object")
    hints, given = get_type_hints(cls), {}
    for item in fields(cls):  # type: ignore[arg-type]
        key = _key(item)
        optional = item.default is not MISSING or item.default_factory is not MISSING
        if key not in values and not optional:
            raise ValueError(f"has no {key}")
        if values.get(key) is not None or not optional:
            given[item.name] = _value(hints[item.name], values[key], key, item.metadata)
    return cls(**given)


def to_json(record: Any) -> Any:
    """A dataclass, and what is in it, as JSON can hold it."""
    if is_dataclass(record):
        pairs = [(item, getattr(record, item.name)) for item in fields(record)]
        return {_key(item): to_json(value) for item, value in pairs if value is not None or not _omitted(item)}
    if isinstance(record, list | tuple):
        return [to_json(value) for value in record]
    return {key: to_json(value) for key, value in record.items()} if isinstance(record, dict) else record


def _key(item: Field[Any]) -> str:
    return str(item.metadata.get("key", item.name))


def _omitted(item: Field[Any]) -> bool:
    return bool(item.metadata.get("omitted"))


def _value(hint: Any, value: Any, key: str, metadata: Mapping[str, Any]) -> Any:
    """A value of JSON as its type hint wants it."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        kind = get_origin(option) or option
        if kind is Any:
            return value
        if kind is tuple and isinstance(value, list):
            return tuple(_element(get_args(option)[0], one, key, metadata, value) for one in value)
        if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
            return _nested(kind, value, key)
        accepted = (int, float) if kind is float else kind
        if kind is not tuple and isinstance(value, accepted) and (kind is bool or not isinstance(value, bool)):
            return value
    raise ValueError(f"has {excerpt(value)} as {key}")


def _element(hint: Any, value: Any, key: str, metadata: Mapping[str, Any], values: list[Any]) -> Any:
    """An element of a list; messages quote the list, or name the element by its noun."""
    try:
        return from_json(hint, value) if isinstance(hint, type) and is_dataclass(hint) else _value(hint, value, key, {})
    except ValueError as error:
        noun = metadata.get("noun")
        raise ValueError(f"has {noun} that {error}" if noun else f"has {excerpt(values)} as {key}") from None


def _nested(kind: type[Any], value: dict[str, Any], key: str) -> Any:
    """A dataclass within another."""
    try:
        return from_json(kind, value)
    except ValueError as error:
        raise ValueError(f"has an object {key} that {error}") from None
