"""Which bands are red, green and blue."""

import re

import pytest

from segearth.errors import UserError
from segearth.scenes.bands import Band, choose_bands

RGB = ["red", "green", "blue"]
S2 = [f"B{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, "8A", 9, 10, 11, 12)]


def bands(colours, descriptions=()):
    descriptions = [*descriptions, *[""] * (len(colours) - len(descriptions))]
    return [Band(i + 1, descriptions[i], "uint16", colour) for i, colour in enumerate(colours)]


@pytest.mark.parametrize(
    ("given", "numbers", "remark"),
    [
        (bands(["gray"]), (1, 1, 1), "x has one band; it is used three times"),
        (bands(["gray", "alpha"]), (1, 1, 1), "x has one band"),
        (bands(["palette"]), (1, 1, 1), None),
        (bands(["gray", "undefined"], ["VV", "VH"]), (1, 1, 1), r"two bands; only band 1 \(VV\) is used"),
        (bands(RGB), (1, 2, 3), None),
        (bands([*RGB, "alpha"]), (1, 2, 3), None),
        (bands(["blue", "green", "red", "nir"]), (3, 2, 1), None),
        (bands(["alpha", "blue", "green", "red"]), (4, 3, 2), None),
        (bands(["gray", "undefined", "undefined"]), (1, 2, 3), None),
        (bands(["gray"] + ["undefined"] * 3), (1, 2, 3), "4 bands and does not say .*--bands 3,2,1 if others are"),
        (bands(["gray"] * 4, ["Blue", "Green", "Red", "NIR"]), (3, 2, 1), r"3 \(Red\), 2 \(Green\) and 1 \(Blue\)"),
        (bands(["gray"] + ["undefined"] * 12, S2), (4, 3, 2), r"4 \(B4\), 3 \(B3\) and 2 \(B2\).*by their desc"),
        (bands(["gray"] * 4, ["B04, central 665 nm", "B08", "B03", "B02"]), (1, 3, 4), r"665 nm\), 3 \(B03\)"),
        (bands(["gray"] + ["undefined"] * 12), (4, 3, 2), "13 bands .* as in the order of Sentinel-2"),
        (bands(["gray"] + ["undefined"] * 11), (4, 3, 2), "12 bands .* as in the order of Sentinel-2"),
        (bands(["gray"] + ["undefined"] * 7), (1, 2, 3), "8 bands and does not say which are colours; 1, 2 and 3"),
    ],
)  # fmt: skip
def test_default_bands(given, numbers, remark, monkeypatch):
    monkeypatch.setattr("segearth.errors._program", "segearth predict")
    found, remarks = choose_bands(given, None, "x")
    assert found == numbers
    assert len(remarks) == (remark is not None)
    if remark:
        assert re.search(remark, remarks[0])


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ("4,3,2", (4, 3, 2)),
        ((4, 3, 2), (4, 3, 2)),
        (8, (8, 8, 8)),
        ("b04, B03 ,B2", (4, 3, 2)),
        ("red,green,blue", (4, 3, 2)),
        (["B12", 11, "b8a"], (13, 11, 9)),
    ],
)
def test_asked_bands(asked, numbers):
    given = bands(["gray"] + ["undefined"] * 12, S2)
    assert choose_bands(given, asked, "x") == (numbers, [])


def test_a_description_wins_over_a_colour_and_a_number():
    given = bands(["red", "green", "blue"], ["blue", "3", "red"])
    assert choose_bands(given, "red,3,blue", "x")[0] == (3, 2, 1)


@pytest.mark.parametrize(
    ("given", "asked", "message"),
    [
        (bands(RGB), "1,2", "names 2 bands: expected three, .*or one, such as bands"),
        (bands(RGB), "4", "x has no band '4': expected one of 1, 2, 3; correct bands"),
        (bands(RGB), "0", "x has no band '0'"),
        (bands(["gray"] * 3, ["a", "b", "c"]), "nir", r"no band 'nir': expected one of 1 \(a\), 2 \(b\), 3 \(c\)"),
        (bands([*RGB, "alpha"]), "1,2,4", "band 4 of x is its transparency"),
        (bands(["alpha"]), None, "x has no band but alpha"),
        (bands(["cyan", "magenta", "yellow", "black"]), None, "has the bands cyan, magenta, yellow and black"),
    ],
)
def test_refused(given, asked, message):
    with pytest.raises(UserError, match=message):
        choose_bands(given, asked, "x")
