"""What the test loop does on the side: a progress bar, and pictures of the predictions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from tqdm import tqdm

from segearth.images import read_image
from segearth.outputs import atomic
from segearth.pictures import blend, with_legend


class ProgressHook(Hook):  # type: ignore[misc]
    """A bar on stderr, an image a step; in a file or a pipe, a line every half minute."""

    def __init__(self, images: int) -> None:
        self.bar = tqdm(
            total=images, desc="images", unit="image", file=sys.stderr, mininterval=0.1 if sys.stderr.isatty() else 30
        )

    def after_test_iter(
        self,
        runner: Any,  # noqa: ARG002 (of the base, like the next ones)
        batch_idx: int,  # noqa: ARG002
        data_batch: Any = None,  # noqa: ARG002
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Counts the batch and those of the other processes, which may repeat an image at the end."""
        self.bar.update(min(len(outputs or ()) * get_world_size(), int(self.bar.total) - self.bar.n))

    def close(self) -> None:
        """Ends the bar, however the loop ended."""
        self.bar.close()


class PicturesHook(Hook):  # type: ignore[misc]
    """Saves every prediction as a picture: the image, the map over it, a legend.

    Args:
        folder: an existing folder.
        images: the data set's folder of images; a picture is named as its image, subfolders with "_".
        names: of the classes.
        palette: C RGB colours.
        note: a last line of the legend.
    """

    def __init__(
        self, folder: Path, images: str, names: Sequence[str], palette: Sequence[Sequence[int]], note: str
    ) -> None:
        self.folder, self.images, self.names, self.note = folder, Path(images), names, note
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
            path = Path(sample.img_path)
            name = path.relative_to(self.images) if path.is_relative_to(self.images) else Path(path.name)
            pixels, _ = read_image(path)
            labels = sample.pred_sem_seg.data[0].cpu().numpy()
            picture = with_legend(blend(pixels, labels, self.palette), self.names, self.palette, note=self.note)
            with atomic(self.folder / f"{'_'.join(name.with_suffix('').parts)}.png") as part:
                picture.save(part)
