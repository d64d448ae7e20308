"""Plan of a map: everything that is decided before anything is computed."""

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
from segearth.scenes.identity import content_hash, raster_identity
from segearth.scenes.inspection import Inspection, inspect_raster
from segearth.scenes.layers import CONFIDENCE, Layer, labels_layer, scores_layer
from segearth.scenes.layout import make_frame, requested_area, window_batch, windows_memory_mb
from segearth.scenes.options import SceneOptions
from segearth.scenes.raster import Raster
from segearth.scenes.raster_spec import RasterSpec
from segearth.vocabulary import describe_settings

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS

FORMAT = 1  # version of block files and settings; another number makes earlier work incompatible


@dataclass(frozen=True)
class Plan:
    """Plan for mapping a raster.

    Attributes:
        spec: how to read the raster.
        remarks: one sentence each, on choices that the file does not state.
        frame: grids of the scene.
        area: area to map, in pixels of the output.
        transform: of the output grid of the whole raster, from (column, row) to coordinates.
        crs: the coordinate system, or None.
        layers: layers of each block; always includes confidence.
        blocks: settings for mapping blocks.
        settings: everything that the map depends on, as plain JSON values.
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
    def create(
        cls,
        raster: Raster,
        predictor: Predictor,
        options: SceneOptions,
        remarks: Sequence[str] = (),
        inspection: Inspection | None = None,
    ) -> Plan:
        """Inspects a raster and creates the plan.

        Args:
            raster: an open raster; its spec is set.
            predictor: the model with its vocabulary.
            options: options of the scene.
            remarks: earlier remarks.
            inspection: result of inspecting the raster, if known.

        Raises:
            UserError: options that do not fit the raster or the model.
            ReadFailed: the network failed.
        """
        model, vocabulary = predictor.model, predictor.vocabulary
        frame = make_frame(raster, model, options)
        area, area_remarks = requested_area(raster, frame, options)
        spec, raster_remarks, _ = inspection or inspect_raster(
            raster, options.bands, options.stretch, options.stretch_from
        )
        identity = raster_identity(raster)
        raster.spec = spec = replace(spec, content=content_hash(raster, identity["versions"]))
        labels = labels_layer(vocabulary, has_unclassified(vocabulary, predictor.threshold))
        layers: tuple[Layer, ...] = (labels, CONFIDENCE)
        if options.scores:
            layers += (scores_layer(vocabulary),)
        batch = window_batch(frame, model, options)
        has_aoi = options.bbox is not None or options.aoi is not None
        blocks = BlockSettings(
            batch,
            spec.fill,
            options.resampling,
            options.blend,
            options.scores,
            windows_memory_mb(frame, model, options, batch),
            area if has_aoi else None,
        )
        settings = {
            "format": FORMAT,
            "input": identity,
            "raster": {key: value for key, value in spec.as_dict().items() if key not in ("address", "content")},
            "area": area.as_dict() if has_aoi else None,
            **predictor.settings,
            "device": arithmetic(predictor.device),  # rounding depends on the kind of device, and a map uses only one
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
            (*remarks, *raster_remarks, *area_remarks),
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
    """Returns the transform from (column, row) of the output to coordinates."""
    from affine import Affine

    (height, width), (tall, wide) = raster.size, frame.output_size
    x, y, (a, b, c, d, e, f) = width / wide, height / tall, raster.transform[:6]
    return Affine(a * x, b * y, c, d * x, e * y, f)
