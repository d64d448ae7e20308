"""Recomputes labels from the scores of a finished map under other rules: thresholds, merged and dropped classes.

Scores in files are rounded to steps of 1/254, so ties are frequent, and rounding may move a score across a threshold.
Therefore the old label is kept where it is possible under the new rules for some scores that round to those in the
file; elsewhere the label follows from the scores in the file. Unchanged rules give unchanged labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.errors import UserError, option
from segearth.labels import label_values, thresholds_of
from segearth.scenes.layers import LEVELS, dequantised
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.colours import RGB

    Labels = NDArray[np.uint8 | np.uint16]

_HALF_STEP = np.float32(0.5 / LEVELS + 1e-6)  # rounding to steps of 1/254, and rounding of float32
_NO_CLASS = -1  # an old label that has no class in the new map


@dataclass(frozen=True)
class LabelChanges:
    """Changes to the classes and thresholds of a map. Classes may be given by any of their names.

    Attributes:
        threshold: threshold in [0, 1] of classes without their own; None: unchanged.
        thresholds: thresholds of single classes.
        merge: new name -> classes to merge under it; the score is the maximum of theirs.
        drop: classes to remove.
        rename: old name -> new name.
        colours: colours of single classes, RGB (0-255) or "#RRGGBB".
        background: class of uncertain pixels; False for none, None for that of the map.
    """

    threshold: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    drop: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[str, RGB | str] = field(default_factory=dict)
    background: str | bool | None = None


class ChangedClasses(NamedTuple):
    """The classes of a changed map.

    Attributes:
        vocabulary: the K new classes.
        members: for each new class the indices of its old classes.
    """

    vocabulary: Vocabulary
    members: tuple[tuple[int, ...], ...]


def change_classes(vocabulary: Vocabulary, changes: LabelChanges) -> ChangedClasses:
    """Applies the changes to the classes of a map.

    A merged class takes the position and colour of its first member.

    Raises:
        UserError: an unknown class, a class in two changes, no class left, or merged classes with different scales or
            thresholds.
    """
    dropped = [vocabulary.index(name) for name in changes.drop]
    merged = {new: [vocabulary.index(name) for name in names] for new, names in changes.merge.items()}
    _check_once(vocabulary, [*dropped, *(i for group in merged.values() for i in group)])
    for new, group in merged.items():
        _check_alike(vocabulary, new, group, changes)
    groups: dict[int, tuple[str, list[int]]] = {min(group): (new, group) for new, group in merged.items()}
    removed = {*dropped, *(i for group in merged.values() for i in group)} - groups.keys()
    members, names = [], []
    for i, class_names in enumerate(vocabulary.classes):
        if i in removed:
            continue
        new, group = groups.get(i, (class_names[0], [i]))
        members.append(tuple(sorted(group)))
        synonyms = [name for member in members[-1] for name in vocabulary.classes[member]]
        names.append(tuple(dict.fromkeys([new, *synonyms])))
    if not members:
        raise UserError("no class is left: expected one or more; drop fewer")
    for old, new in changes.rename.items():
        k = Vocabulary(names, False).index(old)
        names[k] = tuple(dict.fromkeys([new, *(name for name in names[k] if name.lower() != old.strip().lower())]))
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
    return ChangedClasses(changed.with_colours(changes.colours).with_thresholds(changes.thresholds), tuple(members))


class Rules(NamedTuple):
    """Rules that convert scores of C old classes to labels of K new classes.

    Attributes:
        members: for each of the K classes its score bands.
        scales: (K, 1, 1) float32, factors of the scores before the best class is chosen.
        thresholds: (K, 1, 1) float32.
        fill: label of uncertain pixels.
        nodata: label of nodata pixels.
        stored: new label for each old label, or -1.
    """

    members: tuple[tuple[int, ...], ...]
    scales: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    fill: int
    nodata: int
    stored: NDArray[np.int64]


def make_rules(before: Vocabulary, changed: ChangedClasses, threshold: float) -> Rules:
    """Creates the rules of a changed map.

    Args:
        before: classes of the old map.
        changed: classes of the new map.
        threshold: threshold of the new map.
    """
    vocabulary, members = changed
    old, new = label_values(len(before)), label_values(len(vocabulary))
    fill = new.unclassified if vocabulary.background is None else vocabulary.background
    stored = np.full(old.nodata + 1, _NO_CLASS, np.int64)
    stored[old.unclassified] = fill
    for k, group in enumerate(members):
        stored[list(group)] = k
    scales = np.array(vocabulary.scales, np.float32)[:, None, None]
    thresholds = thresholds_of(vocabulary, threshold)[:, None, None]
    return Rules(members, scales, thresholds, fill, new.nodata, stored)


def reclassify(
    bands: NDArray[np.uint8], stored: Labels | None, rules: Rules
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Computes labels and confidence from scores.

    Args:
        bands: (C, h, w) scores as in files: 1 to 255 for 0 to 1, and 0 for nodata.
        stored: (h, w) labels of the old map; None if unknown.
        rules: rules of the new map.

    Returns:
        (h, w) label values of the new map, and (h, w) score of the best class, in the values of `bands`.
    """
    valid = bands[0] > 0
    values = np.stack([bands[list(group)].max(axis=0) for group in rules.members])
    scores = dequantised(values)
    best = (scores * rules.scales).argmax(axis=0)
    certain = _take_class(scores, best) >= rules.thresholds[best, 0, 0]
    labels, confidence = np.where(certain, best, rules.fill), _take_class(values, best)
    if stored is not None:
        wanted = rules.stored[stored]
        low, high = np.maximum(scores - _HALF_STEP, 0), scores + _HALF_STEP
        may_be_best = high * rules.scales >= (low * rules.scales).max(axis=0)
        old_class = np.where((wanted >= 0) & (wanted < len(scores)), wanted, 0)
        is_class = (wanted == old_class) & _take_class(may_be_best, old_class)
        is_class &= _take_class(high, old_class) >= rules.thresholds[old_class, 0, 0]
        is_uncertain = (wanted == rules.fill) & (may_be_best & (low < rules.thresholds)).any(axis=0)
        labels = np.where(is_class | is_uncertain, wanted, labels)
        confidence = np.where(is_class, _take_class(values, old_class), confidence)
    return np.where(valid, labels, rules.nodata), np.where(valid, confidence, 0).astype(np.uint8)


