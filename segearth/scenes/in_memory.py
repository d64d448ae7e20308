"""Maps a scene in memory, with the same values as the files of `segearth.scenes.predict.predict_scene`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from segearth.compute import even_threads
from segearth.errors import UserError, option
from segearth.images.pixel_limit import machine_memory
from segearth.labels import NODATA_COLOUR, label_values
from segearth.predictor import Predictor
from segearth.progress import Progress, WindowsDone, window_progress
from segearth.result import Result, thresholded
from segearth.scenes.blocks import BlockRows, map_block
from segearth.scenes.georeference import window_transform
from segearth.scenes.grid import Block, blocks, intersection, slices_within
from segearth.scenes.layout import fit_block_side
from segearth.scenes.naming import scene_name
from segearth.scenes.options import SceneOptions
from segearth.scenes.plan import Plan
from segearth.scenes.raster import Raster, ReadFailed
from segearth.scenes.resampling import resample
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.scenes.resampling import Pixels


def map_in_memory(
    raster: Raster,
    predictor: Predictor,
    options: SceneOptions,
    progress: Progress = None,
    remarks: Sequence[str] = (),
) -> Result:
    """Maps a raster, or the requested area of it, in memory.

    Args:
        raster: an open raster; its spec is set from the options.
        predictor: the model with its vocabulary.
        options: settings. The map does not depend on `block` and `max_memory_mb`.
        progress: as of `Predictor.predict`.
        remarks: earlier remarks on the raster, one sentence each.

    Returns:
        The map, (H, W) pixels of the output grid.

    Raises:
        UserError: options that do not fit the raster or the model, a map too large for memory, or a part of the raster
            that cannot be read.
    """
    begun = time.perf_counter()
    try:
        plan = Plan.create(raster, predictor, options, remarks)
        arrays = _MapArrays(raster, plan, predictor, options.scores)
        side = fit_block_side(plan.frame, predictor.model, options)
        all_blocks = blocks(plan.area.window, side)
        with window_progress(progress) as report, even_threads():
            counters = _block_progress(all_blocks, plan, report)
            for block, windows_done in zip(all_blocks, counters, strict=True):
                for rows in map_block(block.area, plan.frame, arrays.read, predictor, plan.blocks, windows_done):
                    arrays.add_rows(rows)
                arrays.add_colours(block.area)
                windows_done.finish()
    except ReadFailed as error:
        raise UserError(
            f"{raster.name}: {error}: expected a complete file; copy or download it again, or use predict_scene, which "
            "leaves such parts out"
        ) from None
    nodata = label_values(len(predictor.vocabulary)).nodata
    arrays.pixels[arrays.best == nodata] = NODATA_COLOUR
    return thresholded(
        Result(
            labels=arrays.best,
            confidence=arrays.confidence,
            scores=arrays.scores,
            vocabulary=predictor.vocabulary,
            best=arrays.best,
            pixels=arrays.pixels,
            threshold=predictor.threshold,
            name=scene_name(raster.address),
            settings=plan.settings,
            device=str(predictor.device),
            seconds=time.perf_counter() - begun,
            remarks=plan.remarks,
            transform=window_transform(plan.transform, plan.area.window),
            crs=plan.crs,
        )
    )


class _MapArrays:
    """The arrays of a map, filled block by block.

    Attributes:
        best: (H, W) as of `Result`.
        confidence: as of `Result`.
        scores: as of `Result`.
        pixels: as of `Result`; nodata pixels have any colour.
    """

    def __init__(self, raster: Raster, plan: Plan, predictor: Predictor, scores: bool) -> None:
        self._raster, self._plan = raster, plan
        self._area = plan.area.window
        height, width = self._area.bottom - self._area.top, self._area.right - self._area.left
        classes = len(predictor.vocabulary)
        values = label_values(classes)
        _check_memory(raster.name, (height, width), classes, scores)
        self.best: NDArray[np.uint8 | np.uint16] = np.full((height, width), values.nodata, values.type)
        self.confidence = np.zeros((height, width), np.float32)
        self.scores = np.zeros((classes, height, width), np.float32) if scores else None
        self.pixels = np.zeros((height, width, 3), np.uint8)

    def read(self, window: Window) -> Pixels:
        """Reads a window of the raster, and stores its colours if the map has the pixels of the raster."""
        pixels, valid = self._raster.read(window)
        if self._is_input_grid:
            self._store_colours(window, pixels)
        return pixels, valid

    def add_rows(self, rows: BlockRows) -> None:
        """Stores finished rows of a block."""
        position = slices_within(rows.area, self._area)
        self.best[position] = rows.best
        self.confidence[position] = np.where(rows.valid, rows.confidence, 0)
        if self.scores is not None and rows.scores is not None:
            self.scores[(slice(None), *position)] = np.where(rows.valid, rows.scores, 0)

    def add_colours(self, area: Window) -> None:
        """Stores the colours of a block, unless `read` has stored them."""
        if not self._is_input_grid:
            frame, settings = self._plan.frame, self._plan.blocks
            sizes = frame.input_size, frame.output_size
            part = resample(self._raster.read, *sizes, area, settings.fill, settings.resampling)
            self._store_colours(area, part.pixels)

    @property
    def _is_input_grid(self) -> bool:
        return self._plan.frame.output_size == self._plan.frame.input_size

    def _store_colours(self, window: Window, pixels: NDArray[np.uint8 | np.float32]) -> None:
        """Stores the colours (3, h, w) of a window of the output grid."""
        if (part := intersection(window, self._area)) is not None:
            colours = pixels[(slice(None), *slices_within(part, window))]
            self.pixels[slices_within(part, self._area)] = np.rint(colours).astype(np.uint8).transpose(1, 2, 0)


class _BlockProgress:
    """Counts the windows of a block, for a progress bar over all blocks."""

    def __init__(self, before: int, count: int, total: int, report: WindowsDone | None) -> None:
        self._done, self._end, self._total, self._report = before, before + count, total, report

    def __call__(self, windows: int) -> None:
        """Reports newly computed windows."""
        self._done += windows
        if self._report is not None and windows:
            self._report(self._done, self._total)

    def finish(self) -> None:
        """Reports the block as finished, including windows that were skipped."""
        self(self._end - self._done)


def _block_progress(blocks: list[Block], plan: Plan, report: WindowsDone | None) -> list[_BlockProgress]:
    """Returns the window counter of each block."""
    counts = [len(plan.frame.grid.windows(plan.frame.model_area(block.area))) for block in blocks]
    *before, total = accumulate(counts, initial=0)
    return [_BlockProgress(done, count, total, report) for done, count in zip(before, counts, strict=True)]


def _check_memory(name: str, size: tuple[int, int], classes: int, scores: bool) -> None:
    """Refuses a map that is too large for memory.

    Raises:
        UserError: it is too large.
    """
    # best, labels and temporary arrays; confidence; colours; scores
    bytes_per_pixel = 8 * np.dtype(label_values(classes).type).itemsize + 4 + 3 + 4 * classes * scores
    needed, memory = bytes_per_pixel * size[0] * size[1], machine_memory()
    if memory is not None and needed > memory:
        less = f", leave {option('scores')} out" if scores else ""
        raise UserError(
            f"a map of {size[1]:,} × {size[0]:,} pixels of {name} takes {needed / 1e9:.3g} GB in memory: expected less "
            f"than this machine's {memory / 1e9:.3g} GB; use predict_scene, which writes it to files block by block, "
            f"map a part ({option('bbox')}){less}"
        )
