"""A row of the table of CLIPs: its files, its architecture, and how it is used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from segearth.files import File, Packaged

Source: TypeAlias = File | Packaged | Path


class Statistics(NamedTuple):
    """Mean and standard deviation with which images are normalised, on 0-255 RGB.

    Attributes:
        mean: of red, green and blue.
        std: standard deviations of red, green and blue.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# OpenAI's, rounded to a thousandth of a grey level; SegEarth-OV's released settings have them for every CLIP.
STATISTICS = Statistics((122.771, 116.746, 104.094), (68.501, 66.632, 70.323))

QUICK = "-quickgelu"  # the end of open_clip's names of architectures with OpenAI's approximation of GELU
WINDOW = 224  # side of SegEarth-OV's windows in pixels
BILATERAL_PATCH = 16  # for which the untrained bilateral filter was measured to be better than bilinear upsampling


@dataclass(frozen=True)
class Spec:
    """A CLIP with an upsampler.

    Attributes:
        name: in the table; of weights given by path or address, the name of their file.
        family: such as "RemoteCLIP"; with `vit_type` the pair by which configs name it (`clip_type`).
        vit_type: the image tower, such as "ViT-B/16".
        architecture: with which the weights were trained: a name of open_clip, the name of a packaged JSON file without
            its ending, or the path of a JSON file of open_clip.
        file: the weights; a `Path` if they are the user's.
        patch: side of a patch in pixels; 0 for weights given by path or address, whose architecture tells it.
        width: of the features; 0 likewise.
        size: side in pixels of the images that it was trained on; 0 where it is not known.
        context: tokens of a text.
        statistics: with which the images of its training were normalised.
        official: the architecture that the official code builds, if it is another one; else "".
        upsampler: what brings the features of the patches to the pixels: "jbu_one", "jbu_stack", "bilateral",
            "bilinear"; None: the scores are enlarged.
        upsampler_file: the upsampler's weights; None if it has none.
        published: mIoU in percent, the average of eight data sets in SegEarth-OV's own tables (CVPR 2025); None if
            they do not have it.
        about: what it is, in a sentence.
        doubt: what no source confirms about its activation, in a sentence; "" if nothing is in doubt.
        trained: the row as it was trained, if this is the row as the official code computes it; else None.
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
        """Whether it is no row of the table: the user gave its weights and their architecture."""
        return not self.patch

    @property
    def activation(self) -> str:
        """The activation by the name of the architecture, "quick GELU" or "GELU"; "" for a JSON file."""
        return activation(self.architecture)

    @property
    def window(self) -> int:
        """Default side of windows in pixels."""
        return self.size or WINDOW

    @property
    def usage(self) -> str:
        """How images are normalised and cut for it, and its upsampler, in a phrase."""
        mean, std = (", ".join(f"{value:g}" for value in values) for values in self.statistics)
        upsampler = "no upsampler" if self.upsampler is None else f"upsampler {self.upsampler}"
        return f"mean {mean}; standard deviation {std}; windows of {self.window} pixels; {upsampler}"

    @property
    def downloads(self) -> tuple[File, ...]:
        """The files that are downloaded."""
        return tuple(file for file in (self.file, self.upsampler_file) if isinstance(file, File))

    @property
    def download_bytes(self) -> int:
        """Size of all downloads; rounded where the exact size of a file was never seen."""
        return sum(file.size or file.about_size for file in self.downloads)

    @property
    def difference(self) -> str:
        """What the pair of a config takes that differs from our name, as the end of a sentence; "" if nothing."""
        parts = []
        if self.official:
            parts.append(f"{activation(self.official)} ({self.official}) instead of {self.activation}")
        if self.statistics != STATISTICS:
            parts.append("OpenAI's mean and standard deviation instead of its own")
        return ", ".join(parts)

    @property
    def remark(self) -> str:
        """What a reader of its results should know, in a sentence or two; "" if there is nothing.

        It says how name and pair differ, and what is in doubt.
        """
        row = self.trained or self
        if row.own or not row.difference:
            return self.doubt
        pair = f"clip_type={self.family!r} with vit_type={self.vit_type!r}"
        text = f"{pair} takes {row.difference}, as the official code does; the name {self.name} takes what it was"
        return f"{text} trained with. {self.doubt}".rstrip()

    def as_official(self) -> Spec:
        """The row as the official code computes it: its architecture, and one mean and standard deviation for all."""
        architecture = self.official or self.architecture
        upsampler = self.upsampler if self.upsampler_file is not None else "bilinear"
        changed = {"architecture": architecture, "statistics": STATISTICS, "upsampler": upsampler}
        return replace(self, **changed, official="", trained=self)  # type: ignore[arg-type]


def untrained_upsampler(patch: int) -> str:
    """The default upsampler of a CLIP for which none was trained, by the side of its patches in pixels.

    With `tiny`, whose patches have 16 pixels, the filter is better on all images that were kept out (its card has the
    figures); for other patches nothing was measured.
    """
    return "bilateral" if patch == BILATERAL_PATCH else "bilinear"


def activation(architecture: str) -> str:
    """The activation of an architecture by its name in open_clip; "" for other names."""
    if not architecture.startswith("ViT-"):
        return ""
    return "quick GELU" if architecture.endswith(QUICK) else "GELU"
