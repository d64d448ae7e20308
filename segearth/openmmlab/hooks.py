"""What the test loop does on the side: a progress bar, and pictures of the predictions."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from tqdm import tqdm

from segearth.images import read_image
from segearth.outputs import atomic
from segearth.pictures import side_by_side


class ProgressHook(Hook):  # type: ignore[misc]
    """A bar on stderr, an image a step; in a file or a pipe, a line every half minute.

    Args:
        images: of the data set.
        done: of them, by an earlier run.
        ranks: how many processes work on it, at about the same pace.
    """

    def __init__(self, images: int, done: int, ranks: int) -> None:
        self.ranks = ranks
        self.bar = tqdm(
            total=images,
            initial=done,
            desc="images",
            unit="image",
            file=sys.stderr,
            mininterval=0.1 if sys.stderr.isatty() else 30,
        )

    def after_test_iter(
        self,
        runner: Any,  # noqa: ARG002 (of the base, like the next ones)
        batch_idx: int,  # noqa: ARG002
        data_batch: Any = None,  # noqa: ARG002
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Counts the batch and those of the other processes."""
        self.bar.update(min(len(outputs or ()) * self.ranks, int(self.bar.total) - self.bar.n))

    def close(self) -> None:
        """Ends the bar, however the loop ended."""
        self.bar.close()


class PicturesHook(Hook):  # type: ignore[misc]
    """Saves predictions as pictures: image, label and prediction side by side, and a legend.

    Args:
        folder: an existing folder.
        wanted: paths of the images, and the file name of each one's picture.
        names: of the classes.
        palette: C RGB colours.
        note: a last line of the legend.
    """

    def __init__(
        self, folder: Path, wanted: dict[str, str], names: Sequence[str], palette: Sequence[Sequence[int]], note: str
    ) -> None:
        self.folder, self.wanted, self.names, self.note = folder, wanted, names, note
        self.palette = np.array(palette, np.uint8)

    def after_test_iter(
        self,
        runner: Any,  # noqa: ARG002 (of the base, like the next ones)
        batch_idx: int,  # noqa: ARG002
        data_batch: Any = None,  # noqa: ARG002
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Saves the batch's pictures, each of them whole or not at all."""
        for sample in outputs or ():
            if (name := self.wanted.get(sample.img_path)) is None:
                continue
            pixels, _ = read_image(sample.img_path)
            maps = {
                title: data.data[0].cpu().numpy()
                for title, data in (("label", sample.gt_sem_seg), ("prediction", sample.pred_sem_seg))
            }
            picture = side_by_side(pixels, maps, self.names, self.palette, self.note)
            with atomic(self.folder / name) as part:
                picture.save(part)


def picture_names(images: Sequence[str], folder: str, only: int | None) -> dict[str, str]:
    """Paths of images -> file names of their pictures.

    Args:
        images: paths, in the order of the data set.
        folder: of the images; pictures of those in subfolders have "_" in their names.
        only: how many, spread evenly; None: all.
    """
    count = len(images) if only is None else min(only, len(images))
    chosen = [images[(2 * i + 1) * len(images) // (2 * count)] for i in range(count)]
    return {image: f"{'_'.join(_relative(Path(image), Path(folder)).with_suffix('').parts)}.png" for image in chosen}


def missing(folder: Path, names: Collection[str]) -> set[str]:
    """The pictures that are not there yet."""
    return {name for name in names if not (folder / name).is_file()}


def _relative(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
