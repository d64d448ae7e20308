"""The record of a run: what was evaluated, how, and what came out.

It is a row of results.json. Its dataclasses are the schema: everything else (workbooks, csv, Markdown, HTML) is made
from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from segearth import typed_json
from segearth.typed_json import entry

VERSION = 1  # of the schema; rows of segearth before 0.2 have none, and the same keys


def percent(part: int, whole: int) -> float | None:
    """100 · part / whole, to 4 decimals; None for 0 / 0."""
    return round(100 * part / whole, 4) if whole else None


def finite(value: float) -> float | None:
    """A number that JSON can hold, to 2 decimals as mmsegmentation rounds; None for NaN."""
    return None if math.isnan(value) else round(float(value), 2)


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """One class over all images of a run; pixels that the labels ignore are left out.

    Attributes:
        name: of the class.
        iou: intersection over union in percent; None for a class that is nowhere.
        accuracy: share of the class's pixels that were found, in percent; None where the labels lack it.
        intersection: pixels, as the next three.
        union: of prediction and label.
        prediction_pixels: predicted as this class.
        label_pixels: labelled as this class.
    """

    name: str
    iou: float | None = entry("IoU")
    accuracy: float | None = entry("Acc")
    intersection: int
    union: int
    prediction_pixels: int
    label_pixels: int

    @classmethod
    def from_counts(
        cls, name: str, intersection: int, union: int, prediction_pixels: int, label_pixels: int
    ) -> ClassResult:
        """The figures of a class from its pixels."""
        return cls(
            name=name,
            iou=percent(intersection, union),
            accuracy=percent(intersection, label_pixels),
            intersection=intersection,
            union=union,
            prediction_pixels=prediction_pixels,
            label_pixels=label_pixels,
        )


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """What `segearth prepare` noted about the images of a data set, see `segearth.datasets.prepare`."""

    name: str | None = None
    complete: bool | None = None
    images: int | None = None
    expected: Any = None
    warnings: Any = None


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A file of weights."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RunWeights:
    """The weights of a run; None where none were used."""

    clip: WeightFile | None = None
    upsampler: WeightFile | None = None


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """What was searched for.

    Attributes:
        file: the class file.
        classes: C prompts, synonyms between commas.
        thresholds: of the classes, where the file sets them; they come from labels, as a rule.
        scales: likewise.
    """

    file: str | None = None
    classes: tuple[str, ...] = ()
    thresholds: tuple[float | None, ...] | None = entry("thresholds", default=None, omitted=True)
    scales: tuple[float, ...] | None = entry("scales", default=None, omitted=True)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of an evaluation.

    Attributes:
        version: of the schema; None: written before it had one.
        clip: family of the CLIP, such as "CLIP".
        vit: its architecture as configs name it.
        method: `model_type` of the config.
        dataset: class of the data set.
        aacc: share of pixels that are right, in percent; None where there is none, as for the next three.
        miou: mean IoU over all classes, in percent.
        macc: mean accuracy over all classes, in percent.
        foreground_iou: IoU of the class that is not the background, of two classes.
        per_class: C results, in index order.
        images: that were evaluated.
        data: of the prepared data set; None where others prepared it.
        model: name of the model.
        architecture: of its CLIP.
        upsampler: its kind and file; None for none.
        weights: files and their hashes.
        settings: of the model: prob_thd, bg_idx, cls_token_lambda and others.
        config: path of the config file.
        scale: the size that images are resized to fit into, (width, height); None where they keep theirs.
        prompts: what was searched for.
        device: where it ran.
        versions: of packages.
        commit: of this code.
        date: UTC, ISO 8601, when the run was finished.
        about: what the model is not, such as OpenAI's CLIP.
        remarks: what the labels make of these figures, a sentence each.
        seconds: that the run took.
        seconds_per_image: of one process.
        processes: that shared the images.
        resumed: images that an earlier run had finished.
        fingerprint: of all that decides the counts but the images.
        listing: digest of the images.
        limit: only so many images were asked for.
        available: images of the data set.
        options: changes to the config, "key=value" each.
        pictures: files of pictures, below the folder for them.
    """

    version: int | None = None
    clip: str = entry("CLIP", default="")
    vit: str = entry("VIT", default="")
    method: str = entry("MODEL")
    dataset: str = entry("Dataset", default="")
    aacc: float | None = entry("aAcc")
    miou: float | None = entry("mIoU")
    macc: float | None = entry("mAcc")
    foreground_iou: float | None = entry("IoU_fg")
    per_class: tuple[ClassResult, ...] = entry("per_class", noun="a class")
    images: int
    data: PreparedData | None = None
    model: str
    architecture: str | None = None
    upsampler: str | None
    weights: RunWeights = field(default_factory=RunWeights)
    settings: dict[str, Any]
    config: str
    scale: tuple[float, ...] | None = None
    prompts: Prompts
    device: str
    versions: dict[str, Any]
    commit: str | None = None
    date: str
    about: str | None = entry("about", default=None, omitted=True)
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
    seconds_per_image: float | None = None
    processes: int | None = None
    resumed: int = 0
    fingerprint: str | None = None
    listing: str | None = None
    limit: int | None = None
    available: int | None = None
    options: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, row: object) -> Run:
        """Reads a row of results.json.

        Raises:
            ValueError: somebody edited it, or a newer segearth wrote it; the message is the end of a sentence.
        """
        run = typed_json.from_json(cls, row)
        if run.version is not None and run.version > VERSION:
            raise ValueError(f"has version {run.version}, newer than the {VERSION} of this segearth")
        if len(run.prompts.classes) != len(run.per_class):
            raise ValueError(f"has not one prompt for each of its {len(run.per_class)} classes")
        return run

    def to_json(self) -> dict[str, Any]:
        """A row of results.json."""
        row: dict[str, Any] = typed_json.to_json(self)
        return row | {"version": VERSION}

    @property
    def is_zero_shot(self) -> bool:
        """Whether no class had a threshold or a scale of its own: such come from labels, as a rule."""
        return self.prompts.thresholds is None and self.prompts.scales is None

    @property
    def warnings(self) -> list[str]:
        """What a reader of the figures should know about labels: the run's remarks, and whether labels went in."""
        tuned = (
            f"{self.prompts.file} sets thresholds and scales of classes, as calibration on labels gives them: not a "
            "zero-shot result"
        )
        return [*self.remarks, *([] if self.is_zero_shot else [tuned])]


def foreground_iou(per_class: tuple[ClassResult, ...], background: int) -> float | None:
    """IoU of the foreground in percent, where there are two classes.

    Args:
        per_class: C results.
        background: index of the class that is not the foreground.
    """
    return per_class[1 - background].iou if len(per_class) == 2 else None
