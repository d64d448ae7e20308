"""What a data set is, as data: where its download keeps what, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

RGB: TypeAlias = tuple[int, int, int]

RELEASED = "released setting of SegEarth-OV (CVPR 2025), cfg_{name}"  # where thresholds and factors come from
CLS_TOKEN_LAMBDA = -0.3  # of configs/base_config.py
JPEG = (".jpg", ".jpeg")
LICENCE_UNKNOWN = "not known here; read the terms on the source's page before you publish maps or pass data on"
SIZE_UNKNOWN = "not known here"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Files:
    """Files of one kind, images or labels, in the original download.

    Attributes:
        archive: the published archive, where users put it ("val/images/part1.zip"); "" if the set comes as a folder.
        inside: folders in the archive above `path`, as published ("2_Ortho_RGB/"). Not needed to find the files.
        path: the end of every file's path, without the suffix, with placeholders: "Val/{scene}/images_png/{stem}".
            Folders are compared without regard to case.
        types: suffixes in lower case, the published one first; compared without regard to case.
        published: the published suffix where it is not `types[0]`, such as ".JPG".
        note: for a second choice: what the user should know when it is taken.
        bands: of images of more than four, the first three of which are red, green and blue.
    """

    archive: str
    inside: str
    path: str
    types: tuple[str, ...]
    published: str = ""
    note: str = ""
    bands: int = 3

    def member(self, values: Mapping[str, str]) -> str:
        """The published path of one file inside the archive, for values of the placeholders."""
        return self.inside + self.path.format(**values) + (self.published or self.types[0])


@dataclass(frozen=True)
class Mistake:
    """A download that is easily taken for the right one.

    Attributes:
        path: the end of the paths that give it away, with placeholders as in `Files.path`, suffix included.
        advice: a sentence: what it is, and what to give instead.
    """

    path: str
    advice: str


@dataclass(frozen=True)
class Windows:
    """How large images are cut.

    Attributes:
        size: (height, width) in pixels; smaller images are padded at the bottom and the right.
        stride: (height, width) in pixels.
        name: of a window's files without suffix, from {key}, {top}, {bottom}, {left}, {right} (ends excluded).
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    name: str


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The same data with other prompts, in a config that builds on the set's own.

    Attributes:
        name: the name of the config without `cfg_`.
        summary: the first line of the config.
        about: further sentences of the config.
        prompts: the class file in configs/.
        source: of the prompts.
    """

    name: str
    summary: str
    about: str
    prompts: str
    source: str


X_FIRST = "{key}_{left}_{top}_{right}_{bottom}"
Y_FIRST = "{key}_{top}_{bottom}_{left}_{right}"


@dataclass(frozen=True)
class ExtraPair:
    """A small image with its labels in a drawn download that is not in the split.

    Attributes:
        values: of the placeholders of its paths.
        replace: a part of the published archive and path, and what stands there instead.
        labels: whether there are labels.
        images: whether there is an image.
    """

    values: Mapping[str, str]
    replace: tuple[str, str] = ("", "")
    labels: bool = True
    images: bool = True


Content: TypeAlias = Literal[
    "degrees of damage",
    "four bands",
    "heights",
    "indices",
    "instances",
    "label",
    "later image",
    "red label",
    "stray label",
]


@dataclass(frozen=True)
class ExtraFile:
    """A file in a drawn download that is neither an image nor a label of the split.

    Attributes:
        archive: as in `Files`.
        path: in the archive; with placeholders it is one file for every example.
        content: its bytes, or what is drawn (`segearth.datasets.samples.extras`).
        replace: a part of the path, and what stands there instead.
    """

    archive: str
    path: str
    content: bytes | Content
    replace: tuple[str, str] = ("", "")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How a small download of a set is drawn.

    Attributes:
        land: the class of land covers of drawn scenes and of "car"; "rest" is the class of all others, by default the
            first one. Empty: the second class, by its name.
        zoom: pixels of an image to one of the scene, which stands for 0.25 m.
        corner: whether a corner of the first image has no data.
        stray_colours: whether the second label has pixels of colours that are no class.
        infrared: whether bands are infrared, red and green.
        modes: of the images, in their order, as Pillow calls them; the others are RGB.
        extras: what else is in the download, and has to be left alone.
    """

    land: Mapping[str, str] = field(default_factory=dict)
    zoom: float = 0.5  # as images that stay whole are drawn small
    corner: bool = False
    stray_colours: bool = False
    infrared: bool = False
    modes: tuple[str, ...] = ()
    extras: tuple[ExtraPair | ExtraFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Description:
    """One data set.

    Attributes:
        name: the name of the config without `cfg_`.
        title: its name for people.
        paper_order: its place in the paper's tables, from 1; 0: it is not in them.
        summary: what the config says of it, in a line.
        dataset_class: the class that reads it, in mmsegmentation or made from the first description that names it.
        in_mmseg: whether mmsegmentation has that class.
        split: what is evaluated, in words.
        classes: the C class names, in index order.
        palette: C colours for display.
        prompts: the class file in configs/.
        prob_thd: the threshold of the config: pixels whose best score is below become background.
        threshold_source: where the threshold, `bg_idx` and `cls_token_lambda` come from; {name} stands for the name.
        bg_idx: the class of uncertain pixels.
        cls_token_lambda: the factor of the [CLS] token.
        variants: the same data with other prompts.
        reduce_zero_label: whether labels on disk are 0 = ignored, 1 to C; otherwise they are 0 to C-1, 255 = ignored.
        images: the images of the download.
        labels: the labels of the download; the first that is there is taken, image by image.
        fields: regular expressions of placeholders; others match anything but "/".
        key: a pair's name, from the placeholders; the stem of what is written.
        examples: values of the placeholders, for samples and messages.
        keys: the pairs that are evaluated; empty: all that are found (or that a split file names).
        split_files: names of text files of the download that list the images, in order of preference.
        labels_alone: whether labels without an image are normal.
        skip: folders (or archives, without their suffix) that are never looked into, in lower case.
        mistakes: downloads that are easily taken for the right one.
        encoding: what label files hold. "index": class indices; "palette": colours; "binary": a mask.
        colours: for palettes: the value on disk of every RGB colour; for indices: of known coloured copies.
        ignored: for indices: values of the download that are not scored, besides `ignore`.
        any_value: for masks: any value but 0 is foreground, not only 128 and above.
        sizes: (height, width) of the published images, some of them if they vary.
        pairs: images of the split before windows are cut; 0 where that is not known.
        windows: how images are cut; None: they stay whole.
        out_images: the folder of images that the config reads, below the data folder.
        out_labels: the same for labels.
        image_suffix: of the images that are written.
        label_suffix: of the labels that are written, after the same stem.
        aliases: folders that other configs read instead: what ours begins with -> what theirs do.
        expected: how many images the split has, windows counted; several where several are in use.
        source: where the download is.
        licence: the terms of use, and who states them unless it is the source itself.
        size: of what `get` tells to download.
        citation: the paper.
        get: how to get the download, in a sentence or two.
        notes: what goes wrong with this set, and other things worth knowing, a sentence each.
        sample: how a small download is drawn.
    """

    name: str
    title: str
    paper_order: int = 0
    summary: str
    dataset_class: str
    in_mmseg: bool = False
    split: str
    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    prompts: str
    prob_thd: float
    threshold_source: str
    bg_idx: int = 0
    cls_token_lambda: float = CLS_TOKEN_LAMBDA
    variants: tuple[Variant, ...] = ()
    reduce_zero_label: bool = False
    images: Files
    labels: tuple[Files, ...]
    fields: Mapping[str, str] = field(default_factory=dict)
    key: str = "{stem}"
    examples: tuple[Mapping[str, str], ...]
    keys: tuple[str, ...] = ()
    split_files: tuple[str, ...] = ()
    labels_alone: bool = False
    skip: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    encoding: Literal["index", "palette", "binary"]
    colours: tuple[tuple[RGB, int], ...] = ()
    ignored: tuple[int, ...] = ()
    any_value: bool = False
    sizes: tuple[tuple[int, int], ...]
    pairs: int = 0
    windows: Windows | None = None
    out_images: str
    out_labels: str
    image_suffix: str = ".png"
    label_suffix: str = ".png"
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expected: tuple[int, ...]
    source: str
    licence: str = LICENCE_UNKNOWN
    size: str = SIZE_UNKNOWN
    citation: str
    get: str
    notes: tuple[str, ...] = ()
    sample: Sample

    @property
    def metric(self) -> str:
        """What papers compare: "mIoU", or "IoU of <class>" for sets of one class and the background."""
        return "mIoU" if len(self.classes) > 2 else f"IoU of {self.classes[1]}"

    @property
    def ignore(self) -> int:
        """The value on disk of pixels that are not scored."""
        return 0 if self.reduce_zero_label else 255

    @property
    def values(self) -> tuple[int, ...]:
        """The C values on disk of the classes, in their order."""
        first = int(self.reduce_zero_label)
        return tuple(range(first, first + len(self.classes)))

    @property
    def folder(self) -> str:
        """What images and labels have in common: the place of the manifest, below the data folder."""
        images, labels = PurePosixPath(self.out_images), PurePosixPath(self.out_labels)
        return next(str(parent) for parent in images.parents if labels.is_relative_to(parent))

    @cached_property
    def lookup(self) -> dict[int, int]:
        """The value on disk of every known colour, packed as 0xRRGGBB."""
        return {(r << 16) | (g << 8) | b: value for (r, g, b), value in self.colours}

    def pattern(self, path: str, types: tuple[str, ...] = ()) -> re.Pattern[str]:
        """A regular expression for the end of a path, for `re.search`; its groups are the placeholders.

        Args:
            path: with placeholders, as `Files.path`.
            types: the suffixes that may follow, in lower case; none: the path has its own.
        """
        seen: set[str] = set()

        def placeholder(name: str) -> str:
            if name in seen:
                return f"(?P={name})"
            seen.add(name)
            return f"(?P<{name}>{self.fields.get(name, '[^/]+')})"

        parts = _PLACEHOLDER.split(path)  # text and names in turn
        body = "".join(placeholder(part) if i % 2 else re.escape(part) for i, part in enumerate(parts))
        suffix = f"(?:{'|'.join(map(re.escape, types))})" if types else ""
        return re.compile(rf"(?:^|/){body}{suffix}\Z", re.IGNORECASE)
