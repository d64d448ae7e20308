"""Labels from the scores of a finished map, under other rules: thresholds, merged and dropped classes.

Scores in files are rounded to steps of 1/254, so that they tie often, and some lie on either side of a threshold. The
rule is: where the label that the map had is possible under the new rules for some scores that round to those in the
file, it stays; elsewhere the scores are taken as they stand. Unchanged rules therefore give unchanged labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.errors import UserError, option
from segearth.labels import label_values, thresholds_of
from segearth.scenes.layers import LEVELS, scores_of
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.colours import RGB

    Labels = NDArray[np.uint8 | np.uint16]

_HALF_STEP = np.float32(0.5 / LEVELS + 1e-6)  # what rounding hides, and float32's own rounding
_NOTHING = -1  # where a label of the old map has no place in the new one


@dataclass(frozen=True)
class LabelChanges:
    """What is to be other than in the map that is there. Classes are called by any of their names.

    Attributes:
        threshold: for all classes without one of their own, in [0, 1]; None leaves it.
        thresholds: of some classes.
        merge: a new name, and the classes that become one of that name: its score is the best of theirs.
        drop: classes that no pixel gets.
        rename: an old name and the new one.
        colours: of some classes, RGB (0-255) or "#RRGGBB".
        background: the class that uncertain pixels get; False for none, None for that of the map.
    """

    threshold: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    drop: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[str, RGB | str] = field(default_factory=dict)
    background: str | bool | None = None


class Changed(NamedTuple):
    """The classes of a changed map.

    Attributes:
        vocabulary: of K classes.
        members: for each of them the classes of the old map, by their index.
    """

    vocabulary: Vocabulary
    members: tuple[tuple[int, ...], ...]


def change(vocabulary: Vocabulary, changes: LabelChanges) -> Changed:
    """The classes after all changes.

    Merged classes stand where the first of them stood, with its colour.

    Raises:
        UserError: a name that is none, a class in two changes, none that is left, or merged classes with other
            factors or thresholds than each other.
    """
    dropped = [vocabulary.index(name) for name in changes.drop]
    merged = {new: [vocabulary.index(name) for name in names] for new, names in changes.merge.items()}
    _check_once(vocabulary, [*dropped, *(i for group in merged.values() for i in group)])
    for new, group in merged.items():
        _check_alike(vocabulary, new, group, changes)
    groups: dict[int, tuple[str, list[int]]] = {min(group): (new, group) for new, group in merged.items()}
    gone = {*dropped, *(i for group in merged.values() for i in group)} - groups.keys()
    members, names = [], []
    for i, own in enumerate(vocabulary.classes):
        if i in gone:
            continue
        new, group = groups.get(i, (own[0], [i]))
        members.append(tuple(sorted(group)))
        together = [one for member in members[-1] for one in vocabulary.classes[member]]
        names.append(tuple(dict.fromkeys([new, *together])))
    if not members:
        raise UserError("no class is left: expected one or more; drop fewer")
    for old, new in changes.rename.items():
        at = Vocabulary(names, False).index(old)
        names[at] = tuple(dict.fromkeys([new, *(name for name in names[at] if name.lower() != old.strip().lower())]))
    first = [group[0] for group in members]
    background: int | str | bool = False
    if changes.background is not None:
        background = changes.background
    elif vocabulary.background is not None:
        background = next((k for k, group in enumerate(members) if vocabulary.background in group), False)
    changed = Vocabulary(
        names,
        background,
        [vocabulary.palette[i] for i in first],
        [vocabulary.thresholds[i] for i in first],
        [vocabulary.scales[i] for i in first],
    )
    return Changed(changed.with_colours(changes.colours).with_thresholds(changes.thresholds), tuple(members))


class Rules(NamedTuple):
    """How scores of C classes become labels of K.

    Attributes:
        members: for each of the K classes its bands.
        scales: (K, 1, 1) float32, factors before the best class is taken.
        thresholds: (K, 1, 1) float32.
        fill: the label of uncertain pixels.
        nodata: the label of pixels that the image does not have.
        stored: for each label of the old map the new one, or -1.
    """

    members: tuple[tuple[int, ...], ...]
    scales: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    fill: int
    nodata: int
    stored: NDArray[np.int64]


def rules_of(before: Vocabulary, changed: Changed, threshold: float) -> Rules:
    """The rules of a changed map.

    Args:
        before: the classes of the old map.
        changed: those of the new one.
        threshold: of the new one.
    """
    vocabulary, members = changed
    old, new = label_values(len(before)), label_values(len(vocabulary))
    fill = new.unclassified if vocabulary.background is None else vocabulary.background
    stored = np.full(old.nodata + 1, _NOTHING, np.int64)
    stored[old.unclassified] = fill
    for k, group in enumerate(members):
        stored[list(group)] = k
    scales = np.array(vocabulary.scales, np.float32)[:, None, None]
    thresholds = thresholds_of(vocabulary, threshold)[:, None, None]
    return Rules(members, scales, thresholds, fill, new.nodata, stored)


def reclassify(
    bands: NDArray[np.uint8], stored: Labels | None, rules: Rules
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Labels and confidence of some pixels.

    Args:
        bands: (C, h, w), the scores as in files: 1 to 255 for 0 to 1, and 0 for nodata.
        stored: (h, w), the labels of the old map; None if they are not known.
        rules: of the new one.

    Returns:
        (h, w) labels, in the values of the new map; and (h, w) the best class's score, in the values of `bands`.
    """
    valid = bands[0] > 0
    values = np.stack([bands[list(group)].max(axis=0) for group in rules.members])
    scores = scores_of(values)
    best = (scores * rules.scales).argmax(axis=0)
    certain = _at(scores, best) >= rules.thresholds[best, 0, 0]
    labels, confidence = np.where(certain, best, rules.fill), _at(values, best)
    if stored is not None:
        wanted = rules.stored[stored]
        low, high = np.maximum(scores - _HALF_STEP, 0), scores + _HALF_STEP
        may_be_best = high * rules.scales >= (low * rules.scales).max(axis=0)
        own = np.where((wanted >= 0) & (wanted < len(scores)), wanted, 0)
        is_class = (wanted == own) & _at(may_be_best, own) & (_at(high, own) >= rules.thresholds[own, 0, 0])
        is_uncertain = (wanted == rules.fill) & (may_be_best & (low < rules.thresholds)).any(axis=0)
        labels = np.where(is_class | is_uncertain, wanted, labels)
        confidence = np.where(is_class, _at(values, own), confidence)
    return np.where(valid, labels, rules.nodata), np.where(valid, confidence, 0).astype(np.uint8)


