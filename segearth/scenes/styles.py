"""Class names and colours of a label map for other programs: tables for GDAL, a style for QGIS."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from segearth.cells import fitting
from segearth.labels import NODATA_COLOUR
from segearth.scenes.layers import Layer, LegendEntry

# Columns of a raster attribute table, each with GDAL's numbers for its type (0: integer, 2: text) and its use.
_COLUMNS = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))


def tags(layer: Layer) -> dict[str, str]:
    """Returns class names as metadata items class_0, class_1..., for programs that read no category names."""
    return {f"class_{entry.value}": str(fitting(entry.name)) for entry in layer.entries}


def palette(layer: Layer) -> dict[int, tuple[int, int, int, int]]:
    """Returns the colour of each value, (red, green, blue, alpha): unused values black, nodata transparent."""
    colours = {entry.value: (*entry.colour, 255) for entry in layer.entries}
    colours[layer.nodata] = (*NODATA_COLOUR, 0)
    return {value: colours.get(value, (0, 0, 0, 255)) for value in range(layer.nodata + 1)}


def colour_table(layer: Layer) -> ET.Element:
    """Returns the palette as a VRT element, which GDAL copies to a TIFF."""
    table = ET.Element("ColorTable")
    for colour in palette(layer).values():
        channels = zip(("c1", "c2", "c3", "c4"), colour, strict=True)
        ET.SubElement(table, "Entry", {name: str(channel) for name, channel in channels})
    return table


def pam_xml(layer: Layer) -> str:
    """Returns the `.aux.xml` for GDAL: category names and a raster attribute table."""
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    for name in _categories(layer):
        ET.SubElement(names, "Category").text = name
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (column, kind, use) in enumerate(_COLUMNS):
        field = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", column), ("Type", kind), ("Usage", use)):
            ET.SubElement(field, tag).text = str(text)
    for index, entry in enumerate(layer.entries):
        row = ET.SubElement(table, "Row", index=str(index))
        for value in (entry.value, fitting(entry.name), *entry.colour):
            ET.SubElement(row, "F").text = str(value)
    return xml_text(root)


def _categories(layer: Layer) -> Sequence[str]:
    """Returns category names for the values from 0 on; without unclassified if it is 65,534, to avoid empty names."""
    names = {entry.value: str(fitting(entry.name)) for entry in layer.entries if entry.value <= 255}
    count = max(names, default=-1) + 1
    if any(entry.value > 255 for entry in layer.entries):
        names = {entry.value: str(fitting(entry.name)) for entry in layer.entries}
        count = next(i for i in range(len(names) + 1) if i not in names)
    return [names.get(value, "") for value in range(count)]


def qgis_style(layer: Layer) -> str:
    """Returns the QGIS style of a map: a colour and a name for each value; QGIS loads it with the map."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    attributes = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    renderer = ET.SubElement(pipe, "rasterrenderer", attributes)
    ET.SubElement(renderer, "rasterTransparency")
    palette = ET.SubElement(renderer, "colorPalette")
    for entry in layer.entries:
        ET.SubElement(palette, "paletteEntry", _palette_entry(entry))
    ET.SubElement(root, "blendMode").text = "0"
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + xml_text(root)


def _palette_entry(entry: LegendEntry) -> dict[str, str]:
    colour = "#{:02x}{:02x}{:02x}".format(*entry.colour)
    return {"value": str(entry.value), "color": colour, "label": str(fitting(entry.name)), "alpha": "255"}


def xml_text(root: ET.Element) -> str:
    """Returns an element as indented text that ends with a newline."""
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
