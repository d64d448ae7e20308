"""What is known of a CLIP: one frozen row, whatever it was named by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from segearth.files import File, Packaged

Source: TypeAlias = File | Packaged | Path


class Statistics(NamedTuple):
    """What images are normalised with, on 0-255 RGB.

    Attributes:
        mean: of red, green and blue.
        std: their standard deviations.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# The same for every CLIP in SegEarth-OV's released settings: OpenAI's, rounded to a thousandth of a grey level.
STATISTICS = Statistics((122.771, 116.746, 104.094), (68.501, 66.632, 70.323))

QUICK = "-quickgelu"  # the end of open_clip's names of architectures with OpenAI's approximation of GELU
WINDOW = 224  # side in pixels that SegEarth-OV's windows have
BILATERAL_PATCH = 16  # whose features an untrained bilateral filter was seen to bring to pixels better than bilinear


@dataclass(frozen=True)
class Spec:
    """A CLIP with an upsampler.

    Attributes:
        name: its name here; of weights that have none, that of their file.
        family: whose it is; with `vit_type` the pair that configs name it by (`clip_type`).
        vit_type: its image tower, such as "ViT-B/16".
        architecture: that its weights were trained with: a name of open_clip, that of a packaged JSON file without its
            ending, or the path of a JSON file of open_clip.
        file: the weights; a path for one's own.
        patch: side of a patch in pixels; 0 where only the architecture tells it, as of one's own.
        width: of the features; 0 likewise.
        size: side in pixels of the images that it was trained on; 0 where it is not known.
        context: tokens of a text.
        statistics: that its images were normalised with in its training; of one's own as its files say.
        official: the architecture that the official code builds, where that is another one.
        upsampler: what brings the features of the patches to the pixels: "jbu_one", "jbu_stack", "bilateral",
            "bilinear"; None: the scores are enlarged.
        upsampler_file: the upsampler's weights; None if it has none.
        published: mIoU in percent, the average of eight data sets in SegEarth-OV's own tables (CVPR 2025); None where
            it has none.
        about: what it is, in a sentence.
        doubt: what no source says about its activation, in a sentence; "" where one does.
        trained: of one as the official code computes it (for its pair in a config): it as it was trained; else None.
    """

    name: str
    family: str
    vit_type: str
    architecture: str
    file: Source
    patch: int = 0
    width: int = 0
    size: int = 0
    context: int = 77
    statistics: Statistics = STATISTICS
    official: str = ""
    upsampler: str | None = "bilinear"
    upsampler_file: Source | None = None
    published: float | None = None
    about: str = ""
    doubt: str = ""
    trained: Spec | None = None

    @property
    def own(self) -> bool:
        """Whether it is no row of a table: the user says where its weights are, and which architecture they have."""
        return not self.patch

    @property
    def activation(self) -> str:
        """Its activation by its architecture's name, "quick GELU" or "GELU"; "" where a JSON file tells it."""
        return activation(self.architecture)

    @property
    def window(self) -> int:
        """Side in pixels of the windows that it is used with, unless the user says otherwise."""
        return self.size or WINDOW

    @property
    def usage(self) -> str:
        """How images are normalised and cut for it, and its upsampler, in a phrase."""
        mean, std = (", ".join(f"{value:g}" for value in values) for values in self.statistics)
        upsampler = "no upsampler" if self.upsampler is None else f"upsampler {self.upsampler}"
        return f"mean {mean}; standard deviation {std}; windows of {self.window} pixels; {upsampler}"

    @property
    def downloads(self) -> tuple[File, ...]:
        """The files that are not part of the package."""
        return tuple(file for file in (self.file, self.upsampler_file) if isinstance(file, File))

    @property
    def download_bytes(self) -> int:
        """Size of all downloads; rounded where the exact size of a file was never seen."""
        return sum(file.size or file.about_size for file in self.downloads)

    @property
    def difference(self) -> str:
        """How the pair of a config and our name differ, as the end of a sentence; "" where they do not."""
        parts = []
        if self.official:
            parts.append(f"{activation(self.official)} ({self.official}) instead of {self.activation}")
        if self.statistics != STATISTICS:
            parts.append("OpenAI's mean and standard deviation instead of its own")
        return ", ".join(parts)

    @property
    def remark(self) -> str:
        """What a reader of its results should know: how it differs by the other way of naming it, and what is doubtful.

        It is a sentence or two; "" where there is nothing.
        """
        row = self.trained or self
        if row.own or not row.difference:
            return self.doubt
        pair = f"clip_type={self.family!r} with vit_type={self.vit_type!r}"
        says = f"{pair} takes {row.difference}, as the official code does; the name {self.name} takes what it was"
        return f"{says} trained with. {self.doubt}".rstrip()

    def as_official(self) -> Spec:
        """It as the official code computes it: with its architecture, and one mean and standard deviation for all."""
        architecture = self.official or self.architecture
        upsampler = self.upsampler if self.upsampler_file is not None else "bilinear"
        changed = {"architecture": architecture, "statistics": STATISTICS, "upsampler": upsampler}
        return replace(self, **changed, official="", trained=self)  # type: ignore[arg-type]


def untrained_upsampler(patch: int) -> str:
    """The upsampler of a CLIP without one of its own, by the side of its patches.

    With `tiny`, whose patches have 16 pixels, the filter is better on all images that were kept out (its card has the
    figures); for other patches nothing was measured.
    """
    return "bilateral" if patch == BILATERAL_PATCH else "bilinear"


def activation(architecture: str) -> str:
    """The activation of an architecture of open_clip by its name; "" of one that has none there."""
    if not architecture.startswith("ViT-"):
        return ""
    return "quick GELU" if architecture.endswith(QUICK) else "GELU"
