"""Crops of the images in folders, for training: the crop of a sample depends on its number alone.

No labels are needed, and files that cannot be used are left out, each with one sentence that says why.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segearth.errors import UserError, UserNotice, option
from segearth.images import check_image, read_image
from segearth.images.files import SUFFIXES
from segearth.training.simfeatup.draws import Purpose, key

# SimFeatUp is trained with ImageNet's mean and standard deviation of RGB in [0, 1], not with CLIP's.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LEAST_SHARE = 4  # an image whose short side is under a quarter of the crop would show little but its own mirrors


class Sample(NamedTuple):
    """A crop, and the files that could not be read for it.

    Attributes:
        image: (3, crop, crop) float32, normalised.
        left_out: file -> why, for the files that were to be used in its place but could not be read.
    """

    image: Tensor
    left_out: dict[str, str]


def find_images(folders: Sequence[Path], exclude: Sequence[str] = (), warn: bool = True) -> list[Path]:
    """Finds the image files in some folders and in their subfolders, sorted by name.

    Args:
        folders: where to look.
        exclude: patterns as the shell's (``*`` stands for ``/`` as well) of files and folders below a folder that are
            passed over, such as "masks" (at any depth) or "*_test.png". One that fits nothing is warned of.
        warn: whether to.

    Raises:
        UserError: no such folder, or no such file in one.
    """
    check_folders(folders)
    fitting: set[str] = set()
    paths = [path for folder in folders for path in _find_images(folder, exclude, fitting)]
    for pattern in exclude:
        if warn and pattern not in fitting:
            warnings.warn(f"{option('exclude', pattern)} fits no image that was found", UserNotice, stacklevel=2)
    return paths


def check_folders(folders: Sequence[Path]) -> None:
    """Refuses paths that are not folders.

    Raises:
        UserError: a path is a file or does not exist.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"the folder of images {folder} {'is a file' if folder.exists() else 'does not exist'}: "
                "give the path of a folder with images in it"
            )


def _find_images(folder: Path, exclude: Sequence[str], fitting: set[str]) -> list[Path]:
    """Those of one folder; adds to `fitting` the patterns that left something out."""
    paths = sorted(path for path in _walk(folder) if path.suffix.lower() in SUFFIXES and path.is_file())
    kept = []
    for path in paths:
        inner = path.relative_to(folder)
        names = {*inner.parts, *(part.as_posix() for part in (inner, *inner.parents[:-1]))}
        plain = {pattern: pattern.removeprefix("./").rstrip("/") for pattern in exclude}
        fit = [pattern for pattern in exclude if any(fnmatchcase(name, plain[pattern]) for name in names)]
        fitting.update(fit)
        if not fit:
            kept.append(path)
    if not kept:
        reason = f"{len(paths)} were found and all of them excluded" if paths else "it holds none"
        raise UserError(
            f"no images in {folder} ({reason}): expected files such as .png, .jpg or .tif, in it or in folders in it; "
            "give the folder that holds them"
        )
    return kept


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, hidden ones left out; links are followed, once where they lead to the same folder."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def usable_images(paths: list[Path], crop: int) -> tuple[list[Path], dict[str, str]]:
    """Reads the headers of image files, and leaves out those that cannot be used.

    Args:
        paths: image files.
        crop: side of the crops in pixels.

    Returns:
        The usable ones, and for each of the others why it is left out.
    """
    usable, left_out = [], {}
    for path in paths:
        reason = _flaw(path, crop)
        if reason is None:
            usable.append(path)
        else:
            left_out[str(path)] = reason
    return usable, left_out


def _flaw(path: Path, crop: int) -> str | None:
    """The reason why a file cannot be used, as its header shows it; None where there is none."""
    try:
        height, width = check_image(path)
    except UserError as error:
        return str(error)
    if min(height, width) * LEAST_SHARE >= crop:
        return None
    return (
        f"the image {path} has {width} × {height} pixels: expected at least {-(-crop // LEAST_SHARE)} a side for crops "
        f"of {crop}; use a larger image or a smaller {option('crop')}"
    )


