"""Which datasets that GDAL opens are no rasters to map, and what to do with them instead."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from segearth.addresses import without_keys
from segearth.errors import UserError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_MOST = 10  # sub-datasets that a message lists


def check(dataset: DatasetReader, name: str) -> None:
    """Refuses a dataset without a raster of its own, and one whose place is known by control points or RPCs alone.

    Args:
        dataset: open.
        name: of it, for messages.

    Raises:
        UserError: it is one of these.
    """
    if dataset.count == 0:
        inner = dataset.subdatasets
        if not inner:
            raise UserError(f"{name} has no bands: expected a raster; give another file")
        more = f" and {len(inner) - _MOST} more" if len(inner) > _MOST else ""
        raise UserError(
            f"{name} holds {len(inner)} rasters: expected one; give one of them as the raster: "
            f"{without_keys(', '.join(inner[:_MOST]))}{more}"
        )
    if not dataset.transform.is_identity:
        return
    points, crs = dataset.gcps
    if points:
        lon, lat = (sum(values) / len(points) for values in zip(*((point.x, point.y) for point in points), strict=True))
        geographic = crs is None or crs.is_geographic
        target = _utm(lon, lat) if geographic else crs.to_string()
        what, how = f"{len(points)} control points", f"-r bilinear -t_srs {shlex.quote(target)}"
    elif dataset.rpcs is not None:
        what = "RPCs"
        how = f"-rpc -r bilinear -t_srs {_utm(dataset.rpcs.long_off, dataset.rpcs.lat_off)}"
    else:
        return
    raise UserError(
        f"the place of {name} is known by {what} only: expected a raster whose pixels have coordinates; make one of "
        f"it: gdalwarp {how} {shlex.quote(name)} warped.tif"
    )


def _utm(lon: float, lat: float) -> str:
    """The UTM system of a place in degrees."""
    zone = int((lon + 180) % 360 // 6) + 1
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"
