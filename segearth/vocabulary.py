"""Class names with synonyms: what the user wants mapped.

A class is one or more names; every name (a query) is compared with the image on its own and the best of
a class's names counts. Three sources, one result:

    Vocabulary.from_string("road; tree,forest; building,roof,house")
    Vocabulary.from_file("configs/cls_loveda.txt")      # one class a line, commas between synonyms
    Vocabulary.from_list(["road", ["tree", "forest"]])
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segearth.colours import RGB, palette
from segearth.errors import UserError

# A vocabulary for images of which nothing is said; the classes of the drawn scenes.
LAND_COVER = (
    ("bareland", "barren"),
    ("grass",),
    ("pavement",),
    ("road",),
    ("tree", "forest"),
    ("water", "river"),
    ("cropland",),
    ("building", "roof", "house"),
)


@dataclass(frozen=True)
class Vocabulary:
    """Classes in index order, each with its names.

    Attributes:
        classes: the names of each class, stripped; the first one is shown, all are searched for.
        background: index of the class that uncertain pixels get (`bg_idx`), 0 ≤ background < C.
    """

    classes: tuple[tuple[str, ...], ...]
    background: int = 0

    def __post_init__(self) -> None:
        places = [f"class {i}" for i in range(len(self.classes))]
        _check(self.classes, places, self.background, "vocabulary")

    @classmethod
    def from_string(cls, text: str, background: int = 0) -> Vocabulary:
        """Reads `"road; tree,forest"`: semicolons (or line ends) between classes, commas between names.

        Raises:
            UserError: no class, an empty or repeated name, a background that is no class.
        """
        return cls._parse(re.split(r"[;\n]", text), "class", "class names", background)

    @classmethod
    def from_file(cls, path: str | Path, background: int = 0) -> Vocabulary:
        """Reads a `cls_*.txt`: one class a line, commas between its names, UTF-8.

        Spaces around names, blank lines at the end, a byte order mark and Windows line ends do no harm.

        Raises:
            UserError: no such file, not UTF-8, and as `from_string`, with the line's number.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise UserError(
                f"no class file at {path}: give a text file with one class a line, commas between synonyms"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"cannot read the class file {path} ({error}): expected a UTF-8 text file with one class a line"
            ) from None
        lines = text.splitlines()
        for number, line in enumerate(lines, start=1):
            if ";" in line:
                raise UserError(
                    f"line {number} of {path} has a semicolon ({line.strip()!r}): in a file every class has its own "
                    "line, with commas between its names; break the line there"
                )
        return cls._parse(lines, "line", str(path), background)

    @classmethod
    def from_list(cls, classes: Iterable[str | Sequence[str]], background: int = 0) -> Vocabulary:
        """Reads `["road", ["tree", "forest"]]`.

        A string is read like a line of a file (commas between names); in an inner list, every string is
        one name as it stands. Raises like `from_string`, and for anything that is no string.
        """
        if isinstance(classes, str):
            raise UserError(f"{classes!r} is a string, not a list of classes: use Vocabulary.from_string")
        entries: list[tuple[str, ...]] = []
        for entry in classes:
            names = entry.split(",") if isinstance(entry, str) else entry
            if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
                raise UserError(f"{entry!r} is no class: expected a name or a list of names")
            entries.append(tuple(_tidy(name) for name in names))
        return cls(tuple(entries), background)

    @classmethod
    def of(cls, classes: Vocabulary | str | Path | Iterable[str | Sequence[str]]) -> Vocabulary:
        """Takes whatever form the classes come in; a string that looks like a file's path is one."""
        if isinstance(classes, Vocabulary):
            return classes
        if isinstance(classes, Path) or (isinstance(classes, str) and _is_path(classes.strip())):
            return cls.from_file(str(classes).strip())
        return cls.from_string(classes) if isinstance(classes, str) else cls.from_list(classes)

    @classmethod
    def _parse(cls, lines: list[str], unit: str, source: str, background: int) -> Vocabulary:
        """One class an element; empty elements at the end are dropped, elsewhere they are errors."""
        while lines and not lines[-1].strip():
            lines.pop()
        classes = tuple(tuple(_tidy(name) for name in line.split(",")) for line in lines)
        _check(classes, [f"{unit} {i}" for i in range(1, len(lines) + 1)], background, source)
        return cls(classes, background)

    def __len__(self) -> int:
        """Number of classes C."""
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The first name of every class, C of them."""
        return tuple(names[0] for names in self.classes)

    @property
    def queries(self) -> tuple[str, ...]:
        """All names in order, Q of them."""
        return tuple(name for names in self.classes for name in names)

    @property
    def query_to_class(self) -> tuple[int, ...]:
        """The class index of every query, Q numbers."""
        return tuple(i for i, names in enumerate(self.classes) for _ in names)

    @property
    def palette(self) -> tuple[RGB, ...]:
        """An RGB colour (0-255) for every class, as `segearth.colours.palette` chooses them."""
        return palette(self.classes)


def _is_path(text: str) -> bool:
    """Whether a string is meant as a file: it ends in .txt, or something with such a path is there."""
    if text.endswith(".txt"):
        return True
    return ("/" in text or "\\" in text or "." in text) and ";" not in text and Path(text).exists()


def _tidy(name: str) -> str:
    """Strips a name and makes inner white space single spaces, as the tokenizer does."""
    return " ".join(name.split())


def _check(classes: tuple[tuple[str, ...], ...], places: list[str], background: int, source: str) -> None:
    """Refuses what cannot be meant; `places` names each class's line for the message."""
    if not classes:
        raise UserError(f"no classes in {source}: give at least one, for example 'road; tree,forest'")
    seen: dict[str, str] = {}
    for names, place in zip(classes, places, strict=True):
        if not names or not all(names):
            what = "is empty" if not any(names) else f"has an empty name ({','.join(names)!r})"
            raise UserError(f"{place} of {source} {what}: expected names separated by single commas; remove it")
        for name in names:
            key = name.lower()  # CLIP's tokenizer does not see case
            if key in seen:
                raise UserError(
                    f"{name!r} in {place} of {source} is a duplicate, it stands in {seen[key]} already: "
                    "every name may appear once; remove one"
                )
            seen[key] = place
    if not 0 <= background < len(classes):
        raise UserError(
            f"background index {background} is out of range for the {len(classes)} classes of {source} "
            f"(last: {places[-1]}): use 0 to {len(classes) - 1}"
        )
