"""Small rasters for tests."""

import warnings

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

UTM = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5500000)


def write(path, pixels, nodata=None, colours=None, descriptions=None, mask=None, palette=None, **profile):
    """Writes a GeoTIFF of small tiles, bands (n, h, w); returns its path."""
    pixels = np.asarray(pixels)
    count, height, width = pixels.shape
    profile = {
        "driver": "GTiff", "tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate",
        "crs": "EPSG:32632", "transform": UTM, "photometric": "MINISBLACK",
    } | profile  # fmt: skip
    if "C" not in pixels.dtype.char and "ALPHA" not in profile and count > 1:
        profile["ALPHA"] = "NO"
    if profile["crs"] is None:
        del profile["crs"], profile["transform"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        file = rasterio.open(
            path, "w", width=width, height=height, count=count, dtype=pixels.dtype, nodata=nodata, **profile
        )
    with file:
        if palette:
            file.write_colormap(1, palette)
        if colours:
            file.colorinterp = [rasterio.enums.ColorInterp[colour] for colour in colours]
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
        for number, description in enumerate(descriptions or (), start=1):
            file.set_band_description(number, description)
    return path


def noise(count, height, width, dtype, low=0, high=None, seed=0):
    """Random samples of any type."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1000, (count, height, width)).astype(dtype)
    return rng.integers(low, high or np.iinfo(dtype).max + 1, (count, height, width)).astype(dtype)


def break_tile(path, band, row, column, fill=b"\xff"):
    """Overwrites a tile's bytes, so that they do not decode."""
    with rasterio.open(path) as file:
        offset, size = (
            int(file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band)) for what in ("OFFSET", "SIZE")
        )
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(fill * size)


def choose_spec(source, *settings, overview=None, **named_settings):
    """Opens a raster and inspects it; its spec and the remarks."""
    from segearth.scenes.inspection import inspect_raster
    from segearth.scenes.raster import open_raster

    with open_raster(source, overview=overview) as raster:
        return inspect_raster(raster, *settings, **named_settings)[:2]
