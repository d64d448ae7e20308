"""What is known of a map while it is made, block by block, and after: tiles, figures, and the scores of a pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segearth.batch.inputs import JOB_SUFFIX
from segearth.labels import thresholds_of
from segearth.scenes.assemble import opened
from segearth.scenes.grid import Block, blocks, common, within
from segearth.scenes.reclassify import Changed, reclassify, rules_of
from segearth.vocabulary import Vocabulary
from segearth.web.preview import TILE, png, tile_area
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOTHING = 255  # in tiles, in place of a class
COARSE = (4, 32)  # every so many pixels of each axis there is a copy, for the coarse zooms


@dataclass(frozen=True)
class MapFiles:
    """A map that is made, or was.

    Attributes:
        folder: of its files.
        name: of them.
        size: (H, W).
        side: of its blocks in pixels; of no meaning when all is finished.
        vocabulary: its classes.
        threshold: of the classes without one of their own.
    """

    folder: Path
    name: str
    size: tuple[int, int]
    side: int
    vocabulary: Vocabulary
    threshold: float

    def place(self, layer: str) -> Path:
        """The raster of a layer, when all is finished."""
        return self.folder / f"{self.name}.{layer}.tif"

    @property
    def parts(self) -> Path:
        """Where the blocks are until then."""
        return self.folder / f"{self.name}{JOB_SUFFIX}"

    def best(self, area: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The best class of pixels, whatever the threshold, and its score from 1 to 255; 0 where nothing is known."""
        labels = self._read("labels", area, (1,), fill=NOTHING)[0]
        known = labels != NOTHING  # a part of labels is the last one of its block to be there
        if thresholds_of(self.vocabulary, self.threshold).any():
            scores = self._read("scores", area, tuple(range(1, len(self.vocabulary) + 1)))
            # the label that a pixel has tells which of equal scores was the best one
            plain = self.vocabulary.with_thresholds(None)
            members = tuple((i,) for i in range(len(plain)))
            found, confidence = reclassify(scores, labels, rules_of(self.vocabulary, Changed(plain, members), 0.0))
            labels = found.astype(np.uint8)
        else:
            confidence = self._read("confidence", area, (1,))[0]
        return labels, np.where(known, confidence, 0).astype(np.uint8)

    def scores(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """The scores of all classes at a pixel, from 1 to 255; None where nothing is known."""
        bands = tuple(range(1, len(self.vocabulary) + 1))
        found = self._read("scores", Window(row, row + 1, column, column + 1), bands)[:, 0, 0]
        return found if found[0] else None

    def tile(self, zoom: int, column: int, row: int) -> bytes | None:
        """A tile as a PNG: the best class, its score, and 0; None where nothing is known."""
        shown = tile_area(self.size, zoom, column, row)
        if shown is None:
            return None
        area, step = shown
        coarse = max((share for share in COARSE if share <= step), default=None)
        if coarse is None:
            labels, confidence = (some[::step, ::step] for some in self.best(area))
        elif (path := coarse_path(self.folder, coarse)).exists():
            top, bottom, left, right = (side // coarse for side in area)
            kept = np.load(path, mmap_mode="r")
            part = kept[top : max(top + 1, bottom) : step // coarse, left : max(left + 1, right) : step // coarse]
            labels, confidence = part[..., 0], part[..., 1]
        else:
            return None
        if not confidence.any():
            return None
        pixels = np.zeros((TILE, TILE, 3), np.uint8)
        pixels[..., 0] = NOTHING
        tall, wide = confidence.shape
        pixels[:tall, :wide, 0] = np.where(confidence, labels, NOTHING)
        pixels[:tall, :wide, 1] = confidence
        return png(pixels)

    def _read(self, layer: str, area: Window, bands: tuple[int, ...], fill: int = 0) -> NDArray[np.uint8]:
        """Values (n, h, w) of a layer, from the finished raster or from what there is of the blocks."""
        from rasterio.errors import RasterioError

        if not self.place(layer).exists():
            found = np.full((len(bands), area.bottom - area.top, area.right - area.left), fill, np.uint8)
            for block in self._blocks(area):
                part = common(block.area, area)
                path = self.parts / f"{block.name}.{layer}.tif"
                if part is None or not path.exists():
                    continue
                try:
                    found[(slice(None), *within(part, area))] = _values(path, _moved(part, block.area), bands)
                except RasterioError:  # the map was put together, and its parts are gone
                    continue
            if not self.place(layer).exists():
                return found
        return _values(self.place(layer), area, bands)

    def _blocks(self, area: Window) -> Iterator[Block]:
        """Those that an area touches."""
        whole = Window(0, self.size[0], 0, self.size[1])
        side = self.side
        around = Window(area.top // side * side, area.bottom, area.left // side * side, area.right)
        for block in blocks(around, side):
            top, left = block.row * side, block.column * side
            yield block._replace(area=common(Window(top, top + side, left, left + side), whole) or block.area)


class Digest:
    """What is summed and made small of blocks as they are finished.

    Args:
        files: of the map.

    Attributes:
        histogram: (C, 256), pixels by best class and its score; column 0 is empty.
        blocks: names of those that are in it.
    """

    def __init__(self, files: MapFiles) -> None:
        self.files = files
        self.histogram = np.zeros((len(files.vocabulary), 256), np.int64)
        self.blocks: set[str] = set()
        for share in COARSE:
            shape = (*(-(-side // share) for side in files.size), 2)
            np.lib.format.open_memmap(coarse_path(files.folder, share), "w+", np.uint8, shape)

    def update(self, cut: dict[str, Block]) -> bool:
        """Takes the blocks that are finished since the last call; whether there are some.

        Args:
            cut: all blocks, by their names.
        """
        names = {path.name.partition(".")[0] for path in self.files.parts.glob("b*.labels.tif")}
        new = [cut[name] for name in sorted(names - self.blocks) if name in cut]
        for block in new:
            self._take(block)
        return bool(new)

    def _take(self, block: Block) -> None:
        labels, confidence = self.files.best(block.area)
        known = confidence > 0
        values = labels[known].astype(np.int64) * 256 + confidence[known]
        self.histogram += np.bincount(values, minlength=self.histogram.size).reshape(self.histogram.shape)
        self.blocks.add(block.name)
        for share in COARSE:
            kept = np.load(coarse_path(self.files.folder, share), mmap_mode="r+")
            row, column = -block.area.top % share, -block.area.left % share  # the first that the copy has
            some = np.stack([part[row::share, column::share] for part in (labels, confidence)], axis=-1)
            top, left = (block.area.top + row) // share, (block.area.left + column) // share
            kept[top : top + some.shape[0], left : left + some.shape[1]] = some
            kept.flush()


def coarse_path(folder: Path, share: int) -> Path:
    """The copy with every so many pixels of each axis: best class and score, (h, w, 2)."""
    return folder / f"every{share}.npy"


def _values(path: Path, area: Window, bands: tuple[int, ...]) -> NDArray[np.uint8]:
    with opened(path) as file:
        window = ((area.top, area.bottom), (area.left, area.right))
        found: NDArray[np.uint8] = file.read(list(bands), window=window)
        return found


def _moved(part: Window, area: Window) -> Window:
    """A part of an area, in pixels of that."""
    return Window(part.top - area.top, part.bottom - area.top, part.left - area.left, part.right - area.left)
