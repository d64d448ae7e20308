"""Layout of a scene: its grids, the requested area, and blocks that fit into memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from segearth.errors import UserError, option
from segearth.models.segearth import SegEarth
from segearth.scenes.aoi import Area, area_from_bbox, area_from_file
from segearth.scenes.blocks import MAX_LOGITS
from segearth.scenes.grid import Frame, block_side
from segearth.scenes.options import SceneOptions
from segearth.windows import Window

if TYPE_CHECKING:
    from segearth.scenes.pixel_size import PixelSize
    from segearth.scenes.raster import Raster

MB = 2**20
FINE_M, COARSE_M = 0.2, 1.5  # pixel sizes outside this range differ much from the paper's data sets
OBLONG = 1.05  # ratio of pixel sides from which on a remark is made


class WindowSettings(Protocol):
    """Window size and stride, such as those of a model."""

    @property
    def slide_crop(self) -> int:
        """Side of a window in pixels; 0 for no windows."""

    @property
    def slide_stride(self) -> int:
        """Step between windows in pixels."""


def make_frame(raster: Raster, model: WindowSettings, options: SceneOptions) -> Frame:
    """Creates the grids of a raster for a model.

    Raises:
        UserError: `gsd` is given, but the pixel size is unknown; or the model uses no windows.
    """
    scale: float | tuple[float, float] = 1.0 if options.scale is None else options.scale
    if options.gsd is not None:
        tall, wide = raster.pixel_size.height_m, raster.pixel_size.width_m
        if tall is None or wide is None:
            raise UserError(
                f"{option('gsd', options.gsd)}: the size of a pixel of {raster.name} in metres is not known "
                f"({raster.pixel_size.method}); expected a raster with coordinates, or use {option('scale', 0.5)}"
            )
        scale = tall / options.gsd, wide / options.gsd
    if model.slide_crop == 0:
        raise UserError("slide_crop is 0, but a scene is mapped by windows: expected a side above 0, such as 224")
    return Frame.create(
        raster.size, scale, model.slide_crop, model.slide_stride, output_is_model=options.output_grid == "model"
    )


def requested_area(raster: Raster, frame: Frame, options: SceneOptions) -> tuple[Area, list[str]]:
    """Returns the requested area in pixels of the output, and remarks (one sentence each).

    Raises:
        UserError: see `segearth.scenes.aoi`.
    """
    if options.bbox is not None:
        area, remarks = area_from_bbox(raster, options.bbox, options.bbox_crs), list[str]()
    elif options.aoi is not None:
        area, remarks = area_from_file(raster, options.aoi)
    else:
        return Area(Window(0, frame.output_size[0], 0, frame.output_size[1])), []
    return area.scaled(frame.input_size, frame.output_size), remarks


def window_count(frame: Frame, area: Area) -> int:
    """Returns the number of windows that overlap an area, counting also windows without valid pixels."""
    return len(frame.grid.windows(frame.model_area(area.window)))


def fit_block_side(frame: Frame, model: SegEarth, options: SceneOptions) -> int:
    """Returns the side of blocks in pixels of the output: as requested, or smaller to fit into memory.

    Raises:
        UserError: not even the smallest block fits into memory.
    """
    stride = frame.grid.stride
    side = block_side(options.block, stride)
    while side > stride and working_set(frame, side, model, options) > options.max_memory_mb * MB:
        side = block_side(side // 2, stride)
    if (needed := working_set(frame, side, model, options)) > options.max_memory_mb * MB:
        raise UserError(
            f"{option('max_memory', options.max_memory_mb)} is too little for {len(model.query_features)} "
            f"names: expected {1.5 * needed / MB:.0f} or more; give more, or search for fewer names"
        )
    return max(1, round(side * frame.output_size[1] / frame.model_size[1]))


def working_set(frame: Frame, side: int, model: SegEarth, options: SceneOptions) -> int:
    """Estimates the memory in bytes for mapping a block, without the model: its largest arrays and its windows.

    Args:
        frame: grids of the scene.
        side: side of the block, in pixels of the model.
        model: the model.
        options: options of the scene.
    """
    grid, queries = frame.grid, len(model.query_features)
    height, width = (min(side, length) for length in frame.model_size)
    tall, wide = (min(side + 2 * grid.crop, length) for length in frame.model_size)
    pixels = height * width * frame.output_size[0] * frame.output_size[1] // (frame.model_size[0] * frame.model_size[1])
    rolling = 4 * 4 * queries * min(grid.crop, tall) * width  # sums before and after a step, and finished rows
    picture = 28 * tall * wide  # samples, colours and normalised pixels
    bands = 6 * 4 * min(MAX_LOGITS, queries * pixels)  # logits, scores and temporary arrays
    windows = windows_memory_mb(frame, model, options, window_batch(frame, model, options)) * MB
    return round(rolling + picture + 3 * pixels + bands + windows)


def window_batch(frame: Frame, model: SegEarth, options: SceneOptions) -> int:
    """Returns the windows per call of the encoder, independent of memory: the last bits may depend on it."""
    return min(max(2, options.batch or model.batch(frame.grid)), frame.grid.count)


def windows_memory_mb(frame: Frame, model: SegEarth, options: SceneOptions, batch: int) -> float:
    """Returns the memory limit in MB for computing windows."""
    memory = model.memory(frame.grid)
    return max(options.max_memory_mb / 3, batch * memory.encoder / MB, (memory.upsampler + memory.logits) / MB)


def describe_model_input(frame: Frame, pixel: PixelSize) -> str:
    """Describes size and pixel size of the model's input, for messages."""
    height, width = frame.input_size
    text = f"{width:,} × {height:,} pixels"
    if frame.model_size != frame.input_size:
        text += f", seen as {frame.model_size[1]:,} × {frame.model_size[0]:,}"
        if max(frame.model_size) < frame.grid.crop:
            text += f", less than a window of {frame.grid.crop} × {frame.grid.crop}"
    if pixel.height_m is not None and pixel.width_m is not None:
        tall = pixel.height_m * frame.input_size[0] / frame.model_size[0]
        wide = pixel.width_m * frame.input_size[1] / frame.model_size[1]
        seen = math.sqrt(tall * wide)
        text += f", {seen:.2g} m a pixel: a window is {_format_metres(seen * frame.grid.crop)} m"
        if not 1 / OBLONG < tall / wide < OBLONG and min(frame.model_size) > 1:
            square = option("gsd", float(f"{seen:.2g}"))
            text += f"; pixels are {tall:.2g} m high and {wide:.2g} m wide, {square} makes them square for the model"
        if seen < FINE_M:
            text += f"; the paper's data sets are seen at 0.3 to 1.2 m: try {option('gsd', 0.6)}"
        elif seen > COARSE_M:
            text += "; that is coarser than the paper's data sets, which are seen at 0.3 to 1.2 m"
    return text


def _format_metres(length: float) -> str:
    """Formats metres: whole numbers, two digits below 10."""
    return f"{length:.2g}" if length < 10 else f"{length:,.0f}"
