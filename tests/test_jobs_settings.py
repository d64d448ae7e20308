"""Settings that differ are named as deep inside as they can be."""

from __future__ import annotations

import pytest

from segearth.jobs.settings import first_difference, settings_hash

BEFORE = {
    "input": {"bytes": 10, "sha256": "ab"},
    "classes": [{"names": ["road"], "threshold": None}, {"names": ["tree", "forest"], "threshold": 0.5}],
    "scale": 1.0,
    "bands": (4, 3, 2),
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"input": {"bytes": 10, "sha256": "ac"}}, ("input.sha256", '"ab"', '"ac"')),
        ({"scale": 1}, ("scale", "1.0", "1")),
        ({"scale": "1.0"}, ("scale", "1.0", '"1.0"')),
        ({"bands": [4, 3, 1]}, ("bands[2]", "2", "1")),
        ({"bands": [4, 3]}, ("bands", "[4, 3, 2]", "[4, 3]")),
        ({"blend": "hann"}, ("blend", "nothing", '"hann"')),
        ({"classes": [BEFORE["classes"][0]]}, ("classes", '[{"names": ["road"], "threshold": null},', None)),
        (
            {"classes": [BEFORE["classes"][0], {"names": ["tree", "forest"], "threshold": 0.6}]},
            ("classes[1].threshold", "0.5", "0.6"),
        ),
    ],
)
def test_what_differs(change, expected):
    found = first_difference(BEFORE, BEFORE | change)
    assert found is not None
    assert found[:2] == expected[:2]
    assert found.now == expected[2] or expected[2] is None
    assert found.before != found.now
    assert first_difference(BEFORE | change, BEFORE)[0] == expected[0]
    assert settings_hash(BEFORE) != settings_hash(BEFORE | change)


def test_what_does_not_differ():
    other = {key: BEFORE[key] for key in reversed(BEFORE)} | {"bands": [4, 3, 2]}
    assert first_difference(BEFORE, other) is None
    assert settings_hash(BEFORE) == settings_hash(other)
    assert settings_hash({"a": 1, "b": [True]}) == "d5fa1ad9439d1915d38d7cd0a6c100adf3caec90c34e87b342274f5e3f61535f"


def test_long_values_are_told_apart():
    found = first_difference({"name": 60 * "a" + "b"}, {"name": 60 * "a" + "c"})
    assert found == ("name", '...aaaaaaaaaab"', '...aaaaaaaaaac"')


def test_the_end_of_one_is_the_beginning_of_the_other():
    found = first_difference({"names": list(range(30))}, {"names": list(range(31))})
    assert found.before != found.now
