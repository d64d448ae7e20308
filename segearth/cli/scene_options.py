"""Options for scenes on the command line, and their conversion to `SceneOptions`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from segearth.cli.vector_options import add_vector_options
from segearth.errors import UserError, conflicting_options, option

if TYPE_CHECKING:
    from segearth.scenes.options import SceneOptions

# Options that are only for scenes; None or False if not given.
ONLY_SCENES = (
    *("scale", "gsd", "resampling", "output_grid", "bands", "stretch", "stretch_from", "bbox", "bbox_crs", "aoi"),
    *("overview", "mosaic", "blend", "block", "batch", "confidence", "keep_parts", "workers", "shard", "executor"),
    *("scheduler", "vector", "min_area"),
)


def add_scene_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options for reading, computing and writing scenes."""
    scenes = parser.add_argument_group("scenes", "what has coordinates, many bands, more than 8 bits or many pixels")
    add_reading_options(scenes)
    scenes.add_argument("--mosaic", action="store_true", help="map all as the tiles of one scene, without seams")
    scenes.add_argument("--output-grid", choices=("input", "model"), help="whose pixels the map has (input)")
    scenes.add_argument("--blend", choices=("mean", "hann"), help="how windows that overlap are weighted (mean)")
    scenes.add_argument("--confidence", action="store_true", help="also NAME.confidence.tif: the best score")
    scenes.add_argument("--vector", metavar="FORMAT", help="also NAME.polygons.FORMAT: gpkg, fgb or geojson")
    add_vector_options(scenes)
    scenes.add_argument("--keep-parts", action="store_true", help="keep the parts that the map is put together from")
    scenes.add_argument("-j", "--workers", type=int, metavar="N", help="processes that compute (1)")
    scenes.add_argument(
        "--shard",
        metavar="I/N",
        help="compute share I, from 0, of N that are started by hand; auto: as torchrun or SLURM numbers this process",
    )
    scenes.add_argument("--executor", choices=("dask",), help="compute on the workers of a dask cluster")
    scenes.add_argument("--scheduler", metavar="ADDRESS", help="of the dask cluster, or the path of its file")


def add_reading_options(scenes: argparse._ArgumentGroup) -> None:
    """Adds the options for reading scenes and their division into windows, on which the cost depends."""
    scale = scenes.add_mutually_exclusive_group()
    scale.add_argument("--scale", type=float, metavar="S", help="pixels of the model for one of the scene (1)")
    scale.add_argument("--gsd", type=float, metavar="METRES", help="metres of a pixel of the model instead")
    scenes.add_argument("--resampling", choices=("antialias", "bilinear"), help="how the scene is scaled (antialias)")
    scenes.add_argument(
        "--bands", metavar="R,G,B", help="by number or name, such as 4,3,2 or B4,B3,B2 (as the scene says)"
    )
    scenes.add_argument(
        "--stretch",
        metavar="HOW",
        help="auto, percentile, percentile:1,99, MIN,MAX or none: how samples become colours (auto: percentile 2 to 98 "
        "for more than 8 bits)",
    )
    scenes.add_argument("--stretch-from", metavar="SCENE", help="take the stretch of another scene")
    part = scenes.add_mutually_exclusive_group()
    part.add_argument("--bbox", metavar="W,S,E,N", help="only this box, in coordinates of the scene")
    part.add_argument("--aoi", metavar="FILE", help="only the polygons of a file, such as GeoJSON")
    scenes.add_argument("--bbox-crs", metavar="CRS", help="coordinate system of --bbox, such as EPSG:4326")
    scenes.add_argument("--overview", type=int, metavar="N", help="overview N of the scene in its place, from 0")
    scenes.add_argument("--block", type=int, metavar="N", help="side of the parts that are computed at once (3584)")
    scenes.add_argument("--batch", type=int, metavar="N", help="windows at once, at most (what the model takes)")


def check_scene_options(args: argparse.Namespace) -> None:
    """Checks the options before torch is imported.

    Raises:
        UserError: options that exclude each other, or an invalid number of processes.
    """
    if args.workers is not None and args.workers < 1:
        raise UserError(f"{option('workers', args.workers)}: expected at least 1; change it")
    if (args.executor is None) != (args.scheduler is None):
        raise UserError(
            f"{option('executor', 'dask')} and {option('scheduler', 'ADDRESS')} belong together: expected both; give "
            "the other one, too, or leave both out"
        )
    if args.vector is None and args.min_area is not None:
        raise UserError(
            f"{option('min_area', args.min_area)} is of polygons: expected {option('vector', 'gpkg')}, too; give it, "
            "or leave the area out"
        )
    check_reading_options(args)
    for name in ("scale", "gsd"):
        if args.long_side and getattr(args, name) is not None:
            raise conflicting_options("long_side", args.long_side, name, getattr(args, name))


def check_reading_options(args: argparse.Namespace) -> None:
    """Checks the options of `add_reading_options`.

    Raises:
        UserError: a coordinate system without a box.
    """
    if args.bbox_crs is not None and args.bbox is None:
        raise UserError(f"{option('bbox_crs', args.bbox_crs)} is of no box: expected {option('bbox')}, too; give it")


def scene_options(args: argparse.Namespace) -> SceneOptions:
    """Converts the arguments to `SceneOptions`.

    Raises:
        UserError: an invalid value.
    """
    from segearth.scenes.options import SceneOptions

    values = {field.name: getattr(args, field.name, None) for field in fields(SceneOptions)}
    values["max_memory_mb"] = args.max_memory
    if values["stretch_from"] is not None and Path(values["stretch_from"]).exists():
        values["stretch_from"] = Path(values["stretch_from"])
    return SceneOptions(**{name: value for name, value in values.items() if value is not None})
