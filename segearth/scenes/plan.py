"""All that is decided of a scene's map before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from segearth.compute import arithmetic
from segearth.json_files import json_line, parse_json
from segearth.labels import has_unclassified
from segearth.predictor import Predictor
from segearth.scenes.aoi import Area
from segearth.scenes.blocks import BlockSettings
from segearth.scenes.grid import Frame
from segearth.scenes.identity import content, identity
from segearth.scenes.inspection import Choice, look
from segearth.scenes.layers import CONFIDENCE, Layer, labels_layer, scores_layer
from segearth.scenes.layout import area_of, batch_of, frame_of, windows_mb
from segearth.scenes.options import SceneOptions
from segearth.scenes.raster import Raster
from segearth.scenes.raster_spec import RasterSpec
from segearth.vocabulary import describe_settings

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS

FORMAT = 1  # of parts and settings; with another number, earlier work is of other settings


@dataclass(frozen=True)
class Plan:
    """How a raster is mapped.

    Attributes:
        spec: how it is read.
        remarks: one sentence each, on what was not evident.
        frame: its grids.
        area: what is wanted, in pixels of the output.
        transform: of the output's grid, the whole raster's, from (column, row) to coordinates.
        crs: the coordinate system, or None.
        layers: the rasters that each block has; confidence always.
        blocks: how they are mapped.
        settings: all that the map depends on, as JSON gives it back.
    """

    spec: RasterSpec
    remarks: tuple[str, ...]
    frame: Frame
    area: Area
    transform: Affine
    crs: CRS | None
    layers: tuple[Layer, ...]
    blocks: BlockSettings
    settings: dict[str, Any]

    @classmethod
    def of(
        cls,
        raster: Raster,
        predictor: Predictor,
        options: SceneOptions,
        remarks: Sequence[str] = (),
        choice: Choice | None = None,
    ) -> Plan:
        """Looks at a raster, and decides.

        Args:
            raster: open; it is read as the plan says from now on.
            predictor: the model with its vocabulary.
            options: how.
            remarks: what was not evident before.
            choice: how the raster is read, where that is known.

        Raises:
            UserError: options that do not fit the raster or the model.
            ReadFailed: the network failed.
        """
        model, vocabulary = predictor.model, predictor.vocabulary
        frame = frame_of(raster, model, options)
        area, about_area = area_of(raster, frame, options)
        spec, about_raster, _ = choice or look(raster, options.bands, options.stretch, options.stretch_from)
        known = identity(raster)
        raster.spec = spec = replace(spec, content=content(raster, known["versions"]))
        labels = labels_layer(vocabulary, has_unclassified(vocabulary, predictor.threshold))
        layers: tuple[Layer, ...] = (labels, CONFIDENCE)
        if options.scores:
            layers += (scores_layer(vocabulary),)
        batch = batch_of(frame, model, options)
        is_part = options.bbox is not None or options.aoi is not None
        blocks = BlockSettings(
            batch,
            spec.fill,
            options.resampling,
            options.blend,
            options.scores,
            windows_mb(frame, model, options, batch),
            area if is_part else None,
        )
        settings = {
            "format": FORMAT,
            "input": known,
            "raster": {key: value for key, value in spec.as_dict().items() if key not in ("address", "content")},
            "area": area.as_dict() if is_part else None,
            **predictor.settings,
            "device": arithmetic(predictor.device),  # each kind rounds in its own way, and a map is of one
            "classes": describe_settings(vocabulary),
            "background": vocabulary.background_name,
            "threshold": predictor.threshold,
            "model_size": frame.model_size,
            "resampling": options.resampling,
            "output_grid": options.output_grid,
            "blend": options.blend,
            "batch": batch,
        }
        return cls(
            spec,
            (*remarks, *about_raster, *about_area),
            frame,
            area,
            _transform(raster, frame),
            raster.crs,
            layers,
            blocks,
            dict(parse_json(json_line(settings))),
        )

    @property
    def has_unclassified(self) -> bool:
        """Whether pixels can be unclassified."""
        return len(self.layers[0].entries) > len(self.settings["classes"])


def _transform(raster: Raster, frame: Frame) -> Affine:
    """From (column, row) of the output to coordinates."""
    from affine import Affine

    (height, width), (tall, wide) = raster.size, frame.output_size
    x, y, (a, b, c, d, e, f) = width / wide, height / tall, raster.transform[:6]
    return Affine(a * x, b * y, c, d * x, e * y, f)