def _at(values: NDArray[np.generic], index: NDArray[np.int64]) -> NDArray[np.generic]:
    """Of (K, h, w) the value of the class in (h, w)."""
    return np.take_along_axis(values, index[None], axis=0)[0]


def _check_once(vocabulary: Vocabulary, changed: Sequence[int]) -> None:
    for i in set(changed):
        if changed.count(i) > 1:
            raise UserError(
                f"{vocabulary.names[i]!r} is merged or dropped more than once: expected each class in one change; "
                "leave one out"
            )


def _check_alike(vocabulary: Vocabulary, new: str, group: Sequence[int], changes: LabelChanges) -> None:
    """One class has one factor and one threshold."""
    if len({vocabulary.scales[i] for i in group}) > 1:
        factors = ", ".join(f"{vocabulary.names[i]} {vocabulary.scales[i]:g}" for i in group)
        raise UserError(
            f"the classes of {new!r} have different factors ({factors}): expected the same scale; map the scene anew "
            "with these names as one class"
        )
    if len({vocabulary.thresholds[i] for i in group}) > 1 and new not in changes.thresholds:
        told = {i: "none" if (own := vocabulary.thresholds[i]) is None else f"{own:g}" for i in group}
        thresholds = ", ".join(f"{vocabulary.names[i]} {told[i]}" for i in group)
        raise UserError(
            f"the classes of {new!r} have different thresholds of their own ({thresholds}): expected one; give "
            f"{option('class_threshold', f'{new}=0.4')}"
        )
