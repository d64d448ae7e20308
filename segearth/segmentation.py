"""`segment`: maps a picture or a scene in memory, in one call."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from PIL import Image

from segearth.errors import UserError, checks_options, conflicting_options, option, printable
from segearth.images import ImageLike, read_header
from segearth.loading import load_model
from segearth.predictor import Predictor
from segearth.progress import Progress
from segearth.result import Result
from segearth.scenes.options import SceneOptions
from segearth.vocabulary import Classes
from segearth.windows import LONG_SIDE

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

    SceneSource: TypeAlias = "str | Path | DatasetReader | Sequence[str | Path]"
    Source: TypeAlias = "ImageLike | SceneSource"

_WAYS = ("picture", "scene")


@checks_options
def segment(
    source: Source,
    classes: Classes,
    *,
    model: str | Path | Predictor = "clip-vit-b16",
    device: str = "auto",
    precision: str = "fp32",
    threshold: float | None = None,
    background: int | str | bool | None = None,
    way: str | None = None,
    long_side: int | None = None,
    scale: float | None = None,
    gsd: float | None = None,
    bands: str | Sequence[str | int] | None = None,
    stretch: str | None = None,
    bbox: str | Sequence[float] | None = None,
    bbox_crs: str | None = None,
    aoi: str | Path | None = None,
    options: SceneOptions | None = None,
    scores: bool = False,
    progress: Progress = None,
) -> Result:
    """Maps a picture, or a georeferenced scene that fits into memory.

    `segearth.predict_scene` maps scenes of any size with bounded memory and writes files; the labels are identical.

    Args:
        source: a path or an address (https://, s3://, ..., see `segearth.addresses`); an open binary file, a PIL
            image or an array (H, W, 3) uint8 RGB, which are pictures; an open rasterio dataset, or several addresses
            that form one mosaic, which are scenes.
        classes: in any form that `load_model` takes, such as "road; tree,forest".
        model: a name or path for `load_model`, such as "clip-vit-b16"; or a loaded `Predictor`.
        device: for a model that is loaded here: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: likewise: "fp32", "bf16", "fp16" or "auto".
        threshold: in [0, 1]; pixels with a lower best score become the background, or unclassified if there is none.
            None: no threshold, or that of the `Predictor`.
        background: the background class, by name or index; None: chosen by name, see `load_model`; False: none.
        way: "picture" or "scene"; None: a scene if it has coordinates, more than 8 bits or four bands, more pixels than
            Pillow allows, or is a network address, a VRT or similar.
        long_side: pixels of the longer side of the model's input. None: 448 for a picture; a scene is not resized.
        scale: pixels of the model's input per pixel of the source, instead of `long_side`; 1: not resized.
        gsd: metres per pixel of the model's input, instead of `scale`. This and the options below are for scenes.
        bands: red, green and blue, by number from 1 or by name; None: by colour interpretation.
        stretch: conversion of samples to 0 to 255: auto (None), percentile, percentile:1,99, MIN,MAX or none.
        bbox: the part to map: west, south, east and north.
        bbox_crs: coordinate system of `bbox`, such as "EPSG:4326"; None: that of the raster.
        aoi: a file with polygons of the part to map, instead of `bbox`.
        options: all other options of scenes; arguments of this function override it.
        scores: whether the result keeps the score of every class, (C, H, W) float32.
        progress: None draws a bar on a terminal or in a notebook, True always, False never; or a callback (windows
            done, total windows).

    Returns:
        The map, of the size of the picture, or of the mapped part of the scene with `transform` and `crs`.

    Raises:
        UserError: a source that cannot be read, options that do not apply to it, a model that is not available, missing
            packages for scenes, or a scene larger than memory.
    """
    scene_only: dict[str, Any] = {"scale": scale, "gsd": gsd, "bands": bands, "stretch": stretch}
    scene_only |= {"bbox": bbox, "bbox_crs": bbox_crs, "aoi": aoi, "scores": scores or None}
    given = {name: value for name, value in scene_only.items() if value is not None}
    if long_side is not None and scale is not None:
        raise conflicting_options("long_side", long_side, "scale", scale)
    scene, why = _scene(source, way)
    if scene is None:
        _refuse_for_picture(source, {*given} - {"scale", "scores"} | ({"options"} if options else set()))
        size = _long_side(source, long_side, scale)
        predictor = _predictor(model, classes, device, precision, threshold, background)
        return predictor.predict(cast("ImageLike", source), size, progress, scores=scores)

    from segearth.scenes.in_memory import map_in_memory
    from segearth.scenes.predict import open_scene

    chosen = replace(options or SceneOptions(), **given)
    with open_scene(scene, chosen.overview) as (raster, remarks):
        if long_side is not None:
            chosen = replace(chosen, scale=long_side / max(raster.size))
        predictor = _predictor(model, classes, device, precision, threshold, background)
        return map_in_memory(raster, predictor, chosen, progress, [*why, *remarks])


def _scene(source: Source, way: str | None) -> tuple[SceneSource | None, list[str]]:
    """The source if it is a scene, else None; and a remark on why, if the user did not choose.

    Raises:
        UserError: the source cannot be mapped in the requested way.
    """
    if way not in (None, *_WAYS):
        raise UserError(f"{option('way', way)}: expected one of {', '.join(_WAYS)}, or None; give one of these")
    if isinstance(source, str | os.PathLike):
        address = source if isinstance(source, str) else Path(source)
        if way is not None:
            return (address if way == "scene" else None), []
        from segearth.addresses import display_name
        from segearth.scenes.input_kind import scene_reason

        why = scene_reason(address)
        return (None, []) if why is None else (address, [f"{display_name(address)} {why}, so it is mapped as a scene"])
    is_scene_already = hasattr(source, "dataset_mask") or isinstance(source, list | tuple)
    if way not in (None, "scene" if is_scene_already else "picture"):
        kinds = "several rasters or an open dataset" if is_scene_already else "an image in memory, without coordinates,"
        raise UserError(
            f"the source is {kinds} and cannot be mapped as a {way}: expected a path for that; leave "
            f"{option('way')} out"
        )
    return (cast("SceneSource", source) if is_scene_already else None), []


def _refuse_for_picture(source: Source, names: set[str]) -> None:
    """Refuses options that are only for scenes."""
    if names:
        what = printable(source) if isinstance(source, str | os.PathLike) else "the given image"
        raise UserError(
            f"{what} is mapped as a picture, and {', '.join(option(name) for name in sorted(names))} "
            f"{'is' if len(names) == 1 else 'are'} for scenes: expected a raster with coordinates; leave that out, or "
            f"give a path and {option('way', 'scene')}"
        )


def _long_side(source: Source, long_side: int | None, scale: float | None) -> int:
    """The long side that a picture is resized to, in pixels."""
    if scale is None:
        return LONG_SIDE if long_side is None else long_side
    if not 0 < scale < math.inf:
        raise UserError(f"{option('scale', scale)}: expected a number above 0; give one, such as 0.5")
    if isinstance(source, np.ndarray):
        sides = source.shape[:2]
    elif isinstance(source, Image.Image):
        sides = source.size
    else:
        sides = read_header(cast("str", source)).size
    return max(1, round(max(sides, default=1) * scale))


def _predictor(
    model: str | Path | Predictor,
    classes: Classes,
    device: str,
    precision: str,
    threshold: float | None,
    background: int | str | bool | None,
) -> Predictor:
    """Loads the model, or changes the vocabulary of a given `Predictor`."""
    if not isinstance(model, Predictor):
        return load_model(model, classes, device, precision, threshold=threshold or 0.0, background=background)
    if (device, precision) != ("auto", "fp32"):
        raise UserError(
            "the model is a Predictor, which has its device and precision: expected neither; leave them out, or give "
            "the model's name"
        )
    predictor = model.with_classes(classes, background)
    return predictor if threshold is None else predictor.with_threshold(threshold)
