"""How good the small CLIP is, on images that it never saw: methods, names, and a floor to stand above."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from segearth.checkpoints import read_notes
from segearth.loading import load_tokenizer, read_upsampler
from segearth.metrics import boundary_counts, boundary_iou, confusion_matrix, iou_per_class
from segearth.models import Bilinear, DenseCLIP, SegEarth, encode_text
from segearth.models.attention import METHODS
from segearth.paper.table_rows import TableRow
from segearth.predictor import Predictor
from segearth.synthetic import CLASSES, DEMO_SEED, draw_scene
from segearth.transfer import normalise
from segearth.vocabulary import Vocabulary
from tiny_clip import ablation
from tiny_clip.sources import Sample, read_folder
from tiny_clip.tasks import EUROSAT, UNSEEN

HELD_OUT_SCENES = (2, 3, 4, 5)  # drawn, none of them trained on
DUBAI_CLASSES = (("building",), ("unpaved land", "bare land"), ("road",), ("vegetation",), ("water",))
LOVEDA_CLASSES = (  # the prompts of configs/cls_loveda.txt
    ("background",), ("building", "roof", "house"), ("road",), ("water",), ("barren",), ("forest",), ("agricultural",),
)  # fmt: skip
# What LAND_COVER's classes are called there, for the colour classifier.
LOVEDA_OF_COVER = (4, 0, 2, 2, 5, 3, 6, 1)
DUBAI_OF_UNSEEN = {"dirt": 1, "lawn": 3, "meadow": 3, "street": 2, "woodland": 3, "lake": 4, "pond": 4, "dwelling": 0}
BILINEAR = Bilinear()
BINS = 16  # of each colour channel, for the colour classifier
# In pixels. 448 is the paper's; Dubai's tiles are mapped at 896, because they are 800 to 1100 pixels long, and at
# 448 a street there is narrower than a patch.
LONG_SIDES = (448, 896, 1344)


@dataclass(frozen=True)
class Truth:
    """Images with their label maps, and the names to look for.

    Attributes:
        name: of the set.
        images: (H, W, 3) uint8 each.
        labels: (H, W) uint8 each, IGNORE where unknown.
        classes: the names of each class.
        prob_thd: as in the set's configuration.
        source: the training images that the colour classifier learns from.
        called: what each of their labels is called here; None for the same.
        long_sides: in pixels, the one at which maps are made and others for comparison.
    """

    name: str
    images: list[NDArray[np.uint8]]
    labels: list[NDArray[np.uint8]]
    classes: tuple[tuple[str, ...], ...]
    prob_thd: float = 0.0
    source: str = "drawn"
    called: tuple[int, ...] | None = None
    long_sides: tuple[int, ...] = LONG_SIDES


@dataclass(frozen=True)
class Score:
    """Of one way to make maps on one set: IoU and Boundary IoU of each class, from 0 to 1."""

    iou: NDArray[np.float64]
    boundary: NDArray[np.float64]

    @property
    def miou(self) -> float:
        """Mean IoU of the classes that occur."""
        return float(np.nanmean(self.iou))

    @property
    def mean_boundary(self) -> float:
        """Mean Boundary IoU of the classes that occur."""
        return float(np.nanmean(self.boundary))


@dataclass
class Evaluation:
    """All that was measured, by set: the grid of methods, the floor, the names, the whole images, the ablation.

    `upsampler` is the one that all is measured with where no other is named, "bilinear" or "SimFeatUp".
    """

    sets: list[Truth]
    upsampler: str = "bilinear"
    grid: dict[str, dict[tuple[str, str, float], Score]] = field(default_factory=dict)
    floor: dict[str, dict[str, Score]] = field(default_factory=dict)
    sides: dict[str, list[Score]] = field(default_factory=dict)
    unseen: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    all_unseen: dict[str, tuple[float, float]] = field(default_factory=dict)
    eurosat: tuple[int, int] | None = None
    ablation: dict[str, list[list[Score]]] = field(default_factory=dict)
    start: dict[str, list[Score]] = field(default_factory=dict)  # of SimFeatUp before it is trained, for its seeds
    stack: dict[str, list[Score]] = field(default_factory=dict)  # of the stack with SimFeatUp's [CLS] subtraction
    random: dict[str, list[Score]] = field(default_factory=dict)  # of SimFeatUp that began at random
    random_steps: str = ""

    def default(self, name: str) -> Score:
        """Of the maps that a user gets: the method of the paper, at the set's own long side."""
        return self.grid[name]["SegEarth", self.upsampler, -0.3]


