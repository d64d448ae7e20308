"""How a raster is cut for a model: its grids, what is wanted of it, and blocks that fit into memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from segearth.errors import UserError, option
from segearth.models.segearth import SegEarth
from segearth.scenes.aoi import Area, area_of_box, area_of_file
from segearth.scenes.blocks import BAND_VALUES
from segearth.scenes.grid import Frame, block_side
from segearth.scenes.options import SceneOptions
from segearth.windows import Window

if TYPE_CHECKING:
    from segearth.scenes.pixel_size import PixelSize
    from segearth.scenes.raster import Raster

MB = 2**20
FINE_M, COARSE_M = 0.2, 1.5  # what differs much from the sizes of pixels that the paper tried
OBLONG = 1.05  # of sides of a pixel, from which on it is told


class Windows(Protocol):
    """What cuts windows, such as a model."""

    @property
    def slide_crop(self) -> int:
        """Side of a window in pixels; 0: it cuts none."""

    @property
    def slide_stride(self) -> int:
        """Step between windows in pixels."""


def frame_of(raster: Raster, model: Windows, options: SceneOptions) -> Frame:
    """The grids of a raster for a model.

    Raises:
        UserError: metres are asked for where nobody knows the size of a pixel; or there are no windows.
    """
    scale: float | tuple[float, float] = 1.0 if options.scale is None else options.scale
    if options.gsd is not None:
        tall, wide = raster.pixel_size.height_m, raster.pixel_size.width_m
        if tall is None or wide is None:
            raise UserError(
                f"{option('gsd', options.gsd)}: the size of a pixel of {raster.name} in metres is not known "
                f"({raster.pixel_size.how}); expected a raster with coordinates, or use {option('scale', 0.5)}"
            )
        scale = tall / options.gsd, wide / options.gsd
    if model.slide_crop == 0:
        raise UserError("slide_crop is 0, but a scene is mapped by windows: expected a side above 0, such as 224")
    return Frame.of(
        raster.size, scale, model.slide_crop, model.slide_stride, output_is_model=options.output_grid == "model"
    )


def area_of(raster: Raster, frame: Frame, options: SceneOptions) -> tuple[Area, list[str]]:
    """What is wanted of a raster, in pixels of the output; and remarks, one sentence each.

    Raises:
        UserError: see `segearth.scenes.aoi`.
    """
    if options.bbox is not None:
        area, remarks = area_of_box(raster, options.bbox, options.bbox_crs), list[str]()
    elif options.aoi is not None:
        area, remarks = area_of_file(raster, options.aoi)
    else:
        return Area(Window(0, frame.output_size[0], 0, frame.output_size[1])), []
    return area.scaled(frame.input_size, frame.output_size), remarks


def windows_in(frame: Frame, area: Area) -> int:
    """How many windows the map of an area takes, where all of its window is valid and wanted."""
    return len(frame.grid.windows(frame.model_area(area.window)))


def side_of_blocks(frame: Frame, model: SegEarth, options: SceneOptions) -> int:
    """The side of blocks in pixels of the output: what was asked for, or less where the memory does not allow that.

    Raises:
        UserError: not even the smallest block fits.
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
    """Bytes of a process that maps a block, beside the model: of its largest arrays, and of the windows at once.

    Args:
        frame: of the scene.
        side: of the block, in pixels of the model.
        model: which.
        options: of the scene.
    """
    grid, queries = frame.grid, len(model.query_features)
    height, width = (min(side, length) for length in frame.model_size)
    tall, wide = (min(side + 2 * grid.crop, length) for length in frame.model_size)
    pixels = height * width * frame.output_size[0] * frame.output_size[1] // (frame.model_size[0] * frame.model_size[1])
    rolling = 4 * 4 * queries * min(grid.crop, tall) * width  # sums, before and after a step, and what is taken of them
    picture = 28 * tall * wide  # samples, colours and normalised pixels
    bands = 6 * 4 * min(BAND_VALUES, queries * pixels)  # logits, scores and what is made of them on the way
    windows = windows_mb(frame, model, options, batch_of(frame, model, options)) * MB
    return round(rolling + picture + 3 * pixels + bands + windows)


def batch_of(frame: Frame, model: SegEarth, options: SceneOptions) -> int:
    """How many windows a call of the encoder gets, whatever the memory: the last bits of a map may depend on it."""
    return min(max(2, options.batch or model.batch(frame.grid)), frame.grid.count)


def windows_mb(frame: Frame, model: SegEarth, options: SceneOptions, batch: int) -> float:
    """What the windows at once may take, of the memory of a process."""
    one = model.memory(frame.grid)
    return max(options.max_memory_mb / 3, batch * one.encoder / MB, (one.upsampler + one.logits) / MB)


def describe(frame: Frame, pixel: PixelSize) -> str:
    """What the model will see, for the first line."""
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
        text += f", {seen:.2g} m a pixel: a window is {_metres(seen * frame.grid.crop)} m"
        if not 1 / OBLONG < tall / wide < OBLONG and min(frame.model_size) > 1:
            square = option("gsd", float(f"{seen:.2g}"))
            text += f"; pixels are {tall:.2g} m high and {wide:.2g} m wide, {square} makes them square for the model"
        if seen < FINE_M:
            text += f"; the paper's data sets are seen at 0.3 to 1.2 m: try {option('gsd', 0.6)}"
        elif seen > COARSE_M:
            text += "; that is coarser than the paper's data sets, which are seen at 0.3 to 1.2 m"
    return text


def _metres(length: float) -> str:
    """For people: whole metres, and of few of them two digits."""
    return f"{length:.2g}" if length < 10 else f"{length:,.0f}"