def _take_class(values: NDArray[np.generic], index: NDArray[np.int64]) -> NDArray[np.generic]:
    """Selects from values (K, h, w) that of the class in index (h, w)."""
    return np.take_along_axis(values, index[None], axis=0)[0]


def _check_once(vocabulary: Vocabulary, changed: Sequence[int]) -> None:
    for i in set(changed):
        if changed.count(i) > 1:
            raise UserError(
                f"{vocabulary.names[i]!r} is merged or dropped more than once: expected each class in one change; "
                "leave one out"
            )


def _check_alike(vocabulary: Vocabulary, new: str, group: Sequence[int], changes: LabelChanges) -> None:
    """Refuses to merge classes with different scales or thresholds."""
    if len({vocabulary.scales[i] for i in group}) > 1:
        scales = ", ".join(f"{vocabulary.names[i]} {vocabulary.scales[i]:g}" for i in group)
        raise UserError(
            f"the classes of {new!r} have different scales ({scales}): expected the same scale; map the scene anew "
            "with these names as one class"
        )
    if len({vocabulary.thresholds[i] for i in group}) > 1 and new not in changes.thresholds:
        values = ["none" if (value := vocabulary.thresholds[i]) is None else f"{value:g}" for i in group]
        thresholds = ", ".join(f"{vocabulary.names[i]} {value}" for i, value in zip(group, values, strict=True))
        raise UserError(
            f"the classes of {new!r} have different thresholds of their own ({thresholds}): expected one; give "
            f"{option('class_threshold', f'{new}=0.4')}"
        )
