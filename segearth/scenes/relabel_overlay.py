"""Overlay of a relabelled map, on the mapped raster if it is given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.drawing import OPACITY
from segearth.errors import UserError, option
from segearth.json_files import json_line, parse_json
from segearth.scenes.aoi import Area
from segearth.scenes.assemble import open_map
from segearth.scenes.identity import raster_identity
from segearth.scenes.raster import Raster, open_raster
from segearth.scenes.raster_spec import RasterSpec
from segearth.scenes.scene_overlay import MAX_SIDE, Thumbnail, raster_thumbnail, scene_overlay
from segearth.windows import Window

if TYPE_CHECKING:
    from PIL import Image

    from segearth.vocabulary import Vocabulary


def check_image(image: str | os.PathLike[str], summary: Mapping[str, Any]) -> None:
    """Refuses a raster that is not the one of a map.

    Args:
        image: address of the raster.
        summary: summary of the map.

    Raises:
        UserError: it is another raster, or none.
    """
    with _open_raster_of(image, summary) as raster:
        if parse_json(json_line(raster_identity(raster))) != summary["settings"].get("input"):
            raise UserError(
                f"{option('image', image)} is not the raster of the map {summary['image']}: expected the same "
                "file; leave it out, and the overlay shows the map alone"
            )


def draw_overlay(
    image: str | os.PathLike[str] | None,
    summary: Mapping[str, Any],
    labels: Path,
    vocabulary: Vocabulary,
    rows: Sequence[Mapping[str, Any]],
) -> tuple[Image.Image, list[str]]:
    """Draws the overlay; returns it and remarks.

    Args:
        image: the mapped raster; None: the overlay shows only the map.
        summary: summary of the old map.
        labels: labels of the new map.
        vocabulary: classes of the new map.
        rows: table of the classes of the new map.
    """
    if image is None:
        with open_map(labels) as file:
            factor = -(-max(file.shape) // MAX_SIDE)
            shape = -(-file.height // factor), -(-file.width // factor)
        blank = Thumbnail(np.full((*shape, 3), 255, np.uint8), np.ones(shape, bool))
        return scene_overlay(blank, labels, vocabulary, rows, opacity=1.0), []
    with _open_raster_of(image, summary) as raster:
        picture, remarks = raster_thumbnail(raster, _mapped_window(raster, summary))
    return scene_overlay(picture, labels, vocabulary, rows, OPACITY), remarks


def _open_raster_of(image: str | os.PathLike[str], summary: Mapping[str, Any]) -> Raster:
    """Opens a raster with the spec that the map was made with."""
    try:
        spec = RasterSpec.from_dict({**summary["settings"]["raster"], "address": str(image), "content": ""})
    except (LookupError, TypeError, ValueError):
        raise UserError(
            f"the summary of {summary['image']} does not contain how its raster was read: expected one of segearth "
            f"predict; leave out {option('image', image)}"
        ) from None
    return open_raster(str(image), spec)


def _mapped_window(raster: Raster, summary: Mapping[str, Any]) -> Window:
    """Returns the window of a raster that a map covers."""
    settings = summary["settings"]
    if settings["area"] is None:
        return Window(0, raster.size[0], 0, raster.size[1])
    area = Area(Window(*settings["area"]["window"]))
    on_model = settings["output_grid"] == "model"
    return area.scaled(tuple(settings["model_size"]), raster.size).window if on_model else area.window
