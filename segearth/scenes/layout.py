"""How a raster is cut for a model: the grids of input, model and output, and blocks that fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from segearth.errors import UserError, option
from segearth.models.segearth import SegEarth
from segearth.scenes.grid import Frame, block_side
from segearth.scenes.options import SceneOptions

if TYPE_CHECKING:
    from segearth.scenes.raster import Raster


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
        UserError: metres are asked for where nobody knows the size of a pixel.
    """
    scale = 1.0 if options.scale is None else options.scale
    if options.gsd is not None:
        if raster.pixel_size_m is None:
            raise UserError(
                f"{option('gsd', options.gsd)}: the size of a pixel of {raster.name} in metres is not known "
                f"({raster.pixel_size_note}); expected a raster with coordinates, or use {option('scale', 0.5)}"
            )
        scale = raster.pixel_size_m / options.gsd
    if model.slide_crop == 0:
        raise UserError("slide_crop is 0, but a scene is mapped by windows: expected a side above 0, such as 224")
    return Frame.of(
        raster.size, scale, model.slide_crop, model.slide_stride, output_is_model=options.output_grid == "model"
    )


def side_of_blocks(frame: Frame, model: SegEarth, options: SceneOptions) -> int:
    """The side of blocks in pixels of the output: what was asked for, or what the memory allows.

    Raises:
        UserError: not even the smallest block fits.
    """
    stride, crop = frame.grid.stride, frame.grid.crop
    side = block_side(options.block, stride)
    if options.block is None:
        budget = options.max_memory_mb * 2**20 * 2 / 3  # the rest is for the windows at once
        while side > stride and _block_bytes(side, crop, len(model.query_features)) > budget:
            side = block_side(max(stride, side // 2), stride)
        if _block_bytes(side, crop, len(model.query_features)) > budget:
            raise UserError(
                f"{option('max_memory', options.max_memory_mb)} is too little for {len(model.query_features)} names: "
                "expected more; give more, or search for fewer names"
            )
    ratio = frame.output_size[1] / frame.model_size[1]
    return max(1, round(side * ratio))


def _block_bytes(side: int, crop: int, queries: int) -> int:
    """Of a block's largest arrays."""
    rolling = 3 * 4 * queries * crop * side  # the sums, what is taken of them, what is interpolated
    picture = 28 * (side + 2 * crop) ** 2  # samples, colours and normalised pixels
    return rolling + picture + 2 * side**2


def describe(frame: Frame, pixel_m: float | None) -> str:
    """What the model will see, for the first line."""
    height, width = frame.input_size
    text = f"{width:,} × {height:,} pixels"
    if frame.model_size != frame.input_size:
        text += f", seen as {frame.model_size[1]:,} × {frame.model_size[0]:,}"
    if pixel_m is not None:
        seen = pixel_m * frame.input_size[1] / frame.model_size[1]
        text += f", {seen:.2g} m a pixel: a window is {seen * frame.grid.crop:.0f} m"
        if not 0.2 <= seen <= 1.5:
            text += f"; the paper's data sets are seen at 0.3 to 1.2 m: try {option('gsd', 0.6)}"
    return text
