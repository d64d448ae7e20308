"""The vocabulary: classes to map, each with one or more names.

Every name (a query) is compared with the image; the best of a class's names is the score of the class. A vocabulary can
be made from several sources:

    Vocabulary.from_string("road; tree,forest; building,roof,house")
    Vocabulary.from_file("configs/cls_loveda.txt")      # one class a line, commas between synonyms
    Vocabulary.from_list(["road", ["tree", "forest"]])
    Vocabulary.from_dict({"road": [], "tree": ["forest"]})

A class may have settings of its own, after a bar: "tree,forest | colour=#19732A | threshold=0.35 | scale=1.1".
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple, TypeAlias

from segearth.colours import RGB, palette, parse_colour
from segearth.errors import UserError, option

# The default vocabulary; the classes of the drawn scenes.
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
# A class with one of these names is the background by default.
BACKGROUNDS = frozenset({"background", "clutter", "other", "others", "unlabelled", "unlabeled", "void", "unknown"})

_HIDDEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories of control characters, lone surrogates, line separators
_MOST_BYTES = 1_000_000  # of a class file: tens of thousands of names

Classes: TypeAlias = "Vocabulary | str | Path | Mapping[str, object] | Iterable[str | Sequence[str]]"


class _Entry(NamedTuple):
    """One class with its settings."""

    names: tuple[str, ...]
    colour: RGB | None = None
    threshold: float | None = None
    scale: float = 1.0


@dataclass(frozen=True, init=False)
class Vocabulary:
    """Classes in index order, each with its names.

    Attributes:
        classes: the names of each class, stripped; the first one is displayed, all are queries.
        background: index of the class that uncertain pixels become, 0 ≤ background < C; None: they are unclassified.
        colours: for each class, the chosen RGB colour (0-255), or None.
        thresholds: for each class, the score in [0, 1] below which its pixels are uncertain, or None for the
            threshold of the whole map.
        scales: for each class, the positive factor of its score in the choice of the best class.
    """

    classes: tuple[tuple[str, ...], ...]
    background: int | None
    colours: tuple[RGB | None, ...]
    thresholds: tuple[float | None, ...]
    scales: tuple[float, ...]

    def __init__(
        self,
        classes: Sequence[Sequence[str]],
        background: int | str | bool | None = None,
        colours: Sequence[RGB | None] = (),
        thresholds: Sequence[float | None] = (),
        scales: Sequence[float] = (),
    ) -> None:
        """Uses the names as they are; see the class.

        Args:
            classes: the names of each class.
            background: its index or one of its names; None: a class called background, clutter, other, others,
                unlabelled, void or unknown, if there is one; False: none.
            colours: one per class; by default chosen by name, see `palette`.
            thresholds: one per class.
            scales: one per class, 1 by default.
        """
        entries = [
            _Entry(tuple(names), *settings)
            for names, settings in zip(
                classes,
                _columns(len(classes), colours, thresholds, scales),
                strict=True,
            )
        ]
        self._set(entries, background, [f"class {i}" for i in range(len(entries))], "vocabulary")

    def _set(
        self, entries: Sequence[_Entry], background: int | str | bool | None, places: Sequence[str], source: str
    ) -> None:
        """Checks and stores the classes; `places` names the line of each class in `source` for messages."""
        _check(entries, places, source)
        classes = tuple(entry.names for entry in entries)
        for name, value in {
            "classes": classes,
            "background": _background(classes, background, places, source),
            "colours": tuple(entry.colour for entry in entries),
            "thresholds": tuple(entry.threshold for entry in entries),
            "scales": tuple(entry.scale for entry in entries),
        }.items():
            object.__setattr__(self, name, value)

    @classmethod
    def _of_entries(
        cls, entries: Sequence[_Entry], background: int | str | bool | None, places: Sequence[str], source: str
    ) -> Vocabulary:
        vocabulary = cls.__new__(cls)
        vocabulary._set(entries, background, places, source)
        return vocabulary

    @classmethod
    def from_string(cls, text: str, background: int | str | bool | None = None) -> Vocabulary:
        """Reads `"road; tree,forest"`: semicolons (or line ends) between classes, commas between names.

        Raises:
            UserError: no class, an empty or repeated name, an invalid setting, or an unknown background.
        """
        return cls._parse(list(enumerate(re.split(r"[;\n]", text), start=1)), "class", "class names", background)

    @classmethod
    def from_file(cls, path: str | Path, background: int | str | bool | None = None) -> Vocabulary:
        """Reads a `cls_*.txt`: one class a line, commas between its names, UTF-8.

        Spaces around names, blank lines at the end, a byte order mark and Windows line ends are allowed. A line whose
        first character is `#` is a comment.

        Raises:
            UserError: no such file, not a regular file (a pipe may never end), too large, not UTF-8; and see
                `from_string`, with the line number.
        """
        path = Path(path)
        try:
            if path.exists() and not path.is_file():
                raise UserError(
                    f"{path} is {'a folder' if path.is_dir() else 'a pipe or a device'}: expected a text file with one "
                    "class a line; give such a file, or the classes themselves, as in 'road; tree,forest'"
                )
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                raise UserError(
                    f"the class file {path} is larger than {_MOST_BYTES / 1e6:.0f} MB: expected a text file with one "
                    "class a line; give another one"
                )
            text = content.decode("utf-8-sig")
        except FileNotFoundError:
            raise UserError(
                f"no class file at {path}: expected a text file with one class a line, commas between synonyms; "
                "correct the path"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            why = f"byte {error.start} is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
            raise UserError(
                f"cannot read the class file {str(path)[:200]} ({why}): expected a UTF-8 text file with one class a "
                "line; correct the path, or save the file as UTF-8"
            ) from None
        lines = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if not line.lstrip().startswith("#")]
        for number, line in lines:
            if ";" in line:
                raise UserError(
                    f"line {number} of {path} has a semicolon ({line.strip()!r}): expected a line for every class, "
                    "with commas between its names; break the line there"
                )
        return cls._parse(lines, "line", str(path), background)

    @classmethod
    def from_list(
        cls, classes: Iterable[str | Sequence[str]], background: int | str | bool | None = None
    ) -> Vocabulary:
        """Reads `["road", ["tree", "forest"]]`.

        A string is read like a line of a file; in an inner list, every string is one name as it is. Raises like
        `from_string`, and for other types.
        """
        if isinstance(classes, str):
            raise UserError(
                f"{classes!r} is a string, not a list of classes: expected a list; use Vocabulary.from_string"
            )
        entries, places = [], []
        for i, entry in enumerate(classes):
            places.append(f"class {i}")
            if isinstance(entry, str):
                entries.append(_read(entry, places[-1], "vocabulary"))
            elif isinstance(entry, Sequence) and all(isinstance(name, str) for name in entry):
                entries.append(_Entry(tuple(_tidy(name) for name in entry)))
            else:
                raise UserError(f"{entry!r} is no class: expected a name or a list of names; give one")
        return cls._of_entries(entries, background, places, "vocabulary")

    @classmethod
    def from_dict(cls, classes: Mapping[str, object], background: int | str | bool | None = None) -> Vocabulary:
        """Reads `{"road": [], "tree": ["forest", "wood"]}`: a class and its synonyms.

        Instead of synonyms a class may have a mapping with any of `synonyms`, `colour` ("#19732A"), `threshold` and
        `scale`. Raises like `from_string`.
        """
        entries = []
        for name, value in classes.items():
            settings: Mapping[str, object] = value if isinstance(value, Mapping) else {"synonyms": value}
            synonyms = settings.get("synonyms") or ()
            names = synonyms.split(",") if isinstance(synonyms, str) else synonyms
            if not isinstance(names, Sequence) or not all(isinstance(text, str) for text in (name, *names)):
                raise UserError(
                    f"{name!r}: {value!r} is no class: expected a list of synonyms, such as ['forest']; give one"
                )
            others = {key: setting for key, setting in settings.items() if key != "synonyms" and setting is not None}
            if isinstance(colour := others.get("colour"), tuple | list):  # RGB
                others["colour"] = "#" + "".join(f"{part:02x}" if isinstance(part, int) else "?" for part in colour)
            tidy = tuple(_tidy(text) for text in (name, *names))
            given = [f"{key}={setting}" for key, setting in others.items()]
            entries.append(_settings(tidy, given, f"class {name!r}", "vocabulary"))
        return cls._of_entries(entries, background, [f"class {i}" for i in range(len(entries))], "vocabulary")

    @classmethod
    def of(cls, classes: Classes, background: int | str | bool | None = None) -> Vocabulary:
        """Makes a vocabulary from any supported form of classes; a string may be the path of a class file."""
        if isinstance(classes, Vocabulary):
            return classes if background is None else classes.with_background(background)
        if isinstance(classes, Mapping):
            return cls.from_dict(classes, background)
        if isinstance(classes, Path) or (isinstance(classes, str) and _is_path(classes.strip())):
            return cls.from_file(str(classes).strip(), background)
        if isinstance(classes, str):
            return cls.from_string(classes, background)
        if not isinstance(classes, Iterable):
            raise UserError(
                f"{classes!r} are no classes: expected a string such as 'road; tree,forest', a list or a dict"
            )
        return cls.from_list(classes, background)

    @classmethod
    def _parse(
        cls, lines: list[tuple[int, str]], unit: str, source: str, background: int | str | bool | None
    ) -> Vocabulary:
        """Reads one class per numbered line; drops empty lines at the end, elsewhere they are errors."""
        while lines and not lines[-1][1].strip():
            lines.pop()
        places = [f"{unit} {number}" for number, _ in lines]
        entries = [_read(line, place, source) for (_, line), place in zip(lines, places, strict=True)]
        return cls._of_entries(entries, background, places, source)

    def with_background(self, background: int | str | bool | None) -> Vocabulary:
        """The same classes with another background; see the class.

        Raises:
            UserError: an unknown background.
        """
        places = [f"class {i}" for i in range(len(self))]
        return self._of_entries(self._entries(), background, places, "vocabulary")

    def with_thresholds(self, thresholds: Mapping[str, float] | None) -> Vocabulary:
        """The same classes, some with other thresholds.

        Args:
            thresholds: a score in [0, 1] by any name of a class; None removes all thresholds of classes.

        Raises:
            UserError: an unknown class or an invalid threshold.
        """
        entries = [entry._replace(threshold=None) if thresholds is None else entry for entry in self._entries()]
        for name, threshold in (thresholds or {}).items():
            i = self.index(name)
            entries[i] = entries[i]._replace(threshold=check_threshold(threshold))
        return self._changed(entries)

    def with_colours(self, colours: Mapping[str, RGB | str]) -> Vocabulary:
        """The same classes, some with other colours.

        Args:
            colours: RGB (0-255) or "#RRGGBB" by any name of a class.

        Raises:
            UserError: an unknown class or an invalid colour.
        """
        entries = self._entries()
        for name, colour in colours.items():
            i = self.index(name)
            entries[i] = entries[i]._replace(colour=parse_colour(colour) if isinstance(colour, str) else colour)
        return self._changed(entries)

    def _changed(self, entries: Sequence[_Entry]) -> Vocabulary:
        """The same vocabulary with other settings of its classes."""
        background = False if self.background is None else self.background
        return self._of_entries(entries, background, [f"class {i}" for i in range(len(self))], "vocabulary")

    def _entries(self) -> list[_Entry]:
        return [_Entry(*entry) for entry in zip(self.classes, self.colours, self.thresholds, self.scales, strict=True)]

    def index(self, name: str) -> int:
        """Index of the class with this name, case-insensitive.

        Raises:
            UserError: no class has it.
        """
        wanted = _tidy(name).lower() if isinstance(name, str) else None
        for i, names in enumerate(self.classes):
            if wanted in (text.lower() for text in names):
                return i
        raise UserError(f"{name!r} is none of the classes {', '.join(self.names)}: expected one of these; correct it")

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
        """An RGB colour (0-255) for every class: the chosen one, else from `segearth.colours.palette`."""
        return palette(self.classes, {i: colour for i, colour in enumerate(self.colours) if colour is not None})

    @property
    def has_settings(self) -> bool:
        """Whether a class has a threshold or a scale of its own; colours do not change a map."""
        return any(threshold is not None for threshold in self.thresholds) or any(scale != 1 for scale in self.scales)

    @property
    def background_name(self) -> str | None:
        """The first name of the background; None if there is none."""
        return None if self.background is None else self.names[self.background]

    @property
    def warning(self) -> str | None:
        """A warning if there is only one class, which every pixel would become; else None."""
        if len(self) > 1:
            return None
        names = self.classes[0]
        if len(names) > 1:
            return (
                f"{', '.join(map(repr, names))} are {len(names)} names of one class, so every pixel becomes "
                f'{names[0]!r}: put semicolons between classes ("{"; ".join(names)}"), or add a class for all else '
                f'("{",".join(names)}; background")'
            )
        words = names[0].split()
        separate = f'put semicolons between classes ("{"; ".join(words)}"), or ' if len(words) > 1 else ""
        return (
            f"{names[0]!r} is the only class, so every pixel becomes it: {separate}add a class for all else "
            f'("{names[0]}; background")'
        )


def check_threshold(value: float) -> float:
    """Checks a threshold.

    Raises:
        UserError: not a number from 0 to 1.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
        raise UserError(f"threshold {value!r} is no score: expected 0 to 1, such as 0.3; change it")
    return float(value)


