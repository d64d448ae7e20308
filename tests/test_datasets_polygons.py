"""Polygons of xBD's JSON files: what is drawn, and what is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segearth.datasets import archives, polygons
from segearth.errors import UserError


def member(path: Path, content: str | bytes) -> archives.Member:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(data)
    return archives.Member(str(path), path.name, len(data), path)


def features(*shapes: str) -> str:
    return json.dumps({"features": {"xy": [{"wkt": shape} for shape in shapes]}})


def test_exterior_rings_are_filled(tmp_path):
    """Holes stay filled, z is left out, spaces between brackets do not matter."""
    content = features(
        "POLYGON ((1 1, 3.4 1, 3.4 2, 1 2, 1 1), (2 1, 2 2, 3 2))",
        "MULTIPOLYGON (((6 0 9, 7 0 9, 7 1 9)), ((-5 4, 1 4, 1 4.6)))",
        "POLYGON EMPTY",
        "multipolygon Z Empty",
        " polygon(\n( 7 5, 7 5 ,7 5)  ) ",
    )
    drawn = polygons.read_polygons(member(tmp_path / "a.json", content), (6, 8))
    expected = np.zeros((6, 8), np.uint8)
    expected[1:3, 1:4] = 1
    expected[0, 6:8] = expected[1, 7] = 1
    expected[4, 0:2] = expected[5, 1] = expected[5, 7] = 1
    assert drawn.dtype == np.uint8
    assert drawn.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            '{"features": {"xy": [{"wkt": "POLYGON ((1e999 0, 1 1, 2 2))"}]}}',
            "a point '1e999 0' is not in the image",
        ),
        (
            '{"features": {"xy": [{"wkt": "POLYGON ((nan 0, 1 1, 2 2))"}]}}',
            "a point 'nan 0' is not in the image",
        ),
        (
            '{"features": {"xy": [{"wkt": "POLYGON ((1e300 0, 1 1, 2 2))"}]}}',
            "a point '1e300 0' is not in the image",
        ),
        ('{"features": {"xy": [{"wkt": "POLYGON ((0, 1, 2))"}]}}', "a point '0' without two coordinates"),
        ('{"features": {"xy": [{"wkt": "POLYGON ((0 a, 1 1, 2 2))"}]}}', "a point '0 a' without two coordinates"),
        (features("POLYGON ((1_0 0, 1 1, 2 2))"), "a point '1_0 0' without two coordinates"),
        (features("POLYGON ((1 1, 2 3, 4 5"), "a shape 'POLYGON ..1 1, 2 3, 4 5' is no polygon"),
        (features("POLYGON (1 1, 2 3, 4 5)"), "is no polygon"),
        (features("POLYGON ((1 1, 2 3, 4 5)) 1"), "is no polygon"),
        (features("POLYGON EMPTY", "LINESTRING (1 1, 2 3)"), "a shape 'LINESTRING .1 1, 2 3.' is no polygon"),
        (features("GEOMETRYCOLLECTION (POLYGON ((1 1, 2 3, 4 5)))"), "is no polygon"),
        (features(""), "a shape '' is no polygon"),
        (features("POLYGON ((0 3, 7 3))"), "a ring of fewer than three points in 'POLYGON ..0 3, 7 3..'"),
        (features("POLYGON (())"), "a point '' without two coordinates"),
        ('{"features": {"xy": [{"wkt": 3}]}}', ""),
        ('{"features": {"xy": [{"wkt": 1e999}]}}', "1e999"),
        ('{"features": {"xy": 3}}', ""),
        ('{"features": []}', ""),
        ('{"features": {"xy": [{}]}}', ""),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "4300"),
        (b"\xff\xfe\xff", "byte 0 is not UTF-8"),
        ("", "Expecting value"),
    ],
)
def test_no_polygons(tmp_path, content, why):
    with pytest.raises(UserError, match=f"a.json has no polygons.*{why}.*: expected features.xy with wkt"):
        polygons.read_polygons(member(tmp_path / "a.json", content), (6, 8))


@pytest.mark.parametrize(
    "shape",
    [
        *("POLYGON ((" + "a" * 200_000 + "))", "POLYGON ((" + "9" * 200_000 + " 0, 1 1, 2 2))"),
        *("POLYGON ((0 3, 7 3))" + " " * 200_000, "POLYGON" + " " * 200_000 + "("),
        *("MULTIPOLYGON (" + "((1 1, 2 2, 3 3))," * 20_000, "(" * 200_000),
    ],
    ids=["letters", "digits", "blanks", "blanks and a bracket", "no end", "brackets"],
)
def test_messages_are_short(tmp_path, shape):
    with pytest.raises(UserError) as caught:
        polygons.read_polygons(member(tmp_path / "a.json", features(shape)), (6, 8))
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(polygons, "MAX_JSON", 10)
    with pytest.raises(UserError, match="a.json has 100 bytes, expected at most 10"):
        polygons.read_polygons(member(tmp_path / "a.json", bytes(100)), (6, 8))
