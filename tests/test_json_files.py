"""JSON of others and of ours."""

import ast
import json
import os
from pathlib import Path

import pytest

import segearth
from segearth.datasets.polygons import MAX_JSON
from segearth.json_files import MOST_BYTES, json_line, json_text, parse_json, read_json, write_json


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (b"", "Expecting value"),
        (b"[1, NaN]", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"[1e999]", "the number 1e999 is too large"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'["\xff"]', "byte 2 is not UTF-8"),
        (b'["\x01"]', "control character"),
        (b"[" + b"9" * 5000 + b"]", "4300"),
    ],
)
def test_what_is_no_json_is_told_in_a_phrase(tmp_path, content, phrase):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    for read in (lambda: read_json(path), lambda: parse_json(content)):
        with pytest.raises(ValueError, match=phrase) as found:
            read()
        assert "\n" not in str(found.value)
        assert not isinstance(found.value, UnicodeDecodeError)


def test_no_json_is_written_with_nan():
    """Every dump says allow_nan=False, or goes through what does: NaN is not JSON, and other readers refuse it."""
    root, lenient = Path(segearth.__file__).parents[1], []
    for file in [*root.glob("segearth/**/*.py"), *root.glob("tools/**/*.py"), *root.glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            dump = isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dump", "json.dumps")
            if dump and not any(word.arg == "allow_nan" for word in node.keywords):
                lenient.append(f"{file.name}:{node.lineno}")
    assert lenient == []
    for value in (float("nan"), float("inf")):
        for write in (json_text, json_line):
            with pytest.raises(ValueError, match="not JSON compliant"):
                write([value])


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"é": 1.5}', encoding="utf-8-sig")
    assert read_json(path) == {"é": 1.5}
    assert parse_json(path.read_text(encoding="utf-8")) == {"é": 1.5}


def test_size_and_kind_of_the_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    assert read_json(path, 6) == [1, 2]
    with pytest.raises(ValueError, match="larger than"):
        read_json(path, 5)
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match="no regular file"):
            read_json(other)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "nothing")


def test_what_memory_could_not_hold_is_not_parsed(tmp_path):
    """Python's objects need up to 29 times the bytes of their text."""
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    for read in (lambda: read_json(tmp_path / "a.json"), lambda: parse_json(" " * (MOST_BYTES + 1))):
        with pytest.raises(ValueError, match="larger than the 34 MB"):
            read()
    assert 29 * max(MOST_BYTES, MAX_JSON) < 1_000_000_000


def test_what_is_written_is_read_again(tmp_path):
    name = os.fsdecode(b"scene\xe9.png")  # bytes that are no UTF-8
    write_json(tmp_path / "a.json", {"image": name, "class": "Straße\x1b"})
    assert (tmp_path / "a.json").read_bytes().decode("utf-8").endswith("}\n")
    assert read_json(tmp_path / "a.json") == {"image": name, "class": "Straße\x1b"}


def test_what_json_cannot_hold():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text([float("nan")])
    nested = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValueError, match="nested too deeply"):
        json_text(nested)
    assert json.loads(json_text({"a": [1]}, None)) == {"a": [1]}