def describe_settings(vocabulary: Vocabulary) -> list[dict[str, object]]:
    """The classes as JSON: names, colour, threshold, scale."""
    return [
        {"names": list(names), "colour": list(colour), "threshold": threshold, "scale": scale}
        for names, colour, threshold, scale in zip(
            vocabulary.classes, vocabulary.palette, vocabulary.thresholds, vocabulary.scales, strict=True
        )
    ]


def _columns(
    count: int, colours: Sequence[RGB | None], thresholds: Sequence[float | None], scales: Sequence[float]
) -> list[tuple[RGB | None, float | None, float]]:
    """The settings of each class; an empty sequence means defaults."""
    for name, column in {"colours": colours, "thresholds": thresholds, "scales": scales}.items():
        if column and len(column) != count:
            raise UserError(
                f"{name} has {len(column)} entries: expected one for each of the {count} classes; correct it"
            )
    return list(zip(colours or [None] * count, thresholds or [None] * count, scales or [1.0] * count, strict=True))


def _read(line: str, place: str, source: str) -> _Entry:
    """A class from `"tree,forest | colour=#19732A | threshold=0.35 | scale=1.1"`."""
    names, *settings = line.split("|")
    return _settings(tuple(_tidy(name) for name in names.split(",")), settings, place, source)


