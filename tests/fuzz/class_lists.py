"""Class lists: text files in any encoding, inline strings, lists and dicts, paths of what is no file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzz.children import Case
from fuzz.mutations import mutated
from segearth.vocabulary import Vocabulary, describe_settings

NAMES = (
    *("road", "tree", "forest", "building", "roof", "water", "background", "other", "Road", "ROAD ", " car park "),
    *("naïve café", "道路", "🌳", "e\u0301tang", "\u202eabc", "a\x1b[31mb", "a\0b", "a\tb", "\ufeffroad", "\xa0", "", " "),
    *("x" * 300, "word " * 200, "=1+2", "@SUM(A1)", "-", "#", "# tree", "colour=#19732A", "none", "None", "0", "1e999"),
    *("\udc80", "\ud83c", "'; DROP TABLE", "$(touch marker)", "`id`", "%s%n", "{0.__class__}", "..", "/", "a/b", "C:\\x"),
)
SETTINGS = (
    *("colour=#19732A", "color=red", "colour=#zzz", "colour=", "colour=(1,2,3)", "colour=#12345678", "colour=#fff"),
    *("threshold=0.35", "threshold=nan", "threshold=-1", "threshold=1e999", "threshold=x", "threshold=", "threshold=1_0"),
    *("scale=1.1", "scale=0", "scale=inf", "scale=1e308", "scale=-2", "scale=１", "tresh=3", "=", "", "|", "a=b=c"),
)
LINES = ("\n", "\r\n", "\r", "\n\n", "\u2028", "\x0b", "\x0c", "\x85", "\x1c")
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "gbk", "cp1252", "cp037")
PATHS = ("/dev/zero", "/dev/stdin", "/dev/tty", "/proc/self/mem", "/proc/kmsg", "/", ".", "~", "~nobody/x.txt", "a.txt")


class ClassLists:
    """Cases of class lists."""

    name = "class_lists"

    def __init__(self, _: Path) -> None:
        """Nothing is kept."""

    def prepare(self, case: Case) -> Callable[[], object]:
        """Writes a class list, or chooses another object."""
        random = case.random
        way = random.randrange(10)
        given: Any
        if way < 5:
            given = self._file(random, case)
        elif way < 8:
            given = _text(random)
        else:
            given = _object(random)
        background = random.choice((None, None, None, 0, 1, -1, 99, "road", "", False, True, 1.5, "nothing", [0]))

        def attack() -> None:
            _use(random, Vocabulary.of(given, background))

        return attack

    def _file(self, random: Random, case: Case) -> Any:
        """The path of a class file, or of something else."""
        path = case.inputs / random.choice(("classes.txt", "classes", "a;b.txt", "c.csv", "road, tree.txt", "é.txt"))
        way = random.randrange(20)
        if way == 0:
            os.mkfifo(path)
        elif way == 1:
            path.symlink_to(path)
        elif way == 2:
            path.mkdir()
        elif way == 3:
            path = random.choice(PATHS)
        elif way == 4:
            path.symlink_to("/dev/zero")
        elif way == 5:
            path.write_bytes(random.choice((b"\0", b"road\n", b"x")) * random.choice((1 << 20, 1 << 24)))
        elif way == 6:
            path.write_text("road\n")
            path.chmod(0)
        else:
            text = _text(random, random.choice(LINES))
            data = text.encode(random.choice(ENCODINGS), "ignore")
            path.write_bytes(mutated(random, data) if random.random() < 0.3 else data)
        return random.choice((path, str(path)))


def _use(random: Random, vocabulary: Vocabulary) -> None:
    """Whatever is done with classes that were accepted."""
    assert len(vocabulary.palette) == len(vocabulary) == len(vocabulary.names) > 0
    assert all(name.strip() for names in vocabulary.classes for name in names)
    assert all(0 <= part <= 255 for colour in vocabulary.palette for part in colour)
    assert max(vocabulary.query_to_class) == len(vocabulary) - 1
    assert vocabulary.background is None or 0 <= vocabulary.background < len(vocabulary)
    json.dumps(describe_settings(vocabulary), allow_nan=False).encode()
    name = random.choice((random.choice(vocabulary.names), "nothing", 7, None))
    way = random.randrange(5)
    if way == 0:
        vocabulary.with_background(name)
    elif way == 1:
        vocabulary.with_thresholds({name: random.choice((0, 1, 0.5, -1, "x", None, float("nan"), True))})
    elif way == 2:
        vocabulary.with_colours({name: random.choice(("#123456", "red", "", (1, 2, 3), (1, 2), (1, 2, 999), None, 7))})
    elif way == 3:
        assert Vocabulary.of(vocabulary) == vocabulary
    else:
        vocabulary.index(name)


def _text(random: Random, line: str = ";") -> str:
    """Classes as text, one a line or all in one."""
    count = random.choice((0, 1, 2, 5, 20, 20, 253, 3000))
    usual = random.random() < 0.6
    classes = []
    for i in range(count):
        names = [f"thing {i}" if usual or random.random() < 0.5 else random.choice(NAMES)]
        names += [random.choice(NAMES) for _ in range(random.choice((0, 0, 0, 1, 3)))]
        settings = [random.choice(SETTINGS) for _ in range(random.choice((0, 0, 0, 1, 2)))]
        separator = random.choice((",", ", ", ",,", "，", " , "))
        classes.append(" | ".join((separator.join(names), *settings)))
    return random.choice(("", "", " ", "\ufeff", line)) + line.join(classes) + random.choice(("", line, f" {line} "))


def _object(random: Random, deep: int = 0) -> Any:
    """What a caller in Python may give, right or wrong."""
    way = random.randrange(12)
    if way == 0:
        return random.choice((None, 7, 1.5, True, b"road", object(), float("nan"), (), [], {}, "", set(), range(3)))
    if way == 1:
        return {"road", "tree"}
    if way == 2:
        return (name for name in ("road", "tree"))
    if way < 6:
        one: list[Any] = [random.choice(NAMES) for _ in range(random.randrange(6))]
        if random.random() < 0.4:
            one.append(_object(random, deep + 1) if deep < 3 else None)
        return random.choice((one, tuple(one)))
    if way < 9:
        keys = [random.choice((*NAMES, 7, None, ("a", "b"))) for _ in range(random.randrange(5))]
        values = (None, [], ["lawn"], "lawn", 7, {"names": ["lawn"], "colour": "#fff"}, {"threshold": 3}, {"scale": "x"})
        return {key: random.choice(values) for key in keys}
    if way == 9:
        return [{"name": "road", "names": ["road", "street"], "colour": random.choice((None, [1, 2, 3], "x", [1, 2]))}]
    if way == 10:
        return [["road"], random.choice((["tree", 7], [None], [[]], "tree", b"tree", [["tree"]]))]
    return [f"thing {i}" for i in range(random.choice((1, 254, 255, 2000)))]
