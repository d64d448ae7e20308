"""A block of a scene, from pixels to rows of labels: windows go through it row by row, finished rows are handed out.

A block computes every window that touches it, so it needs no other block, and adds them in the grid's order, so that
its rows have the same bits whatever the blocks are.
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
from segearth.scenes.grid import Frame, common, within
from segearth.scenes.layers import quantised
from segearth.scenes.resampling import interpolate, resample
from segearth.transfer import normalise, to_device
from segearth.windows import Grid, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.scenes.resampling import Pixels

# a model, the pixels that hold the windows (3, h, w), the windows, `batch` and `max_memory_mb`: as its `window_logits`
WindowLogits: TypeAlias = Callable[[SegEarth, Tensor, Sequence[Window], int, float], Iterator[tuple[Window, Tensor]]]

BAND_VALUES = 4 << 20  # logits that labels are made of at once
READ_PIXELS = 1 << 22  # that are read at once to see which are valid


class Rows(NamedTuple):
    """Finished rows of a block.

    Attributes:
        area: which, in pixels of the output.
        valid: (h, w) bool; what is not valid is nodata in labels and best.
        labels: (h, w) uint8 or uint16, with unclassified and nodata.
        best: (h, w), as `labels` without a threshold.
        confidence: (h, w) float32, the score of the best class, from 0 to 1; of no meaning where pixels are not valid.
        scores: (C, h, w) float32, of all classes, likewise; None where they are not wanted.
    """

    area: Window
    valid: NDArray[np.bool_]
    labels: NDArray[np.uint8 | np.uint16]
    best: NDArray[np.uint8 | np.uint16]
    confidence: NDArray[np.float32]
    scores: NDArray[np.float32] | None

    def layers(self) -> dict[str, NDArray[np.uint8 | np.uint16]]:
        """What rasters hold, by the names of layers: labels, and scores as bytes, see `quantised`."""
        found: dict[str, NDArray[np.uint8 | np.uint16]] = {
            "labels": self.labels,
            "confidence": quantised(self.confidence, self.valid),
        }
        return found if self.scores is None else found | {"scores": quantised(self.scores, self.valid)}


@dataclass(frozen=True)
class BlockSettings:
    """How blocks are mapped.

    Attributes:
        batch: windows in a call of the encoder, the same for all blocks.
        fill: value from 0 to 255 of invalid pixels in each band: the raster's mean.
        resampling: one of `segearth.scenes.resampling.KINDS`.
        blend: one of `segearth.models.blend.BLENDS`.
        scores: whether the scores of all classes are wanted.
        max_memory_mb: bound of the working set of windows at once.
        aoi: what is wanted, in pixels of the output; None: all.
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
) -> Iterator[Rows]:
    """Maps a block.

    Args:
        area: in pixels of the output.
        frame: of the scene.
        read: gives any part of the raster, in its own pixels: (3, h, w) from 0 to 255, and which are valid.
        predictor: the model with its vocabulary.
        settings: how.
        windows_done: called with the number of windows that were computed since the last call.
        window_logits: gives the logits of windows in place of the model itself.

    Yields:
        The rows of the block from top to bottom, each once; nothing where no pixel of it is wanted and valid.
    """
    shape = area.bottom - area.top, area.right - area.left
    valid = np.ones(shape, bool) if settings.aoi is None else settings.aoi.mask(area)
    finer = frame.output_size != frame.model_size  # the output has the input's own pixels
    if finer:
        _and_valid(valid, area, read)
    windows = _windows(area, frame, valid)
    if not windows:
        return
    box = _box(windows)
    part = resample(read, frame.input_size, frame.model_size, box, settings.fill, settings.resampling)
    if not finer:
        inside = common(box, area) or area  # beyond it, nothing is wanted
        seen = np.zeros(shape, bool)
        seen[within(inside, area)] = part.valid[within(inside, box)]
        valid &= seen
        windows = _windows(area, frame, valid)
    if not windows:
        return
    found = _model_rows(
        frame.model_area(area), frame.grid, windows, box, part.pixels, predictor, settings, windows_done, window_logits
    )
    for rows, logits in _output_rows(area, frame, found):
        yield _classified(rows, logits, valid[within(rows, area)], predictor, settings)


