"""Refusal of datasets that GDAL opens but that cannot be mapped: containers, and rasters without a geotransform."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from segearth.addresses import without_credentials
from segearth.errors import UserError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_MAX_LISTED = 10  # sub-datasets that a message lists


def check_dataset(dataset: DatasetReader, name: str) -> None:
    """Refuses a dataset without bands, and one that is georeferenced only by ground control points or RPCs.

    Args:
        dataset: an open dataset.
        name: its name, for messages.

    Raises:
        UserError: it is one of these.
    """
    if dataset.count == 0:
        subdatasets = dataset.subdatasets
        if not subdatasets:
            raise UserError(f"{name} has no bands: expected a raster; give another file")
        more = f" and {len(subdatasets) - _MAX_LISTED} more" if len(subdatasets) > _MAX_LISTED else ""
        raise UserError(
            f"{name} holds {len(subdatasets)} rasters: expected one; give one of them as the raster: "
            f"{without_credentials(', '.join(subdatasets[:_MAX_LISTED]))}{more}"
        )
    if not dataset.transform.is_identity:
        return
    points, crs = dataset.gcps
    if points:
        lon, lat = (sum(values) / len(points) for values in zip(*((point.x, point.y) for point in points), strict=True))
        geographic = crs is None or crs.is_geographic
        target = _utm_crs(lon, lat) if geographic else crs.to_string()
        what, arguments = f"{len(points)} control points", f"-r bilinear -t_srs {shlex.quote(target)}"
    elif dataset.rpcs is not None:
        what = "RPCs"
        arguments = f"-rpc -r bilinear -t_srs {_utm_crs(dataset.rpcs.long_off, dataset.rpcs.lat_off)}"
    else:
        return
    raise UserError(
        f"{name} is georeferenced by {what} only: expected a raster with a geotransform; create one: gdalwarp "
        f"{arguments} {shlex.quote(name)} warped.tif"
    )


def _utm_crs(lon: float, lat: float) -> str:
    """Returns the EPSG code of the UTM zone of a position in degrees."""
    zone = int((lon + 180) % 360 // 6) + 1
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"
