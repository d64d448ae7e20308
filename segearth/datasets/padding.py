"""Images that are nearly all black: padding, or a place without data."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from segearth.datasets.description import Description

NEARLY_ALL = 0.9  # of an image's pixels; the smallest image of iSAID, 387 × 455, leaves 0.78 of its window to padding
MANY = 0.1  # of the images; borders without data are in fewer of any published set's


def is_black(image: Image.Image) -> bool:
    """Whether nearly all pixels are black."""
    return image.convert("L").histogram()[0] > NEARLY_ALL * image.width * image.height


def black_warning(spec: Description, black: Sequence[str], total: int) -> str | None:
    """The warning about many black images; None where they are few.

    Args:
        spec: the set.
        black: their names.
        total: how many images there are.
    """
    if len(black) <= MANY * total:
        return None
    height, width = spec.sizes[0]
    padded = ""
    if spec.windows:
        padded = f"; what is smaller than {spec.windows.size[1]} × {spec.windows.size[0]} is padded with black"
    return (
        f"{len(black)} of {total} images are over {NEARLY_ALL:.0%} black, such as {black[0]}: expected the published "
        f"images, such as of {width} × {height} pixels{padded}. Figures would tell little of a method. {spec.get}"
    )