def _and_valid(wanted: NDArray[np.bool_], area: Window, read: Callable[[Window], Pixels]) -> None:
    """Clears what the raster does not have, some rows at a time."""
    step = max(1, READ_PIXELS // (area.right - area.left))
    for top in range(area.top, area.bottom, step):
        rows = Window(top, min(area.bottom, top + step), area.left, area.right)
        place = wanted[within(rows, area)]
        if place.any():
            place &= read(rows)[1]


def _windows(area: Window, frame: Frame, wanted: NDArray[np.bool_]) -> list[Window]:
    """The windows that pixels of a block are made of; `wanted` says which pixels of it matter."""
    windows = frame.grid.windows(frame.model_area(area))
    rows = {window.top: frame.output_rows(window.top, window.bottom, area) for window in windows}
    columns = {window.left: frame.output_columns(window.left, window.right, area) for window in windows}

    def matters(window: Window) -> bool:
        tall, wide = rows[window.top], columns[window.left]
        return bool(wanted[within(Window(tall.start, tall.stop, wide.start, wide.stop), area)].any())

    return [window for window in windows if matters(window)]


def _box(windows: Sequence[Window]) -> Window:
    """What holds them all."""
    return Window(windows[0].top, windows[-1].bottom, min(w.left for w in windows), max(w.right for w in windows))


def _classified(
    area: Window,
    logits: NDArray[np.float32],
    valid: NDArray[np.bool_],
    predictor: Predictor,
    settings: BlockSettings,
) -> Rows:
    """Labels and scores of some rows of the output from their logits (Q, h, w)."""
    found = classify(
        predictor.model,
        predictor.vocabulary,
        torch.from_numpy(logits).to(predictor.device),
        keep_scores=settings.scores,
    )
    labels = apply_thresholds(found.best, found.confidence, predictor.vocabulary, predictor.threshold)
    nodata = labels.dtype.type(label_values(len(predictor.vocabulary)).nodata)
    known, best = (np.where(valid, values, nodata) for values in (labels, found.best))
    return Rows(area, valid, known, best, found.confidence, found.scores)


def _output_rows(
    area: Window, frame: Frame, model_rows: Iterator[tuple[int, NDArray[np.float32]]]
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Yields finished rows of an area of the output with their logits (Q, h, w), from those of `_model_rows`.

    There are at most `BAND_VALUES` logits at once, for the memory.
    """
    needed = frame.model_area(area)
    held: NDArray[np.float32] | None = None
    first, done = needed.top, area.top
    for top, rows in model_rows:
        # rows of the model that further rows of the output are interpolated from are held
        held = rows if held is None else np.concatenate([held, rows], axis=1)
        have = Window(first, top + rows.shape[1], needed.left, needed.right)
        end = _finished(done, have.bottom, area, frame)
        step = max(1, BAND_VALUES // (len(held) * (area.right - area.left)))
        for start in range(done, end, step):
            wanted = Window(start, min(end, start + step), area.left, area.right)
            yield wanted, interpolate(held, have, frame.model_size, frame.output_size, wanted)
        done = max(done, end)
        if done < area.bottom:
            keep = frame.model_area(Window(done, done + 1, area.left, area.right)).top
            drop = min(max(0, keep - first), held.shape[1])  # the next row may begin below all that there is so far
            held, first = held[:, drop:], first + drop


def _finished(done: int, have: int, area: Window, frame: Frame) -> int:
    """The first row of the output, from `done` on, that needs rows of the model from `have` on."""
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
    """Yields the mean logits (Q, h, w) of an area of the model, band by band, each with its first row.

    Args:
        area: in pixels of the model.
        grid: of the windows.
        windows: those that are computed, row by row; where there is none, logits are 0.
        box: what holds them.
        pixels: (3, h, w) of the box.
        predictor: as of `map_block`.
        settings: likewise.
        windows_done: likewise.
        window_logits: likewise.
    """
    picture = normalise(to_device(pixels, predictor.device)[None], predictor.statistics)[0]
    model, inside = predictor.model, [_inside(window, box) for window in windows]
    blend = Blend(grid, len(model.query_features), area, grid.window_size[0], settings.blend, predictor.device)
    of_windows = (picture, inside, settings.batch, settings.max_memory_mb)
    computed = model.window_logits(*of_windows) if window_logits is None else window_logits(model, *of_windows)
    for top, row in groupby(windows, key=lambda window: window.top):
        while blend.top < min(top, area.bottom):
            yield blend.top, _numpy(blend.take(min(top, blend.top + grid.window_size[0])))
        count = 0
        for window in row:
            blend.add(window, next(computed)[1])
            count += 1
        if windows_done is not None:
            windows_done(count)
    while blend.top < area.bottom:
        yield blend.top, _numpy(blend.take(min(area.bottom, blend.top + grid.window_size[0])))


def _inside(window: Window, box: Window) -> Window:
    """A window in pixels of a box that holds it."""
    return Window(window.top - box.top, window.bottom - box.top, window.left - box.left, window.right - box.left)


def _numpy(logits: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = logits.cpu().numpy()
    return found
