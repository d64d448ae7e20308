import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
from rasterio.shutil import copy  # noqa: E402

from segearth.scenes.layers import Layer, LegendEntry, labels_layer  # noqa: E402
from segearth.scenes.styles import colour_table, pam_xml, qgis_style, tags  # noqa: E402
from segearth.vocabulary import Vocabulary  # noqa: E402

NAMES = ("road", "Gebäude & <Dächer>", "水, \"x\" 'y'")
WORDS = Vocabulary.from_dict({name: [] for name in NAMES})
MANY = Vocabulary.from_list([f"class {i}" for i in range(300)])


def as_gdal_reads_it(layer, folder):
    """The names and the table that GDAL finds in our file beside a TIFF, as it writes them into a VRT."""
    path = folder / "map.tif"
    kind = np.dtype(layer.type).name
    with rasterio.open(path, "w", driver="GTiff", width=4, height=4, count=1, dtype=kind) as file:
        file.write(np.zeros((1, 4, 4), layer.type))
    path.with_name("map.tif.aux.xml").write_text(pam_xml(layer), encoding="utf-8")
    copy(str(path), str(folder / "map.vrt"), driver="VRT")
    band = ET.parse(folder / "map.vrt").getroot().find("VRTRasterBand")
    names = [element.text or "" for element in band.find("CategoryNames")]
    table = band.find("GDALRasterAttributeTable")
    fields = [(field.find("Name").text, int(field.find("Usage").text)) for field in table.iter("FieldDefn")]
    return names, fields, [[value.text for value in row] for row in table.iter("Row")]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_gdal_reads_names_and_table(tmp_path):
    names, fields, rows = as_gdal_reads_it(labels_layer(WORDS, False), tmp_path)
    assert tuple(names) == NAMES
    assert fields == [("Value", 5), ("Class", 2), ("Red", 6), ("Green", 7), ("Blue", 8)]
    assert rows == [
        [str(i), name, *map(str, colour)] for i, (name, colour) in enumerate(zip(NAMES, WORDS.palette, strict=True))
    ]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_unclassified_has_its_name_and_grey(tmp_path):
    names, _, rows = as_gdal_reads_it(labels_layer(WORDS, True), tmp_path)
    assert names == [*NAMES, *[""] * 251, "unclassified"]
    assert rows[-1] == ["254", "unclassified", "160", "160", "160"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_many_classes(tmp_path):
    names, _, rows = as_gdal_reads_it(labels_layer(MANY, True), tmp_path)
    assert names == list(MANY.names)  # no 65,235 empty ones for the sake of the last
    assert rows[299][:2] == ["299", "class 299"]
    assert rows[-1][:2] == ["65534", "unclassified"]


def test_the_style_for_qgis_has_a_colour_and_a_name_for_each_value():
    root = ET.fromstring(qgis_style(labels_layer(WORDS, True)))
    renderer = root.find("pipe/rasterrenderer")
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    entries = [entry.attrib for entry in renderer.find("colorPalette")]
    assert [entry["label"] for entry in entries] == [*NAMES, "unclassified"]
    assert [int(entry["value"]) for entry in entries] == [0, 1, 2, 254]
    assert [tuple(bytes.fromhex(entry["color"][1:])) for entry in entries] == [*WORDS.palette, (160, 160, 160)]
    assert {entry["alpha"] for entry in entries} == {"255"}


def test_palettes_have_a_colour_for_each_value_and_none_for_nodata():
    table = list(colour_table(labels_layer(WORDS, True)))
    assert len(table) == 256
    channels = [tuple(int(entry.get(f"c{i}")) for i in (1, 2, 3, 4)) for entry in table]
    assert channels[:3] == [(*colour, 255) for colour in WORDS.palette]
    assert channels[3] == (0, 0, 0, 255)
    assert channels[254:] == [(160, 160, 160, 255), (255, 255, 255, 0)]
    assert len(colour_table(labels_layer(MANY, False))) == 65536


def test_tags_name_the_values():
    assert tags(labels_layer(WORDS, True)) == {f"class_{i}": n for i, n in [*enumerate(NAMES), (254, "unclassified")]}


def test_what_xml_cannot_hold_is_written_as_its_escape():
    odd = Layer("labels", np.uint8, 255, ("labels",), (LegendEntry(0, "a\ufffeb", (1, 2, 3)),))
    for text in (pam_xml(odd), qgis_style(odd)):
        ET.fromstring(text)
        assert "\ufffe" not in text
        assert re.search(r"a\\ufffeb", text)
    assert tags(odd) == {"class_0": r"a\ufffeb"}
