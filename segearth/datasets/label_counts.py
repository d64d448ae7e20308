"""Counts the classes in the labels of a data set, and warns of labels that make figures meaningless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from segearth.errors import command

MOST_IGNORED = 0.5  # share of the pixels; above it, figures are of the smaller part
FEW = 8  # labels: fewer, taken out of a set, may well hold one or two classes only
_NAMED = 5


@dataclass
class LabelCounts:
    """Numbers of pixels of each class, added up over images.

    Attributes:
        classes: names of the C classes, in index order.
        reduce_zero_label: whether 0 in the files is ignored, too, and classes count from 1.
        ignore: the value in the files that is not scored.
        pixels: of every class.
        ignored: pixels that are not scored.
        images: how many were added.
        uniform: how many of them are one value throughout.
    """

    classes: Sequence[str]
    reduce_zero_label: bool = False
    ignore: int = 255
    pixels: list[int] = field(default_factory=list)
    ignored: int = 0
    images: int = 0
    uniform: int = 0

    def __post_init__(self) -> None:
        self.pixels = self.pixels or [0] * len(self.classes)

    def add(self, pixels: Sequence[int], ignored: int) -> None:
        """Adds an image: its pixels of every class, and its ignored ones."""
        self.pixels = [total + more for total, more in zip(self.pixels, pixels, strict=True)]
        self.ignored += ignored
        self.images += 1
        self.uniform += sum(map(bool, pixels)) + bool(ignored) == 1

    def remarks(self, partial: bool = False) -> list[str]:
        """Describes what is unusual in the labels, a sentence each; an empty list if nothing is.

        Args:
            partial: whether these are some labels of a larger set. Then missing classes are not reported, as some
                classes are rare in many sets, and no cause is guessed from few labels.
        """
        present = [i for i, count in enumerate(self.pixels) if count]
        scored = sum(self.pixels)
        if scored + self.ignored == 0:
            return []
        cause = "" if partial and self.images < FEW else self._cause(present)
        found = []
        if scored == 0:
            found.append(f"{self._all} nothing but ignored pixels, so that nothing is scored{cause}")
        elif len(present) == 1:
            found.append(
                f"{self._all} no class but {self.classes[present[0]]}, so that figures say nothing about the "
                f"others{cause}"
            )
        elif cause:
            found.append(f"{self._all} {self._names(present)} and none of the other classes{cause}")
        elif len(present) < len(self.classes) and not partial:
            lacking = [i for i in range(len(self.classes)) if i not in present]
            found.append(
                f"no label has {self._names(lacking)}: where such a class is predicted its IoU is 0, else the mean "
                "leaves it out"
            )
        if len(present) > 1 and self.uniform == self.images > 1:
            found.append(f"each of the {self.images:,} labels is one value throughout: expected an index a pixel")
        if scored and self.ignored > MOST_IGNORED * (scored + self.ignored):
            share = 100 * self.ignored / (scored + self.ignored)
            value = 0 if self.reduce_zero_label else self.ignore
            found.append(
                f"{share:.0f} % of the label pixels are ignored ({value} in the files): figures are of the others, so "
                "check that these have no data"
            )
        return found

    @property
    def _all(self) -> str:
        return "the label holds" if self.images == 1 else f"the {self.images:,} labels hold"

    def _names(self, chosen: Sequence[int]) -> str:
        """Classes by name, the first few of them."""
        more = len(chosen) - _NAMED
        return ", ".join(self.classes[i] for i in chosen[:_NAMED]) + (f" and {more} more" if more > 0 else "")

    def _cause(self, present: Sequence[int]) -> str:
        """The known defect of converters that leaves just these classes, as the end of a sentence."""
        several = len(self.classes) > 2
        if self.reduce_zero_label:
            zero_and_one = present == [0] and self.ignored > 0
            black_and_white = not present
        else:
            zero_and_one = several and present == [0, 1] and self.ignored == 0
            black_and_white = present == [0] and self.ignored > 0 and self.ignore == 255
        again = f"so prepare the set with {command('prepare')}, or convert the labels again"
        if black_and_white:
            first = int(self.reduce_zero_label)
            return (
                f": masks of 0 and 255 do that, as 255 is ignored, and if they are such, write indices from {first} on"
            )
        if zero_and_one:
            return (
                ": the files hold nothing but 0 and 1, to which palette images that are written without a palette "
                f"collapse, {again}"
            )
        if not several and present == [0]:
            return f": a threshold of 128 on masks of 0 and 1 does that, {again}"
        return ""
