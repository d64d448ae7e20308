"""VRTs of several rasters: a mosaic of tiles, or a stack with one band of each raster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

from segearth.errors import UserError
from segearth.scenes.bands import Band
from segearth.scenes.raster import open_raster

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS

_TYPES = {"uint8": "Byte", "int8": "Int8"}  # other types differ from GDAL's names only in the first letter
_SAME_SIZE = 1e-6  # relative tolerance of pixel sizes, which files store with rounding
_ON_GRID = 0.01  # offset in pixels from the grid of the first tile that causes no remark


@dataclass(frozen=True)
class _Tile:
    """Properties of a raster that is closed again, as there may be more tiles than files can be open.

    Attributes:
        source: GDAL name.
        name: name in messages.
        size: (H, W).
        transform: from (column, row) to coordinates.
        crs: the coordinate system, or None.
        bands: all bands.
        palette: colour table of the first band.
        has_mask: whether it has a dataset mask or an alpha band.
    """

    source: str
    name: str
    size: tuple[int, int]
    transform: Affine
    crs: CRS | None
    bands: tuple[Band, ...]
    palette: dict[int, tuple[int, int, int, int]]
    has_mask: bool

    @classmethod
    def read(cls, address: str | Path) -> _Tile:
        with open_raster(address) as raster:
            grid = raster.size, raster.transform, raster.crs
            return cls(raster.source, raster.name, *grid, raster.bands, raster.palette, raster.has_mask)

    def nodata(self, band: int) -> float | None:
        """Returns the nodata value of a band; None if it has none or a mask is used instead."""
        return None if self.has_mask else self.bands[band - 1].nodata


def mosaic_vrt(addresses: Sequence[str | Path]) -> tuple[str, list[str]]:
    """Creates a mosaic of tiles; where they overlap, the later one is on top.

    Args:
        addresses: of at least one tile, with the same coordinate system, pixel size and bands.

    Returns:
        The XML of a VRT, which is itself an address, and remarks (one sentence each).

    Raises:
        UserError: the tiles do not fit together.
    """
    tiles = [_Tile.read(address) for address in addresses]
    first = tiles[0]
    for other in tiles[1:]:
        _check_compatible(first, other)
    exact = [_corner_in(first, tile) for tile in tiles]
    left, top = (min(round(corner[axis]) for corner in exact) for axis in (0, 1))
    corners = [(round(column) - left, round(row) - top) for column, row in exact]
    remarks = [
        f"{tile.name} lies {shift:.2f} pixels off the grid of {first.name} and is moved onto it"
        for tile, corner in zip(tiles, exact, strict=True)
        if (shift := max(abs(value - round(value)) for value in corner)) > _ON_GRID
    ]
    size = (
        max(row + tile.size[0] for tile, (_, row) in zip(tiles, corners, strict=True)),
        max(column + tile.size[1] for tile, (column, _) in zip(tiles, corners, strict=True)),
    )
    root = _create_dataset(first, size, (left, top))
    for band in first.bands:
        if band.colour != "alpha":  # it becomes the mask
            element = _add_band(root, first, band, band.colour)
            for tile, corner in zip(tiles, corners, strict=True):
                _add_source(element, tile, corner, str(band.number), tile.nodata(band.number))
    _add_mask(root, list(zip(tiles, corners, strict=True)))
    return Xml.tostring(root, encoding="unicode"), remarks


def stack_vrt(addresses: Sequence[str], colours: Sequence[str]) -> str:
    """Creates a stack of the first bands of several rasters.

    Args:
        addresses: of the rasters.
        colours: colour interpretation of each, such as "red".

    Returns:
        The XML of a VRT.

    Raises:
        UserError: the rasters do not have the same pixels.
    """
    tiles = [_Tile.read(address) for address in addresses]
    first = tiles[0]
    root = _create_dataset(first, first.size, (0, 0))
    for number, (tile, colour) in enumerate(zip(tiles, colours, strict=True), start=1):
        shift = max(abs(value) for value in _corner_in(first, tile))
        if tile.size != first.size or tile.crs != first.crs or not _same_pixels(first, tile) or shift > _ON_GRID:
            raise UserError(
                f"{tile.name} and {first.name} do not have the same pixels: expected bands of one size and place; "
                "bring them onto one grid first, such as with gdalwarp"
            )
        element = _add_band(root, tile, replace(tile.bands[0], number=number), colour)
        _add_source(element, tile, (0, 0), "1", tile.nodata(1))
    _add_mask(root, [(first, (0, 0))])
    return Xml.tostring(root, encoding="unicode")


def _check_compatible(first: _Tile, other: _Tile) -> None:
    """Refuses a tile that does not fit to the first one."""
    properties: list[tuple[str, object, object]] = [
        ("coordinate systems", first.crs or "none", other.crs or "none"),
        ("numbers of bands", len(first.bands), len(other.bands)),
        ("types of samples", _all_bands(first, "dtype"), _all_bands(other, "dtype")),
        ("colours of bands", _all_bands(first, "colour"), _all_bands(other, "colour")),
        ("nodata values", _all_bands(first, "nodata"), _all_bands(other, "nodata")),
    ]
    differing = [(what, a, b) for what, a, b in properties if a != b]
    if not _same_pixels(first, other):
        differing.insert(0, ("sizes of pixels", _pixel_sides(first.transform), _pixel_sides(other.transform)))
    if first.palette != other.palette:
        differing.append(("tables of colours", "one", "another"))
    if differing:
        what, first_value, other_value = differing[0]
        raise UserError(
            f"{first.name} and {other.name} cannot be one mosaic, as they have different {what}, {first_value} and "
            f"{other_value}: expected tiles of one kind; convert them with gdalwarp, or map them one by one"
        )


def _same_pixels(first: _Tile, other: _Tile) -> bool:
    """Whether the pixels of two tiles have the same size and orientation."""
    values, other_values = ([tile.transform[axis] for axis in (0, 1, 3, 4)] for tile in (first, other))
    return all(abs(x - y) <= _SAME_SIZE * max(map(abs, values)) for x, y in zip(values, other_values, strict=True))


def _all_bands(tile: _Tile, attribute: str) -> str:
    """Formats a property of all bands: one value if it is the same for all."""
    values = [str(getattr(band, attribute)) for band in tile.bands]
    return values[0] if len(set(values)) == 1 else ", ".join(values)


def _pixel_sides(transform: Affine) -> str:
    return f"{math.hypot(transform.a, transform.d):.10g} × {math.hypot(transform.b, transform.e):.10g}"


def _corner_in(first: _Tile, tile: _Tile) -> tuple[float, float]:
    """Returns column and row of a tile's upper left corner, in pixels of the first tile."""
    a, b, c, d, e, f = (~first.transform)[:6]
    x, y = tile.transform.c, tile.transform.f
    return a * x + b * y + c, d * x + e * y + f


