"""A map in one call: of a picture or of a scene, in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from PIL import Image

from segearth.errors import UserError, checks_options, one_of_two, option, printable
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

    A scene has its labels, whatever its size, from `segearth.predict_scene`, too, which writes them to files with
    bounded memory; both give the same labels, bit for bit.

    Args:
        source: a path or an address (https://, s3://, ..., see `segearth.addresses`); an open binary file, a PIL
            image or an array (H, W, 3) uint8 RGB, which are pictures; a dataset that rasterio has open, or several
            addresses, which are mapped as one mosaic: these are scenes.
        classes: in any form that `load_model` takes, such as "road; tree,forest".
        model: what `load_model` takes, such as "clip-vit-b16"; or a `Predictor`, which is not loaded again.
        device: of a model that is loaded: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: likewise: "fp32", "bf16", "fp16" or "auto".
        threshold: pixels whose best score is below become the background, or unclassified where there is none; in
            [0, 1]. None: none, or that of the `Predictor`.
        background: that class, by name or index; None: by its name, see `load_model`; False: none.
        way: "picture" or "scene"; None: what has coordinates, more than 8 bits or four bands, or more pixels than
            Pillow allows is a scene, and so are addresses on a network, VRTs and the like.
        long_side: pixels of the longer side, as the model sees it. None: 448 of a picture; a scene as it is.
        scale: pixels of the model for one of the source, in place of `long_side`; 1: as it is.
        gsd: metres of a pixel of the model, in place of `scale`. This and what follows is for scenes.
        bands: red, green and blue, by number from 1 or by name; None: by colour interpretation.
        stretch: how samples become 0 to 255: auto (None), percentile, percentile:1,99, MIN,MAX or none.
        bbox: the part that is mapped: west, south, east and north.
        bbox_crs: coordinate system of `bbox`, such as "EPSG:4326"; None: the raster's own.
        aoi: a file with polygons of the part that is mapped, in place of `bbox`.
        options: all else that can be asked of a scene; what is given beside it counts.
        scores: whether the result keeps the score of every class, (C, H, W) float32.
        progress: None draws a bar on a terminal or in a notebook, True always, False never; or a function of
            (windows done, windows in all).

    Returns:
        The map of (H, W) pixels: the picture's, or those of the scene or its part, with `transform` and `crs`.

    Raises:
        UserError: a source that cannot be read, options that do not fit it, a model that cannot be had, a scene without
            the packages that read it, or one that the memory cannot hold.
    """
    asked: dict[str, Any] = {"scale": scale, "gsd": gsd, "bands": bands, "stretch": stretch}
    asked |= {"bbox": bbox, "bbox_crs": bbox_crs, "aoi": aoi, "scores": scores or None}
    given = {name: value for name, value in asked.items() if value is not None}
    if long_side is not None and scale is not None:
        raise one_of_two("long_side", long_side, "scale", scale)
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
    """The source as one of a scene, None if it is mapped as a picture; and a remark on why, where nobody said.

    Raises:
        UserError: the source cannot be what is asked for.
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
    """Refuses options that a picture does not have."""
    if names:
        what = printable(source) if isinstance(source, str | os.PathLike) else "the given image"
        raise UserError(
            f"{what} is mapped as a picture, and {', '.join(option(name) for name in sorted(names))} "
            f"{'is' if len(names) == 1 else 'are'} for scenes: expected a raster with coordinates; leave that out, or "
            f"give a path and {option('way', 'scene')}"
        )


def _long_side(source: Source, long_side: int | None, scale: float | None) -> int:
    """To how many pixels the longer side of a picture is resized."""
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
    """The model with its vocabulary."""
    if not isinstance(model, Predictor):
        return load_model(model, classes, device, precision, threshold=threshold or 0.0, background=background)
    if (device, precision) != ("auto", "fp32"):
        raise UserError(
            "the model is a Predictor, which has its device and precision: expected neither; leave them out, or give "
            "the model's name"
        )
    predictor = model.with_classes(classes, background)
    return predictor if threshold is None else predictor.with_threshold(threshold)
