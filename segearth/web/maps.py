"""Reads a map, finished or in progress: tiles, scores of a pixel, and the histogram that grows with the blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segearth.batch.inputs import JOB_SUFFIX
from segearth.labels import thresholds_of
from segearth.scenes.assemble import open_map
from segearth.scenes.grid import Block, blocks, intersection, slices_within
from segearth.scenes.reclassify import ChangedClasses, make_rules, reclassify
from segearth.vocabulary import Vocabulary
from segearth.web.preview import TILE, png, tile_area
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_CLASS = 255  # label of unknown pixels in tiles
COARSE = (4, 32)  # subsampling factors of the copies for coarse zoom levels


@dataclass(frozen=True)
class MapFiles:
    """The files of a map, finished or in progress.

    Attributes:
        folder: folder of the files.
        name: name of the files.
        size: (H, W).
        side: side of the blocks in pixels; unused when the map is finished.
        vocabulary: the classes.
        threshold: for classes without a threshold of their own.
    """

    folder: Path
    name: str
    size: tuple[int, int]
    side: int
    vocabulary: Vocabulary
    threshold: float

    def raster_path(self, layer: str) -> Path:
        """The raster of a layer of the finished map."""
        return self.folder / f"{self.name}.{layer}.tif"

    @property
    def parts_folder(self) -> Path:
        """The folder of the blocks until the map is finished."""
        return self.folder / f"{self.name}{JOB_SUFFIX}"

    def best(self, area: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The best class of pixels without thresholds, and its score from 1 to 255; 0 where unknown."""
        labels = self._read("labels", area, (1,), fill=NO_CLASS)[0]
        known = labels != NO_CLASS  # the labels of a block are written last
        if thresholds_of(self.vocabulary, self.threshold).any():
            scores = self._read("scores", area, tuple(range(1, len(self.vocabulary) + 1)))
            # the stored label decides which of equal scores is the best
            plain = self.vocabulary.with_thresholds(None)
            members = tuple((i,) for i in range(len(plain)))
            best, confidence = reclassify(
                scores, labels, make_rules(self.vocabulary, ChangedClasses(plain, members), 0.0)
            )
            labels = best.astype(np.uint8)
        else:
            confidence = self._read("confidence", area, (1,))[0]
        return labels, np.where(known, confidence, 0).astype(np.uint8)

    def scores(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """The scores of all classes at a pixel, from 1 to 255; None where unknown."""
        bands = tuple(range(1, len(self.vocabulary) + 1))
        scores = self._read("scores", Window(row, row + 1, column, column + 1), bands)[:, 0, 0]
        return scores if scores[0] else None

    def tile(self, zoom: int, column: int, row: int) -> bytes | None:
        """A tile as a PNG with the bands best class, its score, and 0; None if all pixels are unknown."""
        window = tile_area(self.size, zoom, column, row)
        if window is None:
            return None
        area, step = window
        coarse = max((factor for factor in COARSE if factor <= step), default=None)
        if coarse is None:
            labels, confidence = (band[::step, ::step] for band in self.best(area))
        elif (path := coarse_path(self.folder, coarse)).exists():
            top, bottom, left, right = (side // coarse for side in area)
            copy = np.load(path, mmap_mode="r")
            part = copy[top : max(top + 1, bottom) : step // coarse, left : max(left + 1, right) : step // coarse]
            labels, confidence = part[..., 0], part[..., 1]
        else:
            return None
        if not confidence.any():
            return None
        pixels = np.zeros((TILE, TILE, 3), np.uint8)
        pixels[..., 0] = NO_CLASS
        tall, wide = confidence.shape
        pixels[:tall, :wide, 0] = np.where(confidence, labels, NO_CLASS)
        pixels[:tall, :wide, 1] = confidence
        return png(pixels)

    def _read(self, layer: str, area: Window, bands: tuple[int, ...], fill: int = 0) -> NDArray[np.uint8]:
        """Values (n, h, w) of a layer, from the finished raster or from the finished blocks."""
        from rasterio.errors import RasterioError

        if not self.raster_path(layer).exists():
            values = np.full((len(bands), area.bottom - area.top, area.right - area.left), fill, np.uint8)
            for block in self._blocks(area):
                part = intersection(block.area, area)
                path = self.parts_folder / f"{block.name}.{layer}.tif"
                if part is None or not path.exists():
                    continue
                try:
                    values[(slice(None), *slices_within(part, area))] = _values(
                        path, _relative(part, block.area), bands
                    )
                except RasterioError:  # the map was assembled meanwhile, and its parts were deleted
                    continue
            if not self.raster_path(layer).exists():
                return values
        return _values(self.raster_path(layer), area, bands)

    def _blocks(self, area: Window) -> Iterator[Block]:
        """The blocks that intersect an area."""
        whole = Window(0, self.size[0], 0, self.size[1])
        side = self.side
        around = Window(area.top // side * side, area.bottom, area.left // side * side, area.right)
        for block in blocks(around, side):
            top, left = block.row * side, block.column * side
            yield block._replace(area=intersection(Window(top, top + side, left, left + side), whole) or block.area)


class MapAccumulator:
    """Accumulates the histogram and the subsampled copies of a map as its blocks are finished.

    Args:
        files: files of the map.

    Attributes:
        histogram: (C, 256), pixels by best class and its score; column 0 is empty.
        blocks: names of the accumulated blocks.
    """

    def __init__(self, files: MapFiles) -> None:
        self.files = files
        self.histogram = np.zeros((len(files.vocabulary), 256), np.int64)
        self.blocks: set[str] = set()
        for factor in COARSE:
            shape = (*(-(-side // factor) for side in files.size), 2)
            np.lib.format.open_memmap(coarse_path(files.folder, factor), "w+", np.uint8, shape)

    def update(self, all_blocks: dict[str, Block]) -> bool:
        """Adds the blocks that were finished since the last call; returns whether there were any.

        Args:
            all_blocks: all blocks by name.
        """
        names = {path.name.partition(".")[0] for path in self.files.parts_folder.glob("b*.labels.tif")}
        new = [all_blocks[name] for name in sorted(names - self.blocks) if name in all_blocks]
        for block in new:
            self._add(block)
        return bool(new)

    def _add(self, block: Block) -> None:
        labels, confidence = self.files.best(block.area)
        known = confidence > 0
        values = labels[known].astype(np.int64) * 256 + confidence[known]
        self.histogram += np.bincount(values, minlength=self.histogram.size).reshape(self.histogram.shape)
        self.blocks.add(block.name)
        for factor in COARSE:
            copy = np.load(coarse_path(self.files.folder, factor), mmap_mode="r+")
            row, column = -block.area.top % factor, -block.area.left % factor  # the first pixel in the copy
            part = np.stack([band[row::factor, column::factor] for band in (labels, confidence)], axis=-1)
            top, left = (block.area.top + row) // factor, (block.area.left + column) // factor
            copy[top : top + part.shape[0], left : left + part.shape[1]] = part
            copy.flush()


def coarse_path(folder: Path, factor: int) -> Path:
    """The subsampled copy of a map, (h, w, 2): best class and score."""
    return folder / f"every{factor}.npy"


def _values(path: Path, area: Window, bands: tuple[int, ...]) -> NDArray[np.uint8]:
    with open_map(path) as file:
        window = ((area.top, area.bottom), (area.left, area.right))
        values: NDArray[np.uint8] = file.read(list(bands), window=window)
        return values


def _relative(part: Window, area: Window) -> Window:
    """A part of an area, relative to the area."""
    return Window(part.top - area.top, part.bottom - area.top, part.left - area.left, part.right - area.left)