def _settings(names: tuple[str, ...], settings: Iterable[str], place: str, source: str) -> _Entry:
    """A class with the settings `"key=value"`."""
    entry = _Entry(names)
    for setting in settings:
        key, equals, text = (part.strip() for part in setting.partition("="))
        try:
            if key in ("colour", "color") and equals:
                entry = entry._replace(colour=parse_colour(text))
            elif key == "threshold" and equals:
                entry = entry._replace(threshold=float(text))
            elif key == "scale" and equals:
                entry = entry._replace(scale=float(text))
            else:
                raise UserError(
                    f"{setting.strip()!r} is no setting: expected colour=#RRGGBB, threshold=0.35 or scale=1.1, "
                    "with a bar before each; correct it"
                )
        except ValueError as error:
            text = str(error) if isinstance(error, UserError) else f"{key} {text!r} is no number: expected one"
            raise UserError(f"{place} of {source}: {text}") from None
    return entry


def _background(
    classes: tuple[tuple[str, ...], ...], choice: int | str | bool | None, places: Sequence[str], source: str
) -> int | None:
    """The index of the background, or None."""
    if choice is False:
        return None
    if choice is None or choice is True:
        indices = (i for i, names in enumerate(classes) if any(name.lower() in BACKGROUNDS for name in names))
        return next(indices, None)
    if isinstance(choice, str):
        for i, names in enumerate(classes):
            if _tidy(choice).lower() in (name.lower() for name in names):
                return i
        raise UserError(
            f"{option('background', choice)} is none of the classes {', '.join(names[0] for names in classes)}: "
            "expected one of these; correct it, or add the class"
        )
    if not isinstance(choice, Integral):
        raise UserError(f"background {choice!r}: expected a class's name or index, or False for none; change it")
    if not 0 <= choice < len(classes):
        raise UserError(
            f"background index {choice} is out of range for the {len(classes)} classes of {source} "
            f"(last: {places[-1]}): expected 0 to {len(classes) - 1}; change it"
        )
    return int(choice)


