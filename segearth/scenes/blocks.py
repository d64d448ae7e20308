"""Maps one block of a scene: computes its windows row by row and yields finished rows of labels.

A block computes every window that overlaps it, so blocks are independent. It adds the windows in the order of the grid,
so that the result has the same bits for every block size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from segearth.classification import classify
from segearth.labels import apply_thresholds, label_values
from segearth.models.blend import Blend
from segearth.models.segearth import SegEarth
from segearth.predictor import Predictor
from segearth.scenes.aoi import Area
from segearth.scenes.grid import Frame, intersection, slices_within
from segearth.scenes.layers import quantised
from segearth.scenes.resampling import interpolate, resample
from segearth.transfer import normalise, to_device
from segearth.windows import Grid, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.scenes.resampling import Pixels

# (model, pixels (3, h, w), windows, batch, max_memory_mb) -> windows with their logits, as `SegEarth.window_logits`
WindowLogits: TypeAlias = Callable[[SegEarth, Tensor, Sequence[Window], int, float], Iterator[tuple[Window, Tensor]]]

MAX_LOGITS = 4 << 20  # logits that are classified at once
READ_PIXELS = 1 << 22  # pixels read at once to find the valid ones


class BlockRows(NamedTuple):
    """Finished rows of a block.

    Attributes:
        area: their window, in pixels of the output.
        valid: (h, w) bool; invalid pixels are nodata in `labels` and `best`.
        labels: (h, w) uint8 or uint16, with unclassified and nodata.
        best: (h, w), as `labels`, but without a threshold.
        confidence: (h, w) float32, score of the best class, from 0 to 1; undefined for invalid pixels.
        scores: (C, h, w) float32, scores of all classes, likewise; None if not requested.
    """

    area: Window
    valid: NDArray[np.bool_]
    labels: NDArray[np.uint8 | np.uint16]
    best: NDArray[np.uint8 | np.uint16]
    confidence: NDArray[np.float32]
    scores: NDArray[np.float32] | None

    def layers(self) -> dict[str, NDArray[np.uint8 | np.uint16]]:
        """Returns the arrays to write, by the layer's name: labels, and scores as bytes (see `quantised`)."""
        arrays: dict[str, NDArray[np.uint8 | np.uint16]] = {
            "labels": self.labels,
            "confidence": quantised(self.confidence, self.valid),
        }
        return arrays if self.scores is None else arrays | {"scores": quantised(self.scores, self.valid)}


@dataclass(frozen=True)
class BlockSettings:
    """Settings for mapping blocks.

    Attributes:
        batch: windows per call of the encoder, the same for all blocks.
        fill: value from 0 to 255 of invalid pixels in each band: the mean of the raster.
        resampling: one of `segearth.scenes.resampling.KINDS`.
        blend: one of `segearth.models.blend.BLENDS`.
        scores: whether to return the scores of all classes.
        max_memory_mb: memory limit for computing windows.
        aoi: area of interest, in pixels of the output; None: everything.
    """

    batch: int
    fill: tuple[float, float, float]
    resampling: str = "antialias"
    blend: str = "mean"
    scores: bool = False
    max_memory_mb: float = 400
    aoi: Area | None = None


def map_block(
    area: Window,
    frame: Frame,
    read: Callable[[Window], Pixels],
    predictor: Predictor,
    settings: BlockSettings,
    windows_done: Callable[[int], None] | None = None,
    window_logits: WindowLogits | None = None,
) -> Iterator[BlockRows]:
    """Maps a block.

    Args:
        area: window of the block, in pixels of the output.
        frame: grids of the scene.
        read: reads a window of the raster: (3, h, w) from 0 to 255, and the valid pixels (h, w).
        predictor: the model with its vocabulary.
        settings: settings for all blocks.
        windows_done: called with the number of windows computed since the last call.
        window_logits: computes the logits of windows instead of the model.

    Yields:
        The rows of the block from top to bottom, each once; nothing if no pixel is valid and inside the area.
    """
    shape = area.bottom - area.top, area.right - area.left
    valid = np.ones(shape, bool) if settings.aoi is None else settings.aoi.mask(area)
    is_input_grid = frame.output_size != frame.model_size  # the output has the pixels of the input
    if is_input_grid:
        _clear_invalid(valid, area, read)
    windows = _needed_windows(area, frame, valid)
    if not windows:
        return
    box = _enclosing_window(windows)
    part = resample(read, frame.input_size, frame.model_size, box, settings.fill, settings.resampling)
    if not is_input_grid:
        inside = intersection(box, area) or area  # pixels outside are not needed
        read_valid = np.zeros(shape, bool)
        read_valid[slices_within(inside, area)] = part.valid[slices_within(inside, box)]
        valid &= read_valid
        windows = _needed_windows(area, frame, valid)
    if not windows:
        return
    model_rows = _model_rows(
        frame.model_area(area), frame.grid, windows, box, part.pixels, predictor, settings, windows_done, window_logits
    )
    for rows, logits in _output_rows(area, frame, model_rows):
        yield _classify_rows(rows, logits, valid[slices_within(rows, area)], predictor, settings)


