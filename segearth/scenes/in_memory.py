"""A scene mapped in memory: the same values that `segearth.scenes.predict.predict_scene` writes to files."""

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
from segearth.scenes.blocks import Rows, map_block
from segearth.scenes.grid import Block, blocks, common, within
from segearth.scenes.layout import side_of_blocks
from segearth.scenes.naming import scene_name
from segearth.scenes.options import SceneOptions
from segearth.scenes.plan import Plan
from segearth.scenes.raster import Raster, ReadFailed
from segearth.scenes.resampling import resample
from segearth.windows import Window

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray

    from segearth.scenes.resampling import Pixels


def map_in_memory(
    raster: Raster,
    predictor: Predictor,
    options: SceneOptions,
    progress: Progress = None,
    remarks: Sequence[str] = (),
) -> Result:
    """Maps a raster, or the part of it that the options ask for, in memory.

    Args:
        raster: open; it is read as the options say from now on.
        predictor: the model with its vocabulary.
        options: how. The map does not depend on `block` and `max_memory_mb`.
        progress: as of `Predictor.predict`.
        remarks: what is known of the raster already, one sentence each.

    Returns:
        The map of (H, W) pixels of the output's grid.

    Raises:
        UserError: options that do not fit the raster or the model, a map that the memory cannot hold, or a part of the
            raster that cannot be read.
    """
    begun = time.perf_counter()
    try:
        plan = Plan.of(raster, predictor, options, remarks)
        canvas = _Canvas(raster, plan, predictor, options.scores)
        side = side_of_blocks(plan.frame, predictor.model, options)
        cut = blocks(plan.area.window, side)
        with window_progress(progress) as shown, even_threads():
            for block, windows_done in zip(cut, _shares(cut, plan, shown), strict=True):
                for rows in map_block(block.area, plan.frame, canvas.read, predictor, plan.blocks, windows_done):
                    canvas.draw(rows)
                canvas.colour(block.area)
                windows_done.finish()
    except ReadFailed as error:
        raise UserError(
            f"{raster.name}: {error}: expected a whole file; copy or download it again, or use predict_scene, which "
            "leaves such parts out"
        ) from None
    nodata = label_values(len(predictor.vocabulary)).nodata
    canvas.pixels[canvas.best == nodata] = NODATA_COLOUR
    return thresholded(
        Result(
            labels=canvas.best,
            confidence=canvas.confidence,
            scores=canvas.scores,
            vocabulary=predictor.vocabulary,
            best=canvas.best,
            pixels=canvas.pixels,
            threshold=predictor.threshold,
            name=scene_name(raster.address),
            settings=plan.settings,
            device=str(predictor.device),
            seconds=time.perf_counter() - begun,
            remarks=plan.remarks,
            transform=_moved(plan.transform, plan.area.window),
            crs=plan.crs,
        )
    )


class _Canvas:
    """The arrays of a map, on which blocks are drawn.

    Attributes:
        best: (H, W) as of `Result`.
        confidence: likewise.
        scores: likewise.
        pixels: likewise, with any colour where there is no data.
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
        """A part of the raster; its colours are kept where the map has the raster's own pixels."""
        pixels, valid = self._raster.read(window)
        if self._has_own_pixels:
            self._keep(window, pixels)
        return pixels, valid

    def draw(self, rows: Rows) -> None:
        """Takes finished rows of a block."""
        place = within(rows.area, self._area)
        self.best[place] = rows.best
        self.confidence[place] = np.where(rows.valid, rows.confidence, 0)
        if self.scores is not None and rows.scores is not None:
            self.scores[(slice(None), *place)] = np.where(rows.valid, rows.scores, 0)

    def colour(self, area: Window) -> None:
        """Takes the colours of a block, unless they were kept when they were read."""
        if not self._has_own_pixels:
            frame, how = self._plan.frame, self._plan.blocks
            sizes = frame.input_size, frame.output_size
            part = resample(self._raster.read, *sizes, area, how.fill, how.resampling)
            self._keep(area, part.pixels)

    @property
    def _has_own_pixels(self) -> bool:
        return self._plan.frame.output_size == self._plan.frame.input_size

    def _keep(self, window: Window, pixels: NDArray[np.uint8 | np.float32]) -> None:
        """Colours (3, h, w) of a window of the output's grid."""
        if (part := common(window, self._area)) is not None:
            own = pixels[(slice(None), *within(part, window))]
            self.pixels[within(part, self._area)] = np.rint(own).astype(np.uint8).transpose(1, 2, 0)


class _Share:
    """Counts the windows of a block, for a bar over all blocks."""

    def __init__(self, before: int, own: int, total: int, shown: WindowsDone | None) -> None:
        self._done, self._end, self._total, self._shown = before, before + own, total, shown

    def __call__(self, windows: int) -> None:
        """So many more are computed."""
        self._done += windows
        if self._shown is not None and windows:
            self._shown(self._done, self._total)

    def finish(self) -> None:
        """The block is finished, also where windows were left out."""
        self(self._end - self._done)


def _shares(cut: list[Block], plan: Plan, shown: WindowsDone | None) -> list[_Share]:
    """What counts the windows of each block."""
    counts = [len(plan.frame.grid.windows(plan.frame.model_area(block.area))) for block in cut]
    *before, total = accumulate(counts, initial=0)
    return [_Share(done, count, total, shown) for done, count in zip(before, counts, strict=True)]


def _check_memory(name: str, size: tuple[int, int], classes: int, scores: bool) -> None:
    """Refuses a map that the memory cannot hold.

    Raises:
        UserError: it is too large.
    """
    # best, labels, and what is compared on the way; confidence; colours
    a_pixel = 8 * np.dtype(label_values(classes).type).itemsize + 4 + 3 + 4 * classes * scores
    needed, memory = a_pixel * size[0] * size[1], machine_memory()
    if memory is not None and needed > memory:
        less = f", leave {option('scores')} out" if scores else ""
        raise UserError(
            f"a map of {size[1]:,} × {size[0]:,} pixels of {name} takes {needed / 1e9:.3g} GB in memory: expected less "
            f"than this machine's {memory / 1e9:.3g} GB; use predict_scene, which writes it to files block by block, "
            f"map a part ({option('bbox')}){less}"
        )


def _moved(transform: Affine, window: Window) -> Affine:
    """The transform of a part of a grid."""
    a, b, c, d, e, f = transform[:6]
    return type(transform)(a, b, c + a * window.left + b * window.top, d, e, f + d * window.left + e * window.top)