class Crops(Dataset[Sample]):
    """Crops by sample number; every image is used once before any is used again."""

    def __init__(self, paths: list[Path], crop: int, seed: int) -> None:
        """Takes the images.

        Args:
            paths: usable image files.
            crop: side of the crops in pixels.
            seed: the run's.
        """
        self.paths, self.crop, self.seed = paths, crop, seed
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Sample:
        """The crop of a sample, counted over the whole training from 0; without pixels if no image can be read."""
        place, left_out = self.index(number), {}
        for distance in range(len(self.paths)):
            path = self.paths[(place + distance) % len(self.paths)]  # where one cannot be read, the next one
            try:
                pixels, _ = read_image(path)
            except UserError as error:
                left_out[str(path)] = str(error)
                continue
            return Sample(normalise_imagenet(cut(pixels, self.crop, key(self.seed, Purpose.CROP, number))), left_out)
        return Sample(torch.empty(0), left_out)

    def index(self, number: int) -> int:
        """Which image a sample is from: a new random order for each pass over the folder."""
        epoch, place = divmod(number, len(self.paths))
        if self._order is None or self._order[0] != epoch:
            order = np.random.default_rng(key(self.seed, Purpose.ORDER, epoch)).permutation(len(self.paths))
            self._order = (epoch, order)
        return int(self._order[1][place])


def cut(pixels: NDArray[np.uint8], crop: int, seed: int) -> NDArray[np.uint8]:
    """A random crop (crop, crop, 3) of an image (H, W, 3), reflect-padded on all sides where it is smaller."""
    missing = [max(0, crop - side) for side in pixels.shape[:2]]
    if any(missing):
        before = [lack // 2 for lack in missing]
        padding = [(b, lack - b) for b, lack in zip(before, missing, strict=True)]
        pixels = np.pad(pixels, [*padding, (0, 0)], mode="reflect")
    rng = np.random.default_rng(seed)
    top, left = (int(rng.integers(side - crop + 1)) for side in pixels.shape[:2])
    return pixels[top : top + crop, left : left + crop]


def normalise_imagenet(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32, minus ImageNet's mean, divided by its standard deviation."""
    image = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((image - mean) / std).contiguous()


class Batch(NamedTuple):
    """The images of a step, or this process's part of them.

    Attributes:
        step: number of the step.
        samples: number of each image in the step's batch, by which its random draws are keyed.
        images: (n, 3, crop, crop), normalised.
        total: images of the step in all processes; losses are means over all of them.
        left_out: file -> why, for the files that could not be read.
    """

    step: int
    samples: list[int]
    images: Tensor
    total: int
    left_out: dict[str, str] = {}  # noqa: RUF012  (never changed)


def batches(
    crops: Crops, batch: int, steps: range, rank: int, ranks: int, workers: int, pinned: bool = False
) -> Iterator[Batch]:
    """Yields this process's part of each step's batch.

    Args:
        crops: the samples.
        batch: images of a step in all processes.
        steps: numbers of the steps.
        rank: which process this is.
        ranks: how many there are; each takes every `ranks`-th image.
        workers: processes that read images ahead of time; 0 for none.
        pinned: whether the images are put where a CUDA device reads them by itself, so that copying them needs no wait.

    Raises:
        UserError: none of the images can be read.
    """
    places = list(range(rank, batch, ranks))
    loader: DataLoader[Sample] = DataLoader(
        crops,
        batch_sampler=[[step * batch + place for place in places] for step in steps],
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pinned,
    )
    for step, (images, left_out) in zip(steps, loader, strict=True):
        if not images.numel():  # raised here and not where they are read, which may be another process
            raise UserError(
                f"none of the {len(crops)} images can be read; the first one: {next(iter(left_out.values()))}"
            )
        yield Batch(step, places, images, batch, left_out)


def _collate(samples: list[Sample]) -> tuple[Tensor, dict[str, str]]:
    left_out = {path: why for sample in samples for path, why in sample.left_out.items()}
    return torch.stack([sample.image for sample in samples]), left_out
