"""Where the training images come from: folders of openly licensed images, and drawn scenes.

A folder with any of these is read (``--data``), each as its publisher packs it:

    dubai/images/image_part_00Pt{T}.jpg, dubai/masks/image_part_00Pt{T}.png
        Humans in the Loop and MBRSC, CC0 1.0:
        kaggle.com/datasets/humansintheloop/semantic-segmentation-of-aerial-imagery
        (there in folders "Tile T"; the parts P of a tile T touch each other, so tiles are kept apart, never parts)
    gsi_road/images/*.png, gsi_road/masks/*.png
        Geospatial Information Authority of Japan (2022), Training image data for road extraction using CNN,
        GSI Technical Paper H1-No.17, Public Data License 1.0
    amazon_forest/images/*.png, amazon_forest/masks/*.png
        Bragagnolo, da Silva, Grzybowski (2021), Amazon Rainforest dataset, CC BY 4.0: doi.org/10.5281/zenodo.4498086
    eurosat100/tif/<Class>/*.tif and eurosat100/splits.tsv (split, class, stem)
        Helber et al., EuroSAT, MIT, from modified Copernicus Sentinel data: github.com/phelber/EuroSAT
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from segearth.errors import UserError
from segearth.synthetic import OBJECTS, draw_scene
from tiny_clip.tasks import COVER, EUROSAT

IGNORE = 255
HELD_OUT_TILES = ("t1", "t4")  # of Dubai: never trained on
POOL_SEEDS = 1000  # first seed of the drawn scenes that are trained on
# Colours of the masks; what else occurs (unlabelled: 9B9B9B and black) is not learned from.
DUBAI_PALETTE = ((0x3C, 0x10, 0x98), (0x84, 0x29, 0xF6), (0x6E, 0xC1, 0xE4), (0xFE, 0xDD, 0x3A), (0xE2, 0xA9, 0x29))
GSI_PALETTE = ((0, 0, 0), (0xFF, 0x78, 0x50))
FOREST_PALETTE = ((0, 0, 0), (255, 255, 255))
SENTINEL_WHITE = 2750  # reflectance times 10,000 that is shown as 255


@dataclass(frozen=True)
class Sample:
    """A labelled image.

    Attributes:
        image: (3, H, W) uint8, RGB in [0, 255].
        labels: (H, W) uint8, of the task's labels, IGNORE where unknown; one constant for whole-image labels.
        source: a key of `TASKS`.
        name: of the file or scene.
    """

    image: Tensor
    labels: Tensor
    source: str
    name: str


def read_folder(folder: Path, held_out: bool = False) -> list[Sample]:
    """All samples of a data folder, in the order of their names.

    Args:
        folder: holds any of the folders above.
        held_out: read what is kept for the evaluation (Dubai's tiles t1 and t4, EuroSAT's test split) instead
            of what is trained on.

    Raises:
        UserError: none of the folders is there, an image lacks its mask, or sizes differ.
    """
    found = [name for name in READERS if (folder / name).is_dir()]
    if not found:
        raise UserError(
            f"{folder} holds no training data: expected a folder {', '.join(READERS)} in it "
            "(see tools/tiny_clip/sources.py); without --data the drawn scenes alone are used"
        )
    return [sample for name in found for sample in READERS[name](folder / name, held_out)]


def read_dubai(folder: Path, held_out: bool = False) -> list[Sample]:
    """Dubai's tiles: t1 and t4 if ``held_out``, else the others."""
    samples = read_pairs(folder, DUBAI_PALETTE)
    return [sample for sample in samples if (sample.name[-2:] in HELD_OUT_TILES) == held_out]


def read_pairs(folder: Path, palette: tuple[tuple[int, int, int], ...]) -> list[Sample]:
    """``images/*`` with ``masks/<stem>.png``, whose colours are labels by their place in ``palette``."""
    samples = []
    for path in sorted((folder / "images").iterdir()):
        mask = folder / "masks" / f"{path.stem}.png"
        if path.suffix.lower() not in (".png", ".jpg"):
            continue
        if not mask.is_file():
            raise UserError(f"{path} has no mask {mask}: copy it there, or move the image away")
        with Image.open(path) as opened:
            image = np.array(opened.convert("RGB"))
        with Image.open(mask) as opened:
            colours = np.array(opened.convert("RGB"))  # never by index: the order of the palettes differs
        if image.shape != colours.shape:
            raise UserError(f"{path} is {image.shape[:2]} and its mask {colours.shape[:2]}: they must be equal")
        labels = np.full(image.shape[:2], IGNORE, np.uint8)
        for label, colour in enumerate(palette):
            labels[(colours == colour).all(axis=-1)] = label
        samples.append(to_sample(image, labels, folder.name, path.stem))
    return samples


def read_eurosat(folder: Path, held_out: bool = False) -> list[Sample]:
    """EuroSAT's chips, bands 4, 3, 2: the test split if ``held_out``, else train and validate."""
    try:
        from tifffile import imread
    except ImportError as error:
        raise UserError(f"{folder} needs tifffile: pip install -r requirements-dev.txt") from error
    with (folder / "splits.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if (row["split"] == "test") == held_out]
    samples = []
    for row in sorted(rows, key=lambda row: row["stem"]):
        bands = imread(folder / "tif" / row["class"] / f"{row['stem']}.tif")  # (64, 64, 13) uint16
        image = np.clip(bands[..., [3, 2, 1]] * (255.0 / SENTINEL_WHITE), 0, 255).astype(np.uint8)
        labels = np.full(image.shape[:2], list(EUROSAT).index(row["class"]), np.uint8)
        samples.append(to_sample(image, labels, "eurosat100", row["stem"]))
    return samples


READERS: dict[str, Callable[[Path, bool], list[Sample]]] = {
    "dubai": read_dubai,
    "gsi_road": lambda folder, held_out: [] if held_out else read_pairs(folder, GSI_PALETTE),
    "amazon_forest": lambda folder, held_out: [] if held_out else read_pairs(folder, FOREST_PALETTE),
    "eurosat100": read_eurosat,
}


def draw_samples(seeds: Iterable[int], size: int, workers: int) -> list[Sample]:
    """Draws square scenes of ``size`` pixels, in ``workers`` processes; 0 for none."""
    if not workers:
        return [_draw(seed, size) for seed in seeds]
    with ProcessPoolExecutor(workers) as executor:
        return [to_sample(*arrays) for arrays in executor.map(partial(_draw_arrays, size=size), seeds)]


def _draw(seed: int, size: int) -> Sample:
    return to_sample(*_draw_arrays(seed, size))


def _draw_arrays(seed: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str, str]:
    """A scene as arrays, because tensors do not travel well between processes."""
    scene = draw_scene(seed, size, size)
    labels = scene.labels.copy()
    labels[scene.objects == OBJECTS.index("car") + 1] = len(COVER) - 1
    return scene.image, labels, "drawn", f"scene {seed}"


def to_sample(image: NDArray[np.uint8], labels: NDArray[np.uint8], source: str, name: str) -> Sample:
    """Wraps (H, W, 3) and (H, W) arrays."""
    channels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return Sample(channels, torch.from_numpy(labels), source, name)