def held_out_sets(data: Path | None, samples: Path | None, size: int = 1024) -> list[Truth]:
    """The drawn scenes, Dubai's tiles t1 and t4 where ``data`` has them, LoveDA where ``samples`` has it."""
    scenes = [draw_scene(seed, size, size) for seed in (DEMO_SEED, *HELD_OUT_SCENES)]
    images, labels = [scene.image for scene in scenes], [scene.labels for scene in scenes]
    sets = [
        Truth("demo scene", images[:1], labels[:1], CLASSES, long_sides=LONG_SIDES),
        Truth("drawn scenes", images[1:], labels[1:], CLASSES, long_sides=LONG_SIDES),
    ]
    tiles = [] if data is None else [s for s in read_folder(data, held_out=True) if s.source == "dubai"]
    if tiles:
        images, labels = (
            [tile.image.permute(1, 2, 0).numpy() for tile in tiles],
            [tile.labels.numpy() for tile in tiles],
        )
        sides = LONG_SIDES[1], LONG_SIDES[0], LONG_SIDES[2]
        sets.append(Truth("Dubai t1, t4", images, labels, DUBAI_CLASSES, source="dubai", long_sides=sides))
    if samples is not None:
        images, labels = [], []
        for path in sorted((samples / "LoveDA" / "img_dir" / "val").glob("*.png")):
            with Image.open(path) as image, Image.open(samples / "LoveDA" / "ann_dir" / "val" / path.name) as label:
                images.append(np.array(image.convert("RGB")))
                labels.append(np.array(label) - np.uint8(1))  # 0, no data, becomes 255
        sets.append(
            Truth(
                "LoveDA, two pairs", images, labels, LOVEDA_CLASSES, 0.3, called=LOVEDA_OF_COVER, long_sides=LONG_SIDES
            )
        )
    return sets


def measure(truth: Truth, mapper: Callable[[NDArray[np.uint8]], NDArray[np.integer]]) -> Score:
    """Scores the maps that a function makes of a set's images."""
    count = len(truth.classes)
    confusion, bands = np.zeros((count, count), np.int64), np.zeros((count, 2), np.int64)
    for image, labels in zip(truth.images, truth.labels, strict=True):
        found = mapper(image)
        confusion += confusion_matrix(found, labels, count)
        bands += boundary_counts(found, labels, count)
    return Score(iou_per_class(confusion), boundary_iou(bands))


def mapper(
    clip: nn.Module,
    truth: Truth,
    method: str = "SegEarth",
    upsampler: nn.Module | None = BILINEAR,
    factor: float = -0.3,
    classes: tuple[tuple[str, ...], ...] | None = None,
    long_side: int | None = None,
) -> Callable[[NDArray[np.uint8]], NDArray[np.integer]]:
    """Maps images as a user's `Predictor` does, with a set's names, threshold and long side or with others."""
    vocabulary = Vocabulary(classes or truth.classes)
    queries = encode_text(clip, load_tokenizer(77), vocabulary)
    dense = DenseCLIP(clip, method, ignore_residual=method != "vanilla")
    columns = torch.tensor(vocabulary.query_to_class)
    model = SegEarth(dense, queries, columns, upsampler=upsampler, cls_token_lambda=factor, prob_thd=truth.prob_thd)
    predictor = Predictor(model, vocabulary)
    return lambda image: predictor.predict(image, long_side or truth.long_sides[0]).labels


def evaluate(
    clip: nn.Module,
    sets: list[Truth],
    training: list[Sample],
    eurosat: list[Sample],
    simfeatup: nn.Module | None = None,
    upsamplers: Path | None = None,
) -> Evaluation:
    """Measures everything.

    Args:
        clip: the `open_clip.CLIP`.
        sets: from `held_out_sets`.
        training: what the colour classifier learns from.
        eurosat: whole images to name.
        simfeatup: the CLIP's own upsampler; None for bilinear upsampling.
        upsamplers: folder of the ablation's upsamplers, see `ablation`.
    """
    modules: dict[str, nn.Module | None] = {"none": None, "bilinear": BILINEAR}
    if simfeatup is not None:
        modules["SimFeatUp"] = simfeatup
    *_, (default, own) = modules.items()
    report = Evaluation(sets, default)
    for truth in sets:
        report.grid[truth.name] = {
            (method, upsampler, factor): measure(truth, mapper(clip, truth, method, module, factor))
            for method in METHODS
            for upsampler, module in modules.items()
            if method == "SegEarth" or upsampler != "SimFeatUp"  # which was trained on SegEarth's features
            for factor in ((0.0, -0.3) if METHODS[method].has_cls else (0.0,))
        }
        report.sides[truth.name] = [
            measure(truth, mapper(clip, truth, upsampler=own, long_side=side)) for side in truth.long_sides[1:]
        ]
        print(f"{truth.name}: mIoU {report.default(truth.name).miou:.3f}", flush=True)
        if pixels := [sample for sample in training if sample.source == truth.source]:
            called = np.array(truth.called or range(len(truth.classes)))
            report.floor[truth.name] = {
                name: measure(truth, colour_classifier(pixels, called, balanced))
                for name, balanced in (("colour, most frequent", False), ("colour, balanced", True))
            }
    for truth in sets:
        if truth.classes in (CLASSES, DUBAI_CLASSES) and truth.name != "demo scene":
            measure_names(clip, truth, report)
    if upsamplers is not None:
        seeds = range(len(ablation.files(upsamplers, ablation.STEPS[-1])))
        starts = [ablation.untrained(DenseCLIP(clip), seed) for seed in seeds]
        paths = ablation.seeds(upsamplers, ablation.RANDOM)
        report.random_steps = ", ".join(sorted({read_notes(path).get("steps", "?") for path in paths}))
        randoms = [read_upsampler(path) for path in paths]
        for truth in sets[1:]:  # the demo scene is one of the drawn ones
            report.ablation[truth.name] = [ablate(clip, truth, upsamplers, step) for step in ablation.STEPS]
            for found, several in ((report.start, starts), (report.random, randoms)):
                found[truth.name] = [measure(truth, mapper(clip, truth, upsampler=one)) for one in several]
            report.stack[truth.name] = ablate(clip, truth, upsamplers, ablation.FIRST, share=-0.3)
    if eurosat:
        report.eurosat = name_whole_images(clip, eurosat), len(eurosat)
    return report


