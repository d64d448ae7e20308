"""A style for QGIS: each class in its colour, with its name."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

from segearth.cells import fitting
from segearth.scenes.layers import LegendEntry
from segearth.scenes.styles import xml_text

# As QGIS itself makes the table when a user stores a style in a GeoPackage.
_TABLE = """CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT,
styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
update_time DATETIME DEFAULT CURRENT_TIMESTAMP)"""
_STYLE = """INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,
styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, ?, ?, '', 1, 'colours of classes', '')"""
_CONTENTS = """INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES
('layer_styles', 'attributes', 'layer_styles')"""


def polygon_qml(entries: Sequence[LegendEntry]) -> str:
    """The style that QGIS takes for polygons whose field `class_id` has the values of a label map."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class_id", enableorderby="0")
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, entry in enumerate(entries):
        about = {"value": str(entry.value), "symbol": str(number), "label": str(fitting(entry.name)), "render": "true"}
        ET.SubElement(categories, "category", about)
        symbol = ET.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1", clip_to_extent="1")
        layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"})
        options = ET.SubElement(layer, "Option", type="Map")
        red, green, blue = entry.colour
        for name, value in (
            ("color", f"{red},{green},{blue},255"),
            ("outline_color", f"{red // 2},{green // 2},{blue // 2},255"),
            ("outline_width", "0.1"),
            ("outline_style", "solid"),
            ("style", "solid"),
        ):
            ET.SubElement(options, "Option", name=name, value=value, type="QString")
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + xml_text(root)


def add_to_geopackage(path: Path, layer: str, geometry: str, style: str) -> None:
    """Stores a style as the default one of a layer, where QGIS looks for it.

    Args:
        path: of the GeoPackage.
        layer: the name of the layer.
        geometry: the name of its geometry column.
        style: of `polygon_qml`.
    """
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(_TABLE)
        database.execute(_CONTENTS)
        database.execute(_STYLE, (layer, geometry, "classes", style))
