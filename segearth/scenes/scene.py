"""A scene, from a raster of any size to its map: blocks are computed, kept as parts, and put together at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.compute import memory_for
from segearth.errors import UserError, option
from segearth.models.blend import BLENDS
from segearth.models.segearth import SegEarth
from segearth.predictor import Predictor
from segearth.scenes.grid import Block, Frame, block_side, blocks
from segearth.scenes.resampling import KINDS
from segearth.windows import Window

if TYPE_CHECKING:
    from segearth.scenes.layers import Layer
    from segearth.scenes.raster import Raster, RasterSpec

MAX_MEMORY_MB = 1200  # of a process, beside the model


@dataclass(frozen=True)
class SceneOptions:
    """How a scene is mapped.

    Attributes:
        bands: red, green and blue, by number from 1 or by name; None: by colour interpretation.
        stretch: how samples become 0 to 255: auto, percentile, percentile:1,99, MIN,MAX or none.
        stretch_from: another raster, whose stretch is taken.
        scale: pixels of the model for one of the raster; above 0.
        gsd: metres of a pixel of the model, in place of `scale`.
        resampling: one of `segearth.scenes.resampling.KINDS`.
        output_grid: "input" or "model": whose pixels the map has.
        block: side of a block in pixels of the model; None: what memory allows, near 3584. The map does not depend on
            it.
        batch: windows in a call of the encoder, at most.
        blend: one of `segearth.models.blend.BLENDS`.
        max_memory_mb: bound of a process's working set beside the model. The map does not depend on it.
        confidence: whether a raster of the best class's score is written.
        scores: whether a raster of the scores of all classes is written.
        keep_parts: whether the parts of the blocks are kept.
    """

    bands: str | Sequence[str | int] | None = None
    stretch: str = "auto"
    stretch_from: str | Path | None = None
    scale: float | None = None
    gsd: float | None = None
    resampling: str = "antialias"
    output_grid: str = "input"
    block: int | None = None
    batch: int | None = None
    blend: str = "mean"
    max_memory_mb: float = MAX_MEMORY_MB
    confidence: bool = False
    scores: bool = False
    keep_parts: bool = False

    def __post_init__(self) -> None:
        for name, known in (("resampling", KINDS), ("output_grid", ("input", "model")), ("blend", tuple(BLENDS))):
            value = getattr(self, name)
            if value not in known:
                raise UserError(f"{option(name, value)}: expected {' or '.join(known)}")
        for name in ("scale", "gsd", "max_memory_mb", "block", "batch"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{option(name, value)}: expected a number above 0")
        if self.scale is not None and self.gsd is not None:
            raise UserError(
                f"{option('scale', self.scale)} and {option('gsd', self.gsd)} say the same in two ways: expected one of "
                "them; leave the other out"
            )


@dataclass(frozen=True)
class SceneProgress:
    """How far a scene is.

    Attributes:
        blocks: (done, in all).
        pixels: of the output, (done, in all).
        seconds: since the work began.
    """

    blocks: tuple[int, int]
    pixels: tuple[int, int]
    seconds: float

    @property
    def megapixels_a_second(self) -> float:
        """So far."""
        return self.pixels[0] / 1e6 / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class SceneResult:
    """The files of a scene's map.

    Attributes:
        labels: GeoTIFF of class indices.
        confidence: GeoTIFF of the best class's score; None if not asked for.
        scores: GeoTIFF of the scores of all classes; None if not asked for.
        summary: what is in NAME.summary.json.
        failed: blocks that could not be read, and why; they are nodata in the map.
        files: all that was written.
    """

    labels: Path
    confidence: Path | None
    scores: Path | None
    summary: dict[str, Any]
    failed: dict[str, str]
    files: tuple[Path, ...] = field(default=())


def frame_of(raster: Raster, model: SegEarth, options: SceneOptions) -> Frame:
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
        while side > stride and _block_bytes(side, crop, len(model.query_features), options) > budget:
            side = block_side(max(stride, side // 2), stride)
        if _block_bytes(side, crop, len(model.query_features), options) > budget:
            raise UserError(
                f"{option('max_memory', options.max_memory_mb)} is too little for {len(model.query_features)} names: "
                "expected more; give more, or search for fewer names"
            )
    ratio = frame.output_size[1] / frame.model_size[1]
    return max(1, round(side * ratio))


def _block_bytes(side: int, crop: int, queries: int, options: SceneOptions) -> int:
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
