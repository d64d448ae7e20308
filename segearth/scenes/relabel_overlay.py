"""The picture of a map that was made from scores: over the raster that it is of, where that is at hand."""

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
from segearth.scenes.assemble import opened
from segearth.scenes.identity import identity
from segearth.scenes.raster import Raster, open_raster
from segearth.scenes.raster_spec import RasterSpec
from segearth.scenes.scene_overlay import LONGEST, Thumbnail, picture_of, scene_overlay
from segearth.windows import Window

if TYPE_CHECKING:
    from PIL import Image

    from segearth.vocabulary import Vocabulary


def check_image(image: str | os.PathLike[str], summary: Mapping[str, Any]) -> None:
    """Refuses a raster that a map is not of.

    Args:
        image: its address.
        summary: of the map.

    Raises:
        UserError: it is another one, or none.
    """
    with _opened(image, summary) as raster:
        if parse_json(json_line(identity(raster))) != summary["settings"].get("input"):
            raise UserError(
                f"{option('image', image)} is not the raster that {summary['image']} is the map of: expected the same "
                "file; leave it out, and the overlay shows the map alone"
            )


def draw_overlay(
    image: str | os.PathLike[str] | None,
    summary: Mapping[str, Any],
    labels: Path,
    vocabulary: Vocabulary,
    rows: Sequence[Mapping[str, Any]],
) -> tuple[Image.Image, list[str]]:
    """The overlay, and remarks on it.

    Args:
        image: the raster that the map is of; None shows the map alone.
        summary: of the map that it was made from.
        labels: of the new map.
        vocabulary: of the new map.
        rows: its figures.
    """
    if image is None:
        with opened(labels) as file:
            factor = -(-max(file.shape) // LONGEST)
            shape = -(-file.height // factor), -(-file.width // factor)
        blank = Thumbnail(np.full((*shape, 3), 255, np.uint8), np.ones(shape, bool))
        return scene_overlay(blank, labels, vocabulary, rows, opacity=1.0), []
    with _opened(image, summary) as raster:
        picture, remarks = picture_of(raster, _area(raster, summary))
    return scene_overlay(picture, labels, vocabulary, rows, OPACITY), remarks


def _opened(image: str | os.PathLike[str], summary: Mapping[str, Any]) -> Raster:
    """A raster, open, which is read as it was for the map."""
    try:
        how = RasterSpec.from_dict({**summary["settings"]["raster"], "address": str(image), "content": ""})
    except (LookupError, TypeError, ValueError):
        raise UserError(
            f"the summary of {summary['image']} does not tell how its raster was read: expected one of segearth "
            f"predict; leave out {option('image', image)}"
        ) from None
    return open_raster(str(image), how)


def _area(raster: Raster, summary: Mapping[str, Any]) -> Window:
    """Which part of a raster a map is of."""
    settings = summary["settings"]
    if settings["area"] is None:
        return Window(0, raster.size[0], 0, raster.size[1])
    own = Area(Window(*settings["area"]["window"]))
    on_model = settings["output_grid"] == "model"
    return own.scaled(tuple(settings["model_size"]), raster.size).window if on_model else own.window
