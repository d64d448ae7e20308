"""Writes the polygons of a label map to a file: `vectorize`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import segearth
from segearth.errors import UserError, option
from segearth.outputs import writable_folder, write_all
from segearth.progress import Progress, window_progress
from segearth.scenes.existing_files import POLYGONS
from segearth.scenes.scene_summary import file_record, scene_versions
from segearth.summary import json_writer
from segearth.vectors import styles
from segearth.vectors.existing_files import finished_summary, refuse_open, refuse_style
from segearth.vectors.label_map import LabelMap, base_name, open_label_map
from segearth.vectors.options import VectorOptions, VectorResult
from segearth.vectors.selection import select_values
from segearth.vectors.vectorizer import Vectorizer

if TYPE_CHECKING:
    from rasterio.crs import CRS

_VERSION = 2  # of what the files hold


def vectorize(
    labels: str | Path,
    output: str | Path | None = None,
    options: VectorOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = False,
) -> VectorResult:
    """Writes the pieces of a label map as polygons, with bounded memory.

    A piece is what touches along the sides of pixels. Areas and confidences are sums over its pixels, so that they add
    up to those of the map's summary.

    Args:
        labels: a raster with one band of whole numbers, such as `town.labels.tif`.
        output: folder for `town.polygons.gpkg`; None: that of the map.
        options: how.
        overwrite: whether to begin anew, whatever is there.
        progress: as of `Predictor.predict`, of tiles.

    Raises:
        UserError: no label map, no such class, a format that needs a coordinate system, too many pieces, files of other
            settings, or a full disk.
    """
    labels, options = Path(labels), options or VectorOptions()
    if not labels.is_file():
        raise UserError(f"no file at {labels}: expected a NAME.labels.tif of segearth predict; correct the path")
    folder = writable_folder(labels.parent if output is None else output)
    path = folder / f"{base_name(labels)}.{POLYGONS}.{options.vector}"
    record = path.with_name(f"{path.name}.json")
    style = None if options.vector == "gpkg" else path.with_suffix(".qml")  # a GeoPackage holds its own
    with open_label_map(labels) as source:
        only = select_values(source, options.only)
        settings = _settings(source, only, options)
        if not overwrite:
            if (summary := finished_summary(path, style, record, settings, labels)) is not None:
                return VectorResult(path, summary, True)
            refuse_style(style)
        refuse_open(path)
        check_crs(str(labels), source.crs, options)
        with window_progress(progress, "tiles") as show:
            vectorizer = Vectorizer(source, only, options, show)
            return VectorResult(path, _write(vectorizer, path, style, record, settings), False)


def _write(
    vectorizer: Vectorizer, path: Path, style: Path | None, record: Path, settings: dict[str, Any]
) -> dict[str, Any]:
    """Writes the files, and returns the summary, which is the content of the last one."""
    files: dict[str, Any] = {}
    summary: dict[str, Any] = {}

    def write(part: Path) -> None:
        vectorizer.write(part)
        files[path.name] = file_record(part)

    def write_style(part: Path) -> None:
        part.write_bytes(styles.polygon_qml(vectorizer.entries).encode())
        files[path.with_suffix(".qml").name] = file_record(part)

    def write_record(part: Path) -> None:
        summary.update(vectorizer.summary(settings), files=files, versions=_versions())
        json_writer(summary)(part)

    writers: dict[Path, Callable[[Path], object]] = {path: write}
    if style is not None:
        writers[style] = write_style
    write_all({**writers, record: write_record})
    return summary


def check_crs(name: str, crs: CRS | None, options: VectorOptions) -> None:
    """Refuses a format that needs a coordinate system where there is none.

    Args:
        name: of the raster, for messages.
        crs: its coordinate system, or None.
        options: of its polygons.

    Raises:
        UserError: that is so.
    """
    if options.vector != "geojson":
        return
    if crs is None:
        raise UserError(
            f"{name} has no coordinate system, and GeoJSON is in longitudes and latitudes: expected a georeferenced "
            f"scene or a map of one; write polygons in pixels by {option('vector', 'gpkg')}"
        )
    if not (crs.is_geographic or crs.is_projected):
        raise UserError(
            f"{name} has a local coordinate system, whose place on the Earth is not known, and GeoJSON is in "
            f"longitudes and latitudes: expected a system such as EPSG:32632; give {option('vector', 'gpkg')}, which "
            "keeps local coordinates"
        )


def _settings(source: LabelMap, only: dict[int, str] | None, options: VectorOptions) -> dict[str, Any]:
    """All that the polygons depend on."""
    return {
        "version": _VERSION,
        "input": {"labels": source.content, "confidence": source.confidence_content},
        "source": source.path.name,
        "vector": options.vector,
        "min_area": float(options.min_area),
        "simplify": float(options.simplify),
        "only": [] if only is None else list(only.values()),
        "dissolve": options.dissolve,
    }


def _versions() -> dict[str, str]:
    """Versions of the libraries that polygons depend on; not torch, whose import takes more memory than a map."""
    import pyogrio
    import shapely

    return {
        "segearth": segearth.__version__,
        "numpy": np.__version__,
        "pyogrio": pyogrio.__version__,
        "shapely": shapely.__version__,
        "geos": shapely.geos_version_string,
        **scene_versions(),
    }
