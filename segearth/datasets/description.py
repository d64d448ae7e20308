"""The description of a data set: its classes, the files of its download, and the files that are made of them."""

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
        types: possible suffixes in lower case, the published one first; compared without regard to case.
        published: the published suffix where it is not `types[0]`, such as ".JPG".
        note: what the user should know if these files are used, for labels that are not the first choice.
        bands: number of bands of the images. Red, green and blue are the first three of more than four bands.
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
    """A download that users often give by mistake.

    Attributes:
        path: the end of a path by which it is recognised, with placeholders as in `Files.path` and with the suffix.
        advice: a sentence: what this download is, and what to give instead.
    """

    path: str
    advice: str


@dataclass(frozen=True)
class Windows:
    """The windows into which large images are cut.

    Attributes:
        size: (height, width) in pixels; smaller images are padded at the bottom and the right.
        stride: (height, width) in pixels.
        name: name of a window's files without suffix, from {key}, {top}, {bottom}, {left}, {right} (ends excluded).
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    name: str


X_FIRST = "{key}_{left}_{top}_{right}_{bottom}"
Y_FIRST = "{key}_{top}_{bottom}_{left}_{right}"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The same data with other prompts, in a config that builds on the set's own.

    Attributes:
        name: the name of the config without `cfg_`.
        summary: the first line of the config.
        about: further sentences of the config.
        prompts: the class file in configs/.
        source: where the prompts come from.
    """

    name: str
    summary: str
    about: str
    prompts: str
    source: str


@dataclass(frozen=True)
class ExtraPair:
    """A small image with its labels in a drawn download that is not in the split.

    Attributes:
        values: the values of the placeholders in its paths.
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
        content: its bytes, or the name of a drawing (`segearth.datasets.samples.extras`).
        replace: a part of the path, and what stands there instead.
    """

    archive: str
    path: str
    content: bytes | Content
    replace: tuple[str, str] = ("", "")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How a small download of a set is drawn, from the scenes of `segearth.synthetic`.

    Attributes:
        land: the set's class for each land cover of a drawn scene and for "car"; "rest" is the class of the land covers
            that are not named, by default the first class. Empty for sets with one class and the background, whose
            name is a land cover.
        zoom: pixels of an image to one of the scene, which stands for 0.25 m.
        corner: whether a corner of the first image has no data.
        stray_colours: whether the second label has pixels of colours that are no class.
        infrared: whether bands are infrared, red and green.
        modes: Pillow's modes of the first images ("L", "RGBA"); further images are RGB.
        extras: other files in the download, which a preparation has to ignore.
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
        dataset_class: the name of the class that reads it. Sets with the same name share the class.
        in_mmseg: whether the class is mmsegmentation's own; otherwise it is made from the first description.
        split: the part that is evaluated, in words.
        classes: the C class names, in index order.
        palette: the C colours for display.
        prompts: the class file in configs/.
        prob_thd: the threshold of the config: pixels whose best score is below become background.
        threshold_source: where the threshold, `bg_idx` and `cls_token_lambda` come from; {name} stands for the name.
        bg_idx: the class of uncertain pixels.
        cls_token_lambda: the factor of the [CLS] token.
        variants: the same data with other prompts.
        reduce_zero_label: whether labels on disk are 0 = ignored, 1 to C; otherwise they are 0 to C-1, 255 = ignored.
        images: the images of the download.
        labels: the labels of the download in order of preference; each image has the first that exists for it.
        fields: regular expressions of placeholders; a placeholder without one matches anything but "/".
        key: the name of a pair, made from the placeholders; the files that are written have it as their stem.
        examples: values of the placeholders for some images, used by samples and messages.
        keys: the pairs that are evaluated; empty: all pairs of the download, or those in a split file.
        split_files: names of text files of the download that list the images, in order of preference.
        labels_alone: whether the download has labels without an image.
        skip: folders, and archives without their suffix, that are not searched; in lower case.
        mistakes: downloads that users often give by mistake.
        encoding: the content of label files. "index": class indices; "palette": colours; "binary": a mask.
        colours: for palettes: the value on disk of every RGB colour; for indices: of known coloured copies.
        ignored: for indices: values of the download that are not scored, besides `ignore`.
        any_value: for masks: any value but 0 is foreground, not only 128 and above.
        sizes: (height, width) of the published images; some examples if they vary.
        pairs: number of images of the split before windows are cut; 0 if it is not known.
        windows: the windows into which images are cut; None: images stay whole.
        out_images: the folder of images that the config reads, relative to the data folder.
        out_labels: the folder of labels that the config reads, relative to the data folder.
        image_suffix: suffix of the images that are written.
        label_suffix: suffix of the labels that are written, after the stem of the image.
        aliases: folders that other people's configs read: the beginning of our folder -> the beginnings of theirs.
        expected: numbers of images that the split may have, windows counted.
        source: where the download is.
        licence: the terms of use, and who states them if it is not the source.
        size: size of the files that `get` says to download.
        citation: the paper.
        get: how to get the download, in one or two sentences.
        notes: known problems of this set and other things to know, a sentence each.
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
        """The figure that papers compare: "mIoU", or "IoU of <class>" for sets with one class and the background."""
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
        """The folder that has the images and the labels in it, relative to the data folder; the manifest is there."""
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