def _clear_invalid(valid: NDArray[np.bool_], area: Window, read: Callable[[Window], Pixels]) -> None:
    """Sets pixels to False that are invalid in the raster, some rows at a time."""
    step = max(1, READ_PIXELS // (area.right - area.left))
    for top in range(area.top, area.bottom, step):
        rows = Window(top, min(area.bottom, top + step), area.left, area.right)
        part = valid[slices_within(rows, area)]
        if part.any():
            part &= read(rows)[1]


def _needed_windows(area: Window, frame: Frame, valid: NDArray[np.bool_]) -> list[Window]:
    """Returns the windows that contribute to valid pixels of a block."""
    windows = frame.grid.windows(frame.model_area(area))
    rows = {window.top: frame.output_rows(window.top, window.bottom, area) for window in windows}
    columns = {window.left: frame.output_columns(window.left, window.right, area) for window in windows}

    def is_needed(window: Window) -> bool:
        tall, wide = rows[window.top], columns[window.left]
        return bool(valid[slices_within(Window(tall.start, tall.stop, wide.start, wide.stop), area)].any())

    return [window for window in windows if is_needed(window)]


def _enclosing_window(windows: Sequence[Window]) -> Window:
    """Returns the smallest window that contains all windows."""
    return Window(windows[0].top, windows[-1].bottom, min(w.left for w in windows), max(w.right for w in windows))


def _classify_rows(
    area: Window,
    logits: NDArray[np.float32],
    valid: NDArray[np.bool_],
    predictor: Predictor,
    settings: BlockSettings,
) -> BlockRows:
    """Computes labels and scores of output rows from their logits (Q, h, w)."""
    classified = classify(
        predictor.model,
        predictor.vocabulary,
        torch.from_numpy(logits).to(predictor.device),
        keep_scores=settings.scores,
    )
    labels = apply_thresholds(classified.best, classified.confidence, predictor.vocabulary, predictor.threshold)
    nodata = labels.dtype.type(label_values(len(predictor.vocabulary)).nodata)
    labels, best = (np.where(valid, values, nodata) for values in (labels, classified.best))
    return BlockRows(area, valid, labels, best, classified.confidence, classified.scores)


def _output_rows(
    area: Window, frame: Frame, model_rows: Iterator[tuple[int, NDArray[np.float32]]]
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Yields finished rows of an output area with their logits (Q, h, w), interpolated from those of `_model_rows`.

    Yields at most `MAX_LOGITS` logits at once, to limit memory.
    """
    needed = frame.model_area(area)
    held: NDArray[np.float32] | None = None
    first, done = needed.top, area.top
    for top, rows in model_rows:
        # keep the model rows that are still needed to interpolate later output rows
        held = rows if held is None else np.concatenate([held, rows], axis=1)
        have = Window(first, top + rows.shape[1], needed.left, needed.right)
        end = _first_unfinished_row(done, have.bottom, area, frame)
        step = max(1, MAX_LOGITS // (len(held) * (area.right - area.left)))
        for start in range(done, end, step):
            wanted = Window(start, min(end, start + step), area.left, area.right)
            yield wanted, interpolate(held, have, frame.model_size, frame.output_size, wanted)
        done = max(done, end)
        if done < area.bottom:
            keep = frame.model_area(Window(done, done + 1, area.left, area.right)).top
            drop = min(
                max(0, keep - first), held.shape[1]
            )  # the next output row may start below all current model rows
            held, first = held[:, drop:], first + drop


def _first_unfinished_row(done: int, have: int, area: Window, frame: Frame) -> int:
    """Returns the first output row, from `done` on, that needs model rows from `have` on."""
    low, high = done, area.bottom
    while low < high:
        middle = (low + high) // 2
        if frame.model_area(Window(middle, middle + 1, area.left, area.right)).bottom <= have:
            low = middle + 1
        else:
            high = middle
    return low


@torch.inference_mode()  # also between the steps of a generator, unlike a with block
def _model_rows(
    area: Window,
    grid: Grid,
    windows: Sequence[Window],
    box: Window,
    pixels: NDArray[np.uint8 | np.float32],
    predictor: Predictor,
    settings: BlockSettings,
    windows_done: Callable[[int], None] | None,
    window_logits: WindowLogits | None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yields the mean logits (Q, h, w) of an area of the model grid, band by band, each with its first row.

    Args:
        area: in pixels of the model.
        grid: grid of the windows.
        windows: windows to compute, row by row; pixels without a window have logits 0.
        box: smallest window that contains them.
        pixels: (3, h, w) of the box.
        predictor: as of `map_block`.
        settings: as of `map_block`.
        windows_done: as of `map_block`.
        window_logits: as of `map_block`.
    """
    picture = normalise(to_device(pixels, predictor.device)[None], predictor.statistics)[0]
    model, inside = predictor.model, [_relative_window(window, box) for window in windows]
    blend = Blend(grid, len(model.query_features), area, grid.window_size[0], settings.blend, predictor.device)
    arguments = (picture, inside, settings.batch, settings.max_memory_mb)
    computed = model.window_logits(*arguments) if window_logits is None else window_logits(model, *arguments)
    for top, row in groupby(windows, key=lambda window: window.top):
        while blend.top < min(top, area.bottom):
            yield blend.top, _to_numpy(blend.take(min(top, blend.top + grid.window_size[0])))
        count = 0
        for window in row:
            blend.add(window, next(computed)[1])
            count += 1
        if windows_done is not None:
            windows_done(count)
    while blend.top < area.bottom:
        yield blend.top, _to_numpy(blend.take(min(area.bottom, blend.top + grid.window_size[0])))


def _relative_window(window: Window, box: Window) -> Window:
    """Returns a window relative to the corner of a box that contains it."""
    return Window(window.top - box.top, window.bottom - box.top, window.left - box.left, window.right - box.left)


def _to_numpy(logits: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = logits.cpu().numpy()
    return array
