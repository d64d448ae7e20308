"""The rasters of a scene from the parts of its blocks: cloud-optimised GeoTIFFs.

A VRT puts the parts together, with nodata where a block has none; GDAL's COG driver copies it, tile by tile, and makes
the overviews. How the scene was cut into blocks leaves no trace: equal maps are equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from segearth.cells import fitting
from segearth.errors import without_warnings
from segearth.outputs import atomic, bytes_writer, check_room, write_all
from segearth.scenes import styles
from segearth.scenes.block_files import gdal_errors, part_path, tile_size
from segearth.scenes.grid import TILE, Block
from segearth.scenes.layers import OFFSET, SCALE, Layer
from segearth.windows import Window

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

# One thread, so that the order of compressed tiles does not depend on the machine, and a bound for GDAL's memory. Parts
# lie in one folder with thousands of others, which GDAL would list for each.
ENVIRONMENT = {"GDAL_CACHEMAX": 128 * 2**20, "GDAL_NUM_THREADS": "1", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
COG = {"driver": "COG", "compress": "DEFLATE", "blocksize": TILE, "bigtiff": "IF_SAFER", "num_threads": "1"}
WITH_OVERVIEWS = 5 / 3  # bytes while a file is made: overviews are a third more, and are written twice
_TYPES = {np.uint8: "Byte", np.uint16: "UInt16"}


def assemble(
    folder: Path,
    blocks: Sequence[Block],
    area: Window,
    transform: Affine,
    crs: CRS | None,
    layers: Sequence[Layer],
    output: Mapping[str, Path],
    tags: Mapping[str, str] | None = None,
    stale: Sequence[Path] = (),
) -> list[Path]:
    """Makes the rasters of a scene: all of them, or none.

    Args:
        folder: where the parts are.
        blocks: those that have parts; where there is none, there is nodata.
        area: which pixels of the whole output's grid the rasters hold.
        transform: of that grid, from (column, row) to coordinates.
        crs: the coordinate system, or None.
        layers: which rasters.
        output: the place of each, by the layer's name; that of labels gets two more beside it, `.aux.xml` for GDAL and
            `.qml` for QGIS.
        tags: what the files say of themselves; they have no other words.
        stale: as of `write_all`.

    Returns:
        All files.

    Raises:
        UserError: the disk has no room, or a part cannot be read.
    """
    files = write_all(raster_writers(folder, blocks, area, transform, crs, layers, output, tags), stale)
    for place in output.values():
        if (beside := place.with_name(f"{place.name}.aux.xml")) not in files:
            beside.unlink(missing_ok=True)  # statistics that some program kept of an earlier raster of this name
    return files


def raster_writers(
    folder: Path,
    blocks: Sequence[Block],
    area: Window,
    transform: Affine,
    crs: CRS | None,
    layers: Sequence[Layer],
    output: Mapping[str, Path],
    tags: Mapping[str, str] | None = None,
) -> dict[Path, Callable[[Path], object]]:
    """What writes the files of `assemble`, for `write_all`; arguments and errors are the same."""
    check_disk(folder, blocks, layers, next(iter(output.values())).parent)
    writers: dict[Path, Callable[[Path], object]] = {}
    for layer in layers:
        place = output[layer.name]
        if layer.entries:
            writers[place.with_suffix(".qml")] = bytes_writer(styles.qml(layer).encode())
            writers[place.with_name(f"{place.name}.aux.xml")] = bytes_writer(styles.pam(layer).encode())
        mosaic = folder / f"{layer.name}.vrt"
        with atomic(mosaic) as part:
            part.write_text(_vrt(blocks, area, transform, crs, layer, tags or {}), encoding="utf-8")
        writers[place] = _cog_writer(mosaic, layer)
    return writers


def check_disk(folder: Path, blocks: Sequence[Block], layers: Sequence[Layer], out: Path) -> None:
    """Looks at the free disk before work begins.

    Raises:
        UserError: the rasters will probably not fit.
    """
    parts = sum(part_path(folder, block, layer).stat().st_size for block in blocks for layer in layers)
    # as much as the parts, and a megabyte for what is always there
    check_room(out, round(parts * WITH_OVERVIEWS) + 2**20, "the map needs", "; what was computed is kept")


def _cog_writer(mosaic: Path, layer: Layer) -> Callable[[Path], object]:
    """What copies a VRT to a COG."""

    def write(path: Path) -> None:
        import rasterio.shutil

        kind = "AVERAGE" if layer.is_scored else "MODE"
        try:
            with rasterio.Env(**ENVIRONMENT), gdal_errors():
                rasterio.shutil.copy(str(mosaic), str(path), overview_resampling=kind, **COG)
                _check(path)
        finally:
            for beside in (".ovr.tmp", ".msk.ovr.tmp", ".aux.xml"):  # GDAL's own; the last one is ours to write
                path.with_name(path.name + beside).unlink(missing_ok=True)

    return write


@contextmanager
def opened(path: Path) -> Iterator[DatasetReader]:
    """A raster of a scene; it need not have a place on the Earth, which was said when the scene was opened."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with rasterio.Env(**ENVIRONMENT):
        with without_warnings(NotGeoreferencedWarning):
            file = rasterio.open(path)
        with file:
            yield file


