"""What is asked of a scene's map, and what one gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.drawing import OPACITY
from segearth.errors import UserError, checks_options, conflicting_options, option
from segearth.scenes.resampling import KINDS

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from segearth.scenes.raster_spec import RasterSpec

BLENDS = ("mean", "hann")  # of segearth.models.blend, which needs torch
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
        bbox: the part that is wanted: west, south, east and north, "W,S,E,N" or four numbers; None: all.
        bbox_crs: coordinate system of `bbox`, such as "EPSG:4326"; None: the raster's own.
        aoi: a file with polygons of the part that is wanted, in place of `bbox`.
        overview: which of the raster's own overviews is mapped in its place, from 0; None: the raster itself.
        opacity: of the colours in the overlay, from 0 to 1.
        outline: whether a line parts the classes in the overlay.
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
    bbox: str | Sequence[float] | None = None
    bbox_crs: str | None = None
    aoi: str | Path | None = None
    overview: int | None = None
    opacity: float = OPACITY
    outline: bool = True
    confidence: bool = False
    scores: bool = False
    keep_parts: bool = False

    def __post_init__(self) -> None:
        for name, known in (("resampling", KINDS), ("output_grid", ("input", "model")), ("blend", BLENDS)):
            value = getattr(self, name)
            if value not in known:
                raise UserError(f"{option(name, value)}: expected {' or '.join(known)}")
        for name in ("scale", "gsd", "max_memory_mb", "block", "batch"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{option(name, value)}: expected a number above 0")
        for one, other in (("scale", "gsd"), ("bbox", "aoi")):
            pair = getattr(self, one), getattr(self, other)
            if None not in pair:
                raise conflicting_options(one, pair[0], other, pair[1])
        if not 0 <= self.opacity <= 1:
            raise UserError(f"{option('opacity', self.opacity)}: expected a number from 0 to 1")
        if self.overview is not None and self.overview < 0:
            raise UserError(f"{option('overview', self.overview)}: expected a number from 0 on")


@dataclass(frozen=True)
class SceneProgress:
    """How far a scene is.

    Attributes:
        done: blocks that are finished or given up, also by earlier runs.
        total: blocks, of this process's share.
        megapixels: of the map that are finished.
        megapixels_total: in all blocks.
        megapixels_before: of `megapixels` what earlier runs had done.
        seconds: since this run began.
        remarks: on the scene, one sentence each: on what was not evident.
    """

    done: int
    total: int
    megapixels: float
    megapixels_total: float
    megapixels_before: float
    seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def megapixels_per_second(self) -> float | None:
        """The pace of this run; None before there is one."""
        made = self.megapixels - self.megapixels_before
        return made / self.seconds if made > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """What the rest of the blocks will take at this pace; None before there is one."""
        pace = self.megapixels_per_second
        return None if pace is None else (self.megapixels_total - self.megapixels) / pace


@dataclass(frozen=True)
class SceneResult:
    """The files of a scene's map.

    Attributes:
        labels: GeoTIFF of class indices.
        confidence: GeoTIFF of the best class's score; None if not asked for.
        scores: GeoTIFF of the scores of all classes; None if not asked for.
        summary: what is in NAME.summary.json.
        failed: blocks that could not be mapped, and why; they are nodata in the map.
        files: all that was written.
        raster: how what was mapped is read, for its picture in a notebook; None where it is not known.
    """

    labels: Path
    confidence: Path | None
    scores: Path | None
    summary: dict[str, Any]
    failed: dict[str, str]
    files: tuple[Path, ...]
    raster: RasterSpec | None = field(default=None, repr=False, compare=False)

    def _repr_html_(self) -> str:
        """An interactive map where folium is, else the overlay with its legend; and the table, for notebooks."""
        from segearth.notebook.interactive import interactive_html
        from segearth.notebook.view import html_table
        from segearth.scenes.scene_view import overlay_html, scene_view

        view = scene_view(self)
        shown = None if view is None else interactive_html(view)
        return (shown or overlay_html(self)) + html_table(self.summary["classes"])

    @checks_options
    def to_geodataframe(
        self,
        min_area: float = 0.0,
        simplify: float = 0.0,
        only: Sequence[str] = (),
        dissolve: bool = False,
        force: bool = False,
    ) -> GeoDataFrame:
        """The pieces of the map as polygons, as `segearth vectorize` writes them; see `Result.to_geodataframe`.

        Args:
            min_area: as of `segearth.vectors.options.VectorOptions`, like all others.
            simplify: likewise.
            only: likewise.
            dissolve: likewise.
            force: likewise.

        Raises:
            UserError: geopandas is missing, or as of `vectorize`.
        """
        from segearth.geodataframe import polygons_of_file

        return polygons_of_file(
            self.labels, min_area=min_area, simplify=simplify, only=only, dissolve=dissolve, force=force
        )