def _create_dataset(first: _Tile, size: tuple[int, int], corner: tuple[int, int]) -> Xml.Element:
    """Creates a VRT without bands; its upper left corner is at a column and row of the first tile."""
    root = Xml.Element("VRTDataset", rasterXSize=str(size[1]), rasterYSize=str(size[0]))
    if first.crs is not None:
        Xml.SubElement(root, "SRS").text = first.crs.to_wkt()
    if not first.transform.is_identity:
        a, b, c, d, e, f = first.transform[:6]
        column, row = corner
        values = (a * column + b * row + c, a, b, d * column + e * row + f, d, e)
        Xml.SubElement(root, "GeoTransform").text = ", ".join(map(repr, values))
    return root


def _add_band(root: Xml.Element, tile: _Tile, band: Band, colour: str) -> Xml.Element:
    """Adds a band without sources, with the properties of a tile's band."""
    kind = _TYPES.get(band.dtype, band.dtype.capitalize().replace("Uint", "UInt"))
    element = Xml.SubElement(root, "VRTRasterBand", dataType=kind, band=str(band.number))
    texts = {"Description": band.description, "UnitType": band.unit, "ColorInterp": colour.capitalize()}
    if not tile.has_mask and band.nodata is not None:
        texts["NoDataValue"] = repr(band.nodata)
    for name, text in texts.items():
        if text:
            Xml.SubElement(element, name).text = text
    if band.colour == "palette":
        table = Xml.SubElement(element, "ColorTable")
        for value in range(max(tile.palette) + 1):
            entry = dict(zip(("c1", "c2", "c3", "c4"), map(str, tile.palette.get(value, (0, 0, 0, 255))), strict=True))
            Xml.SubElement(table, "Entry", entry)
    return element


def _add_source(
    band: Xml.Element, tile: _Tile, corner: tuple[int, int], number: str, nodata: float | None = None
) -> None:
    """Adds the valid pixels of a tile as a source, with its corner at a column and row."""
    source = Xml.SubElement(band, "ComplexSource")
    Xml.SubElement(source, "SourceFilename", relativeToVRT="0").text = tile.source
    Xml.SubElement(source, "SourceBand").text = number
    size = {"xSize": str(tile.size[1]), "ySize": str(tile.size[0])}
    Xml.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0"} | size)
    Xml.SubElement(source, "DstRect", {"xOff": str(corner[0]), "yOff": str(corner[1])} | size)
    if nodata is not None:
        Xml.SubElement(source, "NODATA").text = repr(nodata)
    elif tile.has_mask:
        Xml.SubElement(source, "UseMaskBand").text = "true"


def _add_mask(root: Xml.Element, parts: Sequence[tuple[_Tile, tuple[int, int]]]) -> None:
    """Adds the mask of valid pixels of all tiles, unless there is a nodata value."""
    first = parts[0][0]
    if first.nodata(1) is not None:
        return
    mask = Xml.SubElement(Xml.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    for tile, corner in parts:
        _add_source(mask, tile, corner, "mask,1", nodata=0)
