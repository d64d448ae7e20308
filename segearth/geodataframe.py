"""Polygons of a map as a GeoDataFrame, read from a temporary GeoPackage."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.errors import UserError
from segearth.extras import install_command

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from segearth.result import Result


def polygons_of_result(result: Result, **options: Any) -> GeoDataFrame:
    """The polygons of a map that is in memory.

    Args:
        result: the map.
        options: of `VectorOptions`.

    Raises:
        UserError: a package is missing, or see `vectorize`.
    """
    _check_packages()
    with tempfile.TemporaryDirectory(prefix="segearth-") as folder:
        labels = Path(folder) / f"{result.name}.labels.tif"
        result.save(labels)
        result.save(labels.with_name(f"{result.name}.confidence.tif"))
        return polygons_of_file(labels, **options)


def polygons_of_file(labels: Path, **options: Any) -> GeoDataFrame:
    """The polygons of a label map that is a file.

    Args:
        labels: the file; the confidence is read from the file beside it.
        options: of `VectorOptions`.

    Raises:
        UserError: a package is missing, or see `vectorize`.
    """
    _check_packages()
    import geopandas

    from segearth.vectors.label_map import base_name, open_label_map
    from segearth.vectors.options import VectorOptions
    from segearth.vectors.vectorize import vectorize

    with tempfile.TemporaryDirectory(prefix="segearth-") as folder:
        made = vectorize(labels, folder, VectorOptions(vector="gpkg", **options))
        frame: GeoDataFrame = geopandas.read_file(made.path, layer=base_name(labels), engine="pyogrio")
        with open_label_map(labels) as source:
            if source.crs is None:  # GeoPackage calls it "undefined", which cannot be transformed
                frame = frame.set_crs(None, allow_override=True)
    return frame


def _check_packages() -> None:
    """Raises UserError where a package is missing."""
    try:
        import geopandas  # noqa: F401
        import rasterio  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"to_geodataframe needs {error.name}, which is not installed: {install_command('notebook')}"
        ) from None