def _check(path: Path) -> None:
    """Reads the last tile, which ends the file: a full disk is not always told."""
    with opened(path) as file:
        file.read(window=((file.height - 1, file.height), (file.width - 1, file.width)))


def _vrt(
    blocks: Sequence[Block], area: Window, transform: Affine, crs: CRS | None, layer: Layer, tags: Mapping[str, str]
) -> str:
    """The parts of a layer as one raster."""
    size = {"rasterXSize": str(area.right - area.left), "rasterYSize": str(area.bottom - area.top)}
    root = ET.Element("VRTDataset", size)
    if crs is not None:
        ET.SubElement(root, "SRS").text = crs.to_wkt()
    if crs is not None or not transform.is_identity:
        a, b, c, d, e, f = transform[:6]
        corner = (c + a * area.left + b * area.top, a, b, f + d * area.left + e * area.top, d, e)
        ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, map(float, corner)))
    _add_metadata(root, tags)
    for number, description in enumerate(layer.bands, start=1):
        band = ET.SubElement(root, "VRTRasterBand", dataType=_TYPES[layer.type], band=str(number))
        _add_metadata(band, styles.tags(layer))
        ET.SubElement(band, "Description").text = str(fitting(description))
        ET.SubElement(band, "NoDataValue").text = str(layer.nodata)
        if layer.is_scored:
            ET.SubElement(band, "Offset").text = repr(OFFSET)
            ET.SubElement(band, "Scale").text = repr(SCALE)
        else:
            band.append(styles.colour_table(layer))
        ET.SubElement(band, "ColorInterp").text = "Gray" if layer.is_scored else "Palette"
        for block in blocks:
            band.append(_source(block, area, layer, number))
    return styles.xml_text(root)


def _add_metadata(element: ET.Element, tags: Mapping[str, str]) -> None:
    if tags:
        metadata = ET.SubElement(element, "Metadata")
        for key, value in tags.items():
            ET.SubElement(metadata, "MDI", key=key).text = str(fitting(value))


def _source(block: Block, area: Window, layer: Layer, band: int) -> ET.Element:
    """A band of a part and its place. With the properties, GDAL need not open it before it is read."""
    top, bottom, left, right = block.area
    height, width = bottom - top, right - left
    source = ET.Element("SimpleSource")
    name = part_path(Path(), block, layer).name
    ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = name
    ET.SubElement(source, "SourceBand").text = str(band)
    tall, wide = tile_size((height, width))
    properties: dict[str, Any] = {"RasterXSize": width, "RasterYSize": height, "DataType": _TYPES[layer.type]}
    properties |= {"BlockXSize": wide, "BlockYSize": tall}
    ET.SubElement(source, "SourceProperties", {key: str(value) for key, value in properties.items()})
    for tag, x, y in (("SrcRect", 0, 0), ("DstRect", left - area.left, top - area.top)):
        rect = {"xOff": x, "yOff": y, "xSize": width, "ySize": height}
        ET.SubElement(source, tag, {key: str(value) for key, value in rect.items()})
    return source
