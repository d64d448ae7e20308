"""An image as it is read for a map: its pixels, and the size at which windows are cut."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segearth.arguments import check_long_side, check_max_pixels
from segearth.images import ImageLike, read_image
from segearth.images.pixel_limit import check_enlarged
from segearth.images.resizing import resized_size

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """An image that was read for a map.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        mapped_at: (height, width) before windows are cut.
        long_side: as of `Predictor.predict`.
        name: for files.
        remarks: what was done while reading.
        begun: when, by `time.perf_counter`.
        read_s: seconds that reading took.
    """

    pixels: NDArray[np.uint8]
    mapped_at: tuple[int, int]
    long_side: int | None
    name: str
    remarks: tuple[str, ...]
    begun: float
    read_s: float

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def is_like(self, other: Picture) -> bool:
        """Whether both are mapped at the same size, to maps of the same size."""
        return (self.size, self.mapped_at) == (other.size, other.mapped_at)


def read_picture(image: ImageLike, long_side: int | None, max_pixels: int | None) -> Picture:
    """Reads an image; arguments as of `Predictor.predict`.

    Raises:
        UserError: an image that cannot be read, or sizes that cannot be.
    """
    begun = time.perf_counter()
    long_side, max_pixels = check_long_side(long_side), check_max_pixels(max_pixels)
    pixels, remarks = read_image(image, max_pixels)
    height, width = pixels.shape[:2]
    size = (height, width) if long_side is None else resized_size(height, width, long_side)
    check_enlarged((height, width), size, max_pixels)
    name = Path(image).stem if isinstance(image, str | os.PathLike) else "map"
    return Picture(pixels, size, long_side, name, tuple(remarks), begun, time.perf_counter() - begun)
