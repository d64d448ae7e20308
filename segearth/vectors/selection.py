"""Selects the classes of a label map that become polygons."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from segearth.errors import UserError, option
from segearth.json_files import read_json

if TYPE_CHECKING:
    from segearth.vectors.label_map import LabelMap


def select_values(source: LabelMap, only: Sequence[str]) -> dict[int, str] | None:
    """The values of the chosen classes, with the first name of each; None for all.

    Args:
        source: the map.
        only: names of classes, any synonym in any case; or values; or several of them with commas between. Empty: all.

    Raises:
        UserError: a name that no class has.
    """
    if not only:
        return None
    names = source.names()
    shown = {name.casefold(): name for synonyms in names.values() for name in synonyms}
    values = _values(_with_synonyms(source, names))
    selected = {}
    for text in _single(only, values):
        value = values.get(text.casefold())
        if value is None and text.isdecimal() and (int(text) in names if names else int(text) < 2**31):
            value = int(text)
        if value is None:
            near = difflib.get_close_matches(text.casefold(), values, n=1)
            known = ", ".join(synonyms[0] for synonyms in names.values()) or "its values"
            advice = f"did you mean {shown.get(near[0], near[0])!r}?" if near else f"expected some of {known}"
            raise UserError(f"{option('only', text)}: {source.path.name} has no class of this name: {advice}")
        selected[value] = names[value][0] if value in names else str(value)
    return dict(sorted(selected.items()))


def _single(only: Sequence[str], values: Mapping[str, int]) -> Iterator[str]:
    """Yields the names one by one; a name from another program may itself have a comma."""
    for text in only:
        yield from [text.strip()] if text.strip().casefold() in values else (part.strip() for part in text.split(","))


def _with_synonyms(source: LabelMap, names: Mapping[int, Sequence[str]]) -> dict[int, Sequence[str]]:
    """Adds the synonyms of the classes from the map's summary, if it is beside the map."""
    synonyms = dict(names)
    try:
        for row in read_json(source.summary)["classes"]:
            if (value := row["label"]) in names and row["name"] == names[value][0]:  # else of another map
                synonyms[value] = [*names[value], *map(str, row["names"])]
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return synonyms


def _values(names: Mapping[int, Sequence[str]]) -> dict[str, int]:
    """Lower-case name -> value; of several classes with one name the first counts."""
    pairs = [(name.casefold(), value) for value, synonyms in names.items() for name in synonyms]
    return dict(reversed(pairs))