def ablate(clip: nn.Module, truth: Truth, folder: Path, step: TableRow, share: float | None = None) -> list[Score]:
    """The scores of one of `ablation.STEPS`, one a seed; with another factor of the [CLS] token's share if given."""
    paths = ablation.files(folder, step)
    modules = [BILINEAR] if step is ablation.BASELINE else [read_upsampler(path) for path in paths]
    share = ablation.factor(step) if share is None else share
    return [measure(truth, mapper(clip, truth, upsampler=module, factor=share)) for module in modules]


def measure_names(clip: nn.Module, truth: Truth, report: Evaluation) -> None:
    """Replaces the names of a class by one that was never paired with an image, one at a time, then all.

    With bilinear upsampling: names are the text tower's affair.
    """
    names = [each[0] for each in CLASSES]
    places = {word: names.index(cover) for word, cover in UNSEEN.items()}
    if truth.classes is DUBAI_CLASSES:
        places = DUBAI_OF_UNSEEN
    trained = report.grid[truth.name]["SegEarth", "bilinear", -0.3]
    report.unseen[truth.name] = {}
    for word, place in places.items():
        classes = tuple((word,) if i == place else its for i, its in enumerate(truth.classes))
        score = measure(truth, mapper(clip, truth, classes=classes))
        report.unseen[truth.name][word] = float(score.iou[place]), float(trained.iou[place])
    everything = tuple(
        tuple(word for word, place in places.items() if place == i) or its for i, its in enumerate(truth.classes)
    )
    report.all_unseen[truth.name] = measure(truth, mapper(clip, truth, classes=everything)).miou, trained.miou


def colour_classifier(
    samples: list[Sample], called: NDArray[np.integer], balanced: bool
) -> Callable[[NDArray[np.uint8]], NDArray[np.integer]]:
    """A map from nothing but each pixel's own colour: the class most often seen with it in training.

    Args:
        samples: labelled images.
        called: what each label is called in the answer; labels beyond are passed over.
        balanced: every class counts as much as every other, instead of every pixel.
    """
    count = len(called)
    histogram = np.zeros((BINS**3, count))
    for sample in samples:
        labels = sample.labels.numpy().ravel()
        known = labels < count
        code = colour_code(sample.image.permute(1, 2, 0).numpy()).ravel()[known] * count + labels[known]
        histogram += np.bincount(code, minlength=histogram.size).reshape(histogram.shape)
    if balanced:
        histogram = histogram / histogram.sum(axis=0).clip(min=1)
    best = called[histogram.argmax(axis=1)]
    return lambda image: best[colour_code(image)]


def colour_code(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(H, W, 3) uint8 to the number of the colour's bin, (H, W)."""
    bins = image.astype(np.int64) * BINS // 256
    return (bins[..., 0] * BINS + bins[..., 1]) * BINS + bins[..., 2]


@torch.no_grad()
def name_whole_images(clip: nn.Module, samples: list[Sample]) -> int:
    """How many of EuroSAT's chips CLIP's own zero-shot classification names right."""
    queries = encode_text(clip, load_tokenizer(77), Vocabulary(tuple((names[0],) for names in EUROSAT.values())))
    right = 0
    for sample in samples:
        image = F.interpolate(sample.image[None].float(), size=224, mode="bilinear")
        embedding: Tensor = clip.encode_image(normalise(image))  # type: ignore[operator]
        right += int((embedding @ queries.T).argmax() == int(sample.labels[0, 0]))
    return right
