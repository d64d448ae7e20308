"""Options, progress and result of mapping a scene."""

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
    """Options for mapping a scene.

    Attributes:
        bands: red, green and blue, by number from 1 or by name; None: by colour interpretation.
        stretch: how samples are converted to 0 to 255: auto, percentile, percentile:1,99, MIN,MAX or none.
        stretch_from: another raster, whose stretch is used.
        scale: model pixels per raster pixel; above 0.
        gsd: metres per pixel of the model, instead of `scale`.
        resampling: one of `segearth.scenes.resampling.KINDS`.
        output_grid: "input" or "model": the pixel grid of the map.
        block: side of a block in pixels of the model; None: about 3584, or less to fit into memory. The map does not
            depend on it.
        batch: maximum number of windows per call of the encoder.
        blend: one of `segearth.models.blend.BLENDS`.
        max_memory_mb: memory limit of a process, without the model. The map does not depend on it.
        bbox: area to map: west, south, east and north, as text "W,S,E,N" or four numbers; None: everything.
        bbox_crs: coordinate system of `bbox`, such as "EPSG:4326"; None: that of the raster.
        aoi: vector file with polygons of the area to map, instead of `bbox`.
        overview: index of the raster's overview to map instead of full resolution, from 0; None: full resolution.
        opacity: opacity of the colours in the overlay, from 0 to 1.
        outline: whether to draw lines between classes in the overlay.
        confidence: whether to write a raster with the score of the best class.
        scores: whether to write a raster with the scores of all classes.
        keep_parts: whether to keep the files of the blocks.
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
        for name, choices in (("resampling", KINDS), ("output_grid", ("input", "model")), ("blend", BLENDS)):
            value = getattr(self, name)
            if value not in choices:
                raise UserError(f"{option(name, value)}: expected {' or '.join(choices)}")
        for name in ("scale", "gsd", "max_memory_mb", "block", "batch"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{option(name, value)}: expected a number above 0")
        for first, second in (("scale", "gsd"), ("bbox", "aoi")):
            pair = getattr(self, first), getattr(self, second)
            if None not in pair:
                raise conflicting_options(first, pair[0], second, pair[1])
        if not 0 <= self.opacity <= 1:
            raise UserError(f"{option('opacity', self.opacity)}: expected a number from 0 to 1")
        if self.overview is not None and self.overview < 0:
            raise UserError(f"{option('overview', self.overview)}: expected a whole number of at least 0")


@dataclass(frozen=True)
class SceneProgress:
    """Progress of mapping a scene.

    Attributes:
        done: finished or failed blocks, including those of earlier runs.
        total: blocks of this process's shard.
        megapixels: finished megapixels.
        megapixels_total: megapixels of all blocks.
        megapixels_before: megapixels finished by earlier runs.
        seconds: since the start of this run.
        remarks: on the scene, one sentence each.
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
        """Speed of this run; None before the first result."""
        computed = self.megapixels - self.megapixels_before
        return computed / self.seconds if computed > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Estimated time for the remaining blocks; None before the first result."""
        speed = self.megapixels_per_second
        return None if speed is None else (self.megapixels_total - self.megapixels) / speed


@dataclass(frozen=True)
class SceneResult:
    """The files of a scene's map.

    Attributes:
        labels: GeoTIFF of class indices.
        confidence: GeoTIFF with the score of the best class; None if not requested.
        scores: GeoTIFF with the scores of all classes; None if not requested.
        summary: content of NAME.summary.json.
        failed: failed blocks with the reason; they are nodata in the map.
        files: all files of the map.
        raster: spec of the mapped raster, to show it in a notebook; None if unknown.
    """

    labels: Path
    confidence: Path | None
    scores: Path | None
    summary: dict[str, Any]
    failed: dict[str, str]
    files: tuple[Path, ...]
    raster: RasterSpec | None = field(default=None, repr=False, compare=False)

    def _repr_html_(self) -> str:
        """HTML for notebooks: an interactive map if folium is installed, else the overlay; and the table of classes."""
        from segearth.notebook.interactive import interactive_html
        from segearth.notebook.view import html_table
        from segearth.scenes.scene_view import overlay_html, scene_view

        view = scene_view(self)
        map_html = None if view is None else interactive_html(view)
        return (map_html or overlay_html(self)) + html_table(self.summary["classes"])

    @checks_options
    def to_geodataframe(
        self,
        min_area: float = 0.0,
        simplify: float = 0.0,
        only: Sequence[str] = (),
        dissolve: bool = False,
        force: bool = False,
    ) -> GeoDataFrame:
        """Returns the map as polygons, as `segearth vectorize` writes them; see `Result.to_geodataframe`.

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
