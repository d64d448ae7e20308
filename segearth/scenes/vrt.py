"""Several rasters as one, in GDAL's own description of virtual rasters: tiles beside each other, or a band of each."""

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

_TYPES = {"uint8": "Byte", "int8": "Int8"}  # others have GDAL's name but for the first letter
_SAME_SIZE = 1e-6  # relative; files keep the size of pixels with some rounding
_ON_GRID = 0.01  # pixels that a tile may be off the first one's grid without a remark


@dataclass(frozen=True)
class _Tile:
    """What is needed of a raster once it is closed: there may be more of them than files can be open.

    Attributes:
        source: GDAL's name.
        name: for messages.
        size: (H, W).
        transform: from (column, row) to coordinates.
        crs: the coordinate system, or None.
        bands: all of them.
        palette: the first band's table of colours.
        has_mask: whether validity is told by a mask or alpha.
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
    def of(cls, address: str | Path) -> _Tile:
        with open_raster(address) as it:
            return cls(it.source, it.name, it.size, it.transform, it.crs, it.bands, it.palette, it.has_mask)

    def nodata(self, band: int) -> float | None:
        """What is not valid in a band; None where something else tells that."""
        return None if self.has_mask else self.bands[band - 1].nodata


def mosaic(addresses: Sequence[str | Path]) -> tuple[str, list[str]]:
    """Tiles as one raster; where they overlap, the later one is above.

    Args:
        addresses: one at least, with the same coordinate system, size of pixels and bands.

    Returns:
        The XML of a VRT, which is an address, and remarks, one sentence each.

    Raises:
        UserError: they do not fit together.
    """
    tiles = [_Tile.of(address) for address in addresses]
    first = tiles[0]
    for other in tiles[1:]:
        _check(first, other)
    exact = [_place(first, tile) for tile in tiles]
    left, top = (min(round(place[axis]) for place in exact) for axis in (0, 1))
    places = [(round(column) - left, round(row) - top) for column, row in exact]
    remarks = [
        f"{tile.name} lies {shift:.2f} pixels off the grid of {first.name} and is moved onto it"
        for tile, place in zip(tiles, exact, strict=True)
        if (shift := max(abs(value - round(value)) for value in place)) > _ON_GRID
    ]
    size = (
        max(row + tile.size[0] for tile, (_, row) in zip(tiles, places, strict=True)),
        max(column + tile.size[1] for tile, (column, _) in zip(tiles, places, strict=True)),
    )
    root = _root(first, size, (left, top))
    for band in first.bands:
        if band.colour != "alpha":  # its place is the mask
            element = _band(root, first, band, band.colour)
            for tile, place in zip(tiles, places, strict=True):
                _source(element, tile, place, str(band.number), tile.nodata(band.number))
    _mask(root, list(zip(tiles, places, strict=True)))
    return Xml.tostring(root, encoding="unicode"), remarks


def stacked(addresses: Sequence[str], colours: Sequence[str]) -> str:
    """The first band of each of several rasters, as a band each of one raster.

    Args:
        addresses: of the rasters.
        colours: of each, "red" and so on.

    Returns:
        The XML of a VRT.

    Raises:
        UserError: they do not cover the same pixels.
    """
    tiles = [_Tile.of(address) for address in addresses]
    first = tiles[0]
    root = _root(first, first.size, (0, 0))
    for number, (tile, colour) in enumerate(zip(tiles, colours, strict=True), start=1):
        shift = max(abs(value) for value in _place(first, tile))
        if tile.size != first.size or tile.crs != first.crs or not _alike(first, tile) or shift > _ON_GRID:
            raise UserError(
                f"{tile.name} and {first.name} do not have the same pixels: expected bands of one size and place; "
                "bring them onto one grid first, such as with gdalwarp"
            )
        _source(_band(root, tile, replace(tile.bands[0], number=number), colour), tile, (0, 0), "1", tile.nodata(1))
    _mask(root, [(first, (0, 0))])
    return Xml.tostring(root, encoding="unicode")


def _check(first: _Tile, other: _Tile) -> None:
    """Refuses a tile that does not fit to the first one."""
    same: list[tuple[str, object, object]] = [
        ("coordinate systems", first.crs or "none", other.crs or "none"),
        ("numbers of bands", len(first.bands), len(other.bands)),
        ("types of samples", _all(first, "dtype"), _all(other, "dtype")),
        ("colours of bands", _all(first, "colour"), _all(other, "colour")),
        ("nodata values", _all(first, "nodata"), _all(other, "nodata")),
    ]
    differing = [(what, own, its) for what, own, its in same if own != its]
    if not _alike(first, other):
        differing.insert(0, ("sizes of pixels", _side(first.transform), _side(other.transform)))
    if first.palette != other.palette:
        differing.append(("tables of colours", "one", "another"))
    if differing:
        what, own, its = differing[0]
        raise UserError(
            f"{first.name} and {other.name} make no mosaic, as they have other {what}, {own} and {its}: expected tiles "
            "of one kind; bring them to the same with gdalwarp or gdal_translate, or map them one by one"
        )


def _alike(first: _Tile, other: _Tile) -> bool:
    """Whether their pixels have the same size and direction."""
    one, two = ([tile.transform[axis] for axis in (0, 1, 3, 4)] for tile in (first, other))
    return all(abs(x - y) <= _SAME_SIZE * max(map(abs, one)) for x, y in zip(one, two, strict=True))


def _all(tile: _Tile, attribute: str) -> str:
    """A property of all bands, once where it is the same for all."""
    values = [str(getattr(band, attribute)) for band in tile.bands]
    return values[0] if len(set(values)) == 1 else ", ".join(values)


def _side(transform: Affine) -> str:
    return f"{math.hypot(transform.a, transform.d):.10g} × {math.hypot(transform.b, transform.e):.10g}"


def _place(first: _Tile, tile: _Tile) -> tuple[float, float]:
    """Column and row of a tile's corner, in pixels of the first one."""
    a, b, c, d, e, f = (~first.transform)[:6]
    x, y = tile.transform.c, tile.transform.f
    return a * x + b * y + c, d * x + e * y + f