def _is_path(text: str) -> bool:
    """Whether a string is the path of a class file: it ends in .txt, or such a path exists."""
    if text.endswith(".txt"):
        return True
    if not set("/\\.") & set(text) or set(";|\n") & set(text):
        return False
    return os.path.exists(text)  # noqa: PTH110 (False for what is too long to be a path)


def _tidy(name: str) -> str:
    """Strips a name and reduces inner white space to single spaces, as the tokenizer does."""
    return " ".join(name.split())


def _check(entries: Sequence[_Entry], places: Sequence[str], source: str) -> None:
    """Checks the classes; `places` names the line of each class for messages."""
    if not entries:
        raise UserError(f"no classes in {source}: expected at least one; give some, for example 'road; tree,forest'")
    seen: dict[str, str] = {}
    for (names, _, threshold, scale), place in zip(entries, places, strict=True):
        if not names or not all(names):
            what = "is empty" if not any(names) else f"has an empty name ({','.join(names)!r})"
            raise UserError(f"{place} of {source} {what}: expected names separated by single commas; remove it")
        for name in names:
            if any(unicodedata.category(character) in _HIDDEN for character in name):
                raise UserError(f"'{name}' in {place} of {source} has control characters: expected words; remove them")
            key = name.lower()  # CLIP's tokenizer does not see case
            if key in seen:
                raise UserError(
                    f"{name!r} in {place} of {source} is a duplicate, it stands in {seen[key]} already: "
                    "expected every name once; remove one"
                )
            seen[key] = place
        if threshold is not None and not (isinstance(threshold, Real) and 0 <= threshold <= 1):
            raise UserError(f"{place} of {source}: threshold {threshold!r} is no score: expected 0 to 1; change it")
        if not isinstance(scale, Real) or not 0 < scale < float("inf"):
            raise UserError(f"{place} of {source}: scale {scale!r}: expected a factor above 0, such as 1.1; change it")
