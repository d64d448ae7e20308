"""Hooks of the test loop: a progress bar, and pictures of the predictions."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from tqdm import tqdm

from segearth.drawing import side_by_side
from segearth.images import read_image
from segearth.jobs.shards import Shard
from segearth.outputs import atomic
from segearth.progress import switched_off


@contextmanager
def progress(images: int, done: int, shard: Shard, quiet: bool = False) -> Iterator[list[Hook]]:
    """A progress bar on stderr in the first process; in a file or a pipe, a line every half minute.

    It comes to 100 % when the block ends well, and stays where it is when it does not.

    Args:
        images: of this process's share.
        done: of them, by an earlier run.
        shard: of this process.
        quiet: no bar.

    Yields:
        The hook that counts; nothing in other processes than the first.
    """
    if shard.index > 0:
        yield []
        return
    every = 0.1 if sys.stderr.isatty() else 30
    share = f" (process 1 of {shard.count})" if shard.count > 1 else ""
    disable = quiet or switched_off()
    with tqdm(
        total=images,
        initial=done,
        desc=f"images{share}",
        unit="image",
        file=sys.stderr,
        mininterval=every,
        disable=disable,
    ) as bar:
        yield [_ProgressHook(bar)]
        bar.update(images - bar.n)


class _ProgressHook(Hook):  # type: ignore[misc]
    """Counts the images of this process."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def after_test_iter(
        self,
        runner: Any,  # noqa: ARG002 (of the base, like the next ones)
        batch_idx: int,  # noqa: ARG002
        data_batch: Any = None,  # noqa: ARG002
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Counts the batch; the last image is counted at the very end."""
        if not self.bar.disable:
            self.bar.update(max(0, min(len(outputs or ()), int(self.bar.total) - 1 - self.bar.n)))


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


def _relative(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
