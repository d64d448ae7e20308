"""Which classes of a label map become polygons."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from segearth.errors import UserError, option
from segearth.json_files import read_json

if TYPE_CHECKING:
    from segearth.vectors.label_map import LabelMap


def chosen_values(source: LabelMap, only: Sequence[str]) -> dict[int, str] | None:
    """The values of some classes, with the first name of each.

    Args:
        source: the map.
        only: names of classes, any of theirs, in capitals or not; or values; or several of them with commas between.
            None of them means all classes.

    Returns:
        None for all.

    Raises:
        UserError: a name that no class has.
    """
    if not only:
        return None
    names = source.names()
    shown = {one.casefold(): one for of in names.values() for one in of}
    values = _values(_with_synonyms(source, names))
    found = {}
    for text in _single(only, values):
        value = values.get(text.casefold())
        if value is None and text.isdecimal() and (int(text) in names if names else int(text) < 2**31):
            value = int(text)
        if value is None:
            near = difflib.get_close_matches(text.casefold(), values, n=1)
            known = ", ".join(of[0] for of in names.values()) or "its values"
            advice = f"did you mean {shown.get(near[0], near[0])!r}?" if near else f"expected some of {known}"
            raise UserError(f"{option('only', text)}: {source.path.name} has no class of this name: {advice}")
        found[value] = names[value][0] if value in names else str(value)
    return dict(sorted(found.items()))


def _single(only: Sequence[str], values: Mapping[str, int]) -> Iterator[str]:
    """What is given, one by one; a name of another program may have a comma in it."""
    for text in only:
        yield from [text.strip()] if text.strip().casefold() in values else (part.strip() for part in text.split(","))


def _with_synonyms(source: LabelMap, names: Mapping[int, Sequence[str]]) -> dict[int, Sequence[str]]:
    """All names of the classes, where the map's summary is beside it."""
    found = dict(names)
    try:
        for row in read_json(source.summary)["classes"]:
            if (value := row["label"]) in names and row["name"] == names[value][0]:  # else of another map
                found[value] = [*names[value], *map(str, row["names"])]
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return found


def _values(names: Mapping[int, Sequence[str]]) -> dict[str, int]:
    """The value of each name, in small letters; the first one where several have it."""
    pairs = [(one.casefold(), value) for value, of in names.items() for one in of]
    return dict(reversed(pairs))