def _root(first: _Tile, size: tuple[int, int], corner: tuple[int, int]) -> Xml.Element:
    """A VRT without bands, whose corner is at a column and row of the first tile."""
    root = Xml.Element("VRTDataset", rasterXSize=str(size[1]), rasterYSize=str(size[0]))
    if first.crs is not None:
        Xml.SubElement(root, "SRS").text = first.crs.to_wkt()
    if not first.transform.is_identity:
        a, b, c, d, e, f = first.transform[:6]
        column, row = corner
        values = (a * column + b * row + c, a, b, d * column + e * row + f, d, e)
        Xml.SubElement(root, "GeoTransform").text = ", ".join(map(repr, values))
    return root


def _band(root: Xml.Element, tile: _Tile, band: Band, colour: str) -> Xml.Element:
    """Adds a band without sources, with the properties of a tile's."""
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


def _source(element: Xml.Element, tile: _Tile, place: tuple[int, int], band: str, nodata: float | None = None) -> None:
    """Adds a tile's pixels at a column and row, but for those that are not valid."""
    source = Xml.SubElement(element, "ComplexSource")
    Xml.SubElement(source, "SourceFilename", relativeToVRT="0").text = tile.source
    Xml.SubElement(source, "SourceBand").text = band
    size = {"xSize": str(tile.size[1]), "ySize": str(tile.size[0])}
    Xml.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0"} | size)
    Xml.SubElement(source, "DstRect", {"xOff": str(place[0]), "yOff": str(place[1])} | size)
    if nodata is not None:
        Xml.SubElement(source, "NODATA").text = repr(nodata)
    elif tile.has_mask:
        Xml.SubElement(source, "UseMaskBand").text = "true"


def _mask(root: Xml.Element, parts: Sequence[tuple[_Tile, tuple[int, int]]]) -> None:
    """Says which pixels are valid: those of any tile that are; with a nodata value, that says it."""
    first = parts[0][0]
    if first.nodata(1) is not None:
        return
    mask = Xml.SubElement(Xml.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    for tile, place in parts:
        _source(mask, tile, place, "mask,1", nodata=0)
