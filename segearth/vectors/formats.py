"""Writes files of polygons, GeoPackage, FlatGeobuf and GeoJSON, part by part."""

from __future__ import annotations

import errno
import glob
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from segearth.errors import UserError, first_line, option, without_warnings
from segearth.outputs import temporary
from segearth.scenes.layers import LegendEntry
from segearth.vectors import styles

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = {"gpkg": "GPKG", "fgb": "FlatGeobuf", "geojson": "GeoJSON"}
FIELDS = ("class", "class_id", "pixels", "area_m2", "mean_confidence", "source")
_GEOMETRY = "geom"


class PolygonFeatures(NamedTuple):
    """Polygons with their fields.

    Attributes:
        shapes: (n,) of shapely.
        values: (n,) in the map.
        pixels: (n,).
        areas: (n,) in m², NaN where they are not known.
        confidences: (n,), NaN where they are not known.
    """

    shapes: NDArray[np.object_]
    values: NDArray[np.integer]
    pixels: NDArray[np.int64]
    areas: NDArray[np.float64]
    confidences: NDArray[np.float64]


class FeatureLayer(NamedTuple):
    """The layer of a file: what all of its polygons have in common.

    Attributes:
        name: of the layer.
        kind: Polygon or MultiPolygon.
        crs: the coordinate system as WKT; None if there is none.
        entries: what values mean.
        source: the name of the map's file.
    """

    name: str
    kind: str
    crs: str | None
    entries: Sequence[LegendEntry]
    source: str


def check_format(name: str) -> str:
    """The key of a format in `FORMATS`, from its name in any case, with or without a dot.

    Raises:
        UserError: unknown; or a shapefile, which cuts names and texts.
    """
    key = name.lower().lstrip(".")
    if key in ("shp", "shapefile", "esri shapefile"):
        raise UserError(
            f"{option('vector', name)}: shapefiles hold at most 2 GB and cut names, so none is written: expected "
            f"{', '.join(FORMATS)}; write a gpkg, and convert it: ogr2ogr NAME.shp NAME.polygons.gpkg NAME"
        )
    if key not in FORMATS:
        raise UserError(f"{option('vector', name)}: expected {', '.join(FORMATS)}")
    return key


def write_features(path: Path, suffix: str, layer: FeatureLayer, parts: Iterable[PolygonFeatures]) -> None:
    """Writes a file of polygons.

    FlatGeobuf and GeoJSON cannot be written part by part: they are converted from a GeoPackage, which can.

    Args:
        path: the file.
        suffix: its format, a key of `FORMATS`.
        layer: what its polygons have in common.
        parts: the polygons.

    Raises:
        OSError: it cannot be written.
    """
    with _errors():
        if suffix == "gpkg":
            _write_geopackage(path, layer, parts)
            styles.add_to_geopackage(path, layer.name, _GEOMETRY, styles.polygon_qml(layer.entries))
            return
        with temporary(path.with_suffix(".gpkg")) as whole:  # on the disk whose room is looked at
            _write_geopackage(whole, layer, parts, indexed=False)
            _convert(whole, path, suffix, layer)


def _write_geopackage(path: Path, layer: FeatureLayer, parts: Iterable[PolygonFeatures], indexed: bool = True) -> None:
    import pyogrio
    import shapely

    names = {entry.value: entry.name for entry in layer.entries}
    nothing = np.empty(0)
    first = PolygonFeatures(nothing.astype(object), nothing.astype(int), nothing.astype(int), nothing, nothing)
    try:
        for number, part in enumerate(_after(first, parts)):
            columns = [
                np.array([names[value] for value in part.values.tolist()], object),
                part.values.astype(np.int32),
                part.pixels.astype(np.int64),
                part.areas,
                part.confidences,
                np.full(len(part.values), layer.source, object),
            ]
            with without_warnings(UserWarning):  # that there is no coordinate system
                pyogrio.raw.write(
                    path,
                    shapely.to_wkb(part.shapes),
                    columns,
                    FIELDS,
                    layer=layer.name,
                    driver="GPKG",
                    geometry_type=layer.kind,
                    crs=layer.crs,
                    append=number > 0,
                    layer_options=None
                    if number
                    else {"GEOMETRY_NAME": _GEOMETRY, "SPATIAL_INDEX": "YES" if indexed else "NO"},
                )
    finally:
        for beside in path.parent.glob(f"{glob.escape(path.name)}[-.]*"):  # of SQLite and GDAL, where they were ended
            beside.unlink(missing_ok=True)


def _after(first: PolygonFeatures, others: Iterable[PolygonFeatures]) -> Iterator[PolygonFeatures]:
    """Yields one, then the others."""
    yield first
    yield from others


def _convert(source: Path, path: Path, suffix: str, layer: FeatureLayer) -> None:
    """Copies a GeoPackage to another format, with bounded memory."""
    import pyogrio

    # RFC 7946: GDAL turns coordinates into longitudes and latitudes of 7 decimals
    choices: dict[str, Any] = {"RFC7946": "YES"} if suffix == "geojson" else {"SPATIAL_INDEX": "YES"}
    with without_warnings(UserWarning), pyogrio.raw.open_arrow(source, layer=layer.name) as (meta, stream):
        pyogrio.raw.write_arrow(
            stream,
            path,
            layer=layer.name,
            driver=FORMATS[suffix],
            geometry_name=meta["geometry_name"] or "wkb_geometry",
            geometry_type=layer.kind,
            crs=layer.crs,
            layer_options=choices,
        )


@contextmanager
def _errors() -> Iterator[None]:
    """Turns errors of GDAL and SQLite about a file that cannot be written into an `OSError`."""
    import sqlite3

    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

    try:
        yield
    except (DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, sqlite3.Error) as error:
        raise OSError(errno.EIO, f"GDAL: {first_line(error)}") from None
