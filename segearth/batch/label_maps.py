"""Reference label maps of pictures: found by file name, read as class indices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from segearth.batch.inputs import Item
from segearth.datasets.places import set_of
from segearth.errors import UserError, first_line, option, without_warnings
from segearth.images import read_header
from segearth.images.files import FORMATS
from segearth.paths import user_path
from segearth.tiff import refuse_sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORE = 255  # value of unknown pixels


def label_paths(items: Sequence[Item], folder: Path, suffix: str) -> list[tuple[Path, Path]]:
    """Pairs of images and their label maps.

    Args:
        items: the images.
        folder: folder of the label maps, with the same subfolders as the images.
        suffix: suffix of a label map instead of that of the image, such as "_labels.png".

    Raises:
        UserError: a missing label map, or images of a data set that is used for evaluation.
    """
    pairs = []
    for item in items:
        image = user_path(item.source)
        if (dataset := set_of(image.resolve())) is not None:
            raise UserError(
                f"{item.shown} lies in the folder that the table of {dataset.title} is made of: expected images of "
                "another split, as figures of images that settings were fitted to say nothing; give those"
            )
        label = user_path(folder, "folder of labels") / f"{item.name}{suffix}"
        if not label.is_file():
            raise UserError(
                f"no label map at {label} for {item.shown}: expected one of each image's name; correct "
                f"{option('labels', folder)}, or give {option('label_suffix', '_labels.png')} as theirs end"
            )
        if label.resolve() == image.resolve():
            raise UserError(
                f"{label} is image and label map at once: expected a map of class indices; give the folder of the "
                f"label maps by {option('labels', 'DIR')}, or their ending by {option('label_suffix', '_labels.png')}"
            )
        pairs.append((image, label))
    return pairs


def read_label_map(path: Path, image: Path, classes: int) -> NDArray[np.uint8]:
    """Reads the class index of every pixel (H, W), `IGNORE` where unknown.

    Args:
        path: label map with one channel of 8 bits, of the size of the image.
        image: path of the image.
        classes: number of classes.

    Raises:
        UserError: another format or size, or an invalid label.
    """
    try:
        with without_warnings(), Image.open(path, formats=tuple(FORMATS)) as opened:
            refuse_sparse(opened, f"the label map {path}")
            mode, labels = opened.mode, np.asarray(opened)
    except UserError:
        raise
    except Exception as error:  # decoders raise any type
        raise UserError(
            f"the label map {path} is damaged or no picture ({first_line(error)}): expected PNG or TIFF; copy or "
            "convert it again"
        ) from None
    if mode not in ("1", "L", "P"):
        raise UserError(
            f"the label map {path} is {mode}: expected one channel of 8 bits with a class index a pixel; convert it"
        )
    if labels.shape != (size := read_header(image).size):
        raise UserError(
            f"the label map {path} has {labels.shape[1]} × {labels.shape[0]} pixels, its image {image} {size[1]} × "
            f"{size[0]}: expected one label a pixel; convert it"
        )
    labels = labels.astype(np.uint8)
    if bad := [value for value in np.unique(labels).tolist() if value >= classes and value != IGNORE]:
        raise UserError(
            f"the label map {path} has the value {bad[0]}: expected 0 to {classes - 1}, or {IGNORE} for pixels that "
            "are not known; convert it, or give all classes"
        )
    return labels
