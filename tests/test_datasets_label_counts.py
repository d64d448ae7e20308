"""Labels that make figures say nothing are told, and usual ones are not."""

from __future__ import annotations

import re

import pytest

from segearth.datasets.label_counts import FEW, LabelCounts

FOUR = ("background", "roof", "tree", "road")
TWO = ("background", "building")


def remarks(classes, *images, reduce=False, partial=False, **settings):
    """Of images, each as its pixels of the classes and the ignored ones."""
    counts = LabelCounts(classes, reduce, **settings)
    for *pixels, ignored in images:
        counts.add(pixels, ignored)
    return counts.remarks(partial)


@pytest.mark.parametrize(
    ("classes", "images", "reduce", "expected"),
    [
        (FOUR, [(5, 2, 0, 2, 1)], False, ["no label has tree: where such a class is predicted its IoU is 0, else the"]),
        (FOUR, [(5, 0, 0, 2, 1)], False, ["no label has roof, tree: where"]),
        (
            FOUR,
            [(6, 3, 0, 0, 0)],
            False,
            ["the label holds background, roof and none of the other classes: the"],
        ),
        (
            FOUR,
            [(6, 0, 0, 0, 3)],
            False,
            ["the label holds no class but background, .*: masks of 0 and 255 do that, .* if they are such, write"],
        ),
        (
            FOUR,
            [(9, 0, 0, 0, 0)],
            False,
            ["the label holds no class but background, so that figures say"],
        ),
        (
            FOUR,
            [(0, 0, 4, 0, 0)],
            False,
            ["the label holds no class but tree, so that figures say"],
        ),
        (FOUR, [(6, 0, 0, 0, 3)], True, ["no class but background, .* hold nothing but 0 and 1, to which palette"]),
        (
            FOUR,
            [(0, 0, 0, 0, 9)] * 2,
            True,
            ["the 2 labels hold nothing but ignored pixels, .*indices from 1 on"],
        ),
        (
            FOUR,
            [(0, 0, 0, 0, 9)] * 2,
            False,
            ["the 2 labels hold nothing but ignored pixels, so that nothing"],
        ),
        (FOUR, [(1, 1, 1, 1, 5)], False, [r"56 % of the label pixels are ignored \(255 in the files\)"]),
        (FOUR, [(1, 1, 1, 1, 5)], True, [r"56 % of the label pixels are ignored \(0 in the files\)"]),
        (FOUR, [(9, 0, 0, 0, 0), (0, 9, 9, 9, 0), (0, 0, 9, 0, 0)], False, []),
        (TWO, [(9, 0, 0), (0, 9, 0)], False, ["each of the 2 labels is one value throughout"]),
        (
            TWO,
            [(9, 0, 0)] * 3,
            False,
            ["the 3 labels hold no class but background.*: a threshold of 128 on masks"],
        ),
        (TWO, [(9, 0, 4)] * 3, False, ["the 3 labels hold no class but background.*: masks of 0 and 255 do that"]),
        (TWO, [(0, 9, 0)], False, ["the label holds no class but building, so that figures say"]),
        (TWO, [(9, 1, 10)], False, []),
        (TWO, [], False, []),
    ],
)
def test_whole_sets(classes, images, reduce, expected):
    found = remarks(classes, *images, reduce=reduce)
    assert len(found) == len(expected)
    for sentence, pattern in zip(found, expected, strict=True):
        assert re.search(pattern, sentence), sentence
        assert "; " not in sentence  # which separates notes in tables


def test_two_things_at_once():
    absent, ignored = remarks(FOUR, (1, 1, 0, 1, 7))
    assert absent.startswith("no label has tree")
    assert ignored.startswith("70 %")


def test_a_part_of_a_set_lacks_classes_without_a_word():
    """In official sets some classes are rare, and many images have none but the background."""
    assert remarks(FOUR, (5, 0, 0, 2, 0), partial=True) == []
    (found,) = remarks(TWO, (9, 0, 0), partial=True)
    assert found.endswith("say nothing about the others")  # a fact, and no guess at its cause
    assert remarks(FOUR, *[(6, 3, 0, 0, 0)] * (FEW - 1), partial=True) == []


def test_many_of_a_set_give_the_cause_away():
    (found,) = remarks(FOUR, *[(6, 3, 0, 0, 0)] * FEW, partial=True)
    assert "palette" in found
    (found,) = remarks(TWO, *[(6, 0, 3)] * FEW, partial=True)
    assert "masks of 0 and 255" in found


def test_another_index_that_is_ignored():
    (found,) = remarks(TWO, (9, 0, 4), ignore=100)
    assert "255" not in found
