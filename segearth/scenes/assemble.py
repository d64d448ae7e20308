"""Assembles the block files of a scene into cloud-optimised GeoTIFFs.

A VRT mosaics the block files, with nodata where a block has none. GDAL's COG driver copies it tile by tile and builds
the overviews. The output does not depend on the block size: equal maps have equal bytes.
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
from segearth.scenes.block_files import block_path, gdal_errors, tile_size
from segearth.scenes.georeference import window_transform
from segearth.scenes.grid import TILE, Block
from segearth.scenes.layers import OFFSET, SCALE, Layer
from segearth.windows import Window

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

# One thread, so that the order of compressed tiles does not depend on the machine, and a limit on GDAL's memory. The
# folder holds thousands of block files, which GDAL would otherwise list for each one.
ENVIRONMENT = {"GDAL_CACHEMAX": 128 * 2**20, "GDAL_NUM_THREADS": "1", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
COG = {"driver": "COG", "compress": "DEFLATE", "blocksize": TILE, "bigtiff": "IF_SAFER", "num_threads": "1"}
WITH_OVERVIEWS = 5 / 3  # disk space while a file is written: overviews take a third, and are written twice
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
    """Writes all rasters of a scene, or none of them.

    Args:
        folder: of the block files.
        blocks: the blocks that have files; the rest of the map is nodata.
        area: the window of the output grid that the rasters cover.
        transform: of that grid, from (column, row) to coordinates.
        crs: the coordinate system, or None.
        layers: the rasters to write.
        output: path of each raster, by the layer's name; labels also get `.aux.xml` for GDAL and `.qml` for QGIS.
        tags: metadata items of the files.
        stale: files to remove, see `write_all`.

    Returns:
        All files that were written.

    Raises:
        UserError: the disk is full, or a block file cannot be read.
    """
    files = write_all(raster_writers(folder, blocks, area, transform, crs, layers, output, tags), stale)
    for path in output.values():
        if (sidecar := path.with_name(f"{path.name}.aux.xml")) not in files:
            sidecar.unlink(missing_ok=True)  # statistics that a program stored for an earlier raster of this name
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
    """Returns the functions that write the files of `assemble`, for `write_all`; same arguments and errors."""
    check_disk(folder, blocks, layers, next(iter(output.values())).parent)
    writers: dict[Path, Callable[[Path], object]] = {}
    for layer in layers:
        path = output[layer.name]
        if layer.entries:
            writers[path.with_suffix(".qml")] = bytes_writer(styles.qgis_style(layer).encode())
            writers[path.with_name(f"{path.name}.aux.xml")] = bytes_writer(styles.pam_xml(layer).encode())
        mosaic = folder / f"{layer.name}.vrt"
        with atomic(mosaic) as temporary:
            temporary.write_text(_vrt(blocks, area, transform, crs, layer, tags or {}), encoding="utf-8")
        writers[path] = _cog_writer(mosaic, layer)
    return writers


def check_disk(folder: Path, blocks: Sequence[Block], layers: Sequence[Layer], out: Path) -> None:
    """Checks the free disk space before rasters are written.

    Raises:
        UserError: the rasters will probably not fit.
    """
    size = sum(block_path(folder, block, layer).stat().st_size for block in blocks for layer in layers)
    # as much as the block files, and a megabyte for headers and sidecar files
    check_room(out, round(size * WITH_OVERVIEWS) + 2**20, "the map needs", "; what was computed is kept")


def _cog_writer(mosaic: Path, layer: Layer) -> Callable[[Path], object]:
    """Returns the function that copies a VRT to a COG."""

    def write(path: Path) -> None:
        import rasterio.shutil

        kind = "AVERAGE" if layer.is_scored else "MODE"
        try:
            with rasterio.Env(**ENVIRONMENT), gdal_errors():
                rasterio.shutil.copy(str(mosaic), str(path), overview_resampling=kind, **COG)
                _check_readable(path)
        finally:
            for ending in (".ovr.tmp", ".msk.ovr.tmp", ".aux.xml"):  # of GDAL; we write our own .aux.xml
                path.with_name(path.name + ending).unlink(missing_ok=True)

    return write


@contextmanager
def open_map(path: Path) -> Iterator[DatasetReader]:
    """Opens a raster of a map, without rasterio's warning if it is not georeferenced."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with rasterio.Env(**ENVIRONMENT):
        with without_warnings(NotGeoreferencedWarning):
            file = rasterio.open(path)
        with file:
            yield file


def _check_readable(path: Path) -> None:
    """Reads the last tile of a file: GDAL does not always report a full disk."""
    with open_map(path) as file:
        file.read(window=((file.height - 1, file.height), (file.width - 1, file.width)))


def _vrt(
    blocks: Sequence[Block], area: Window, transform: Affine, crs: CRS | None, layer: Layer, tags: Mapping[str, str]
) -> str:
    """Returns the VRT that mosaics the block files of a layer."""
    size = {"rasterXSize": str(area.right - area.left), "rasterYSize": str(area.bottom - area.top)}
    root = ET.Element("VRTDataset", size)
    if crs is not None:
        ET.SubElement(root, "SRS").text = crs.to_wkt()
    if crs is not None or not transform.is_identity:
        values = window_transform(transform, area).to_gdal()
        ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, map(float, values)))
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
    """Returns the VRT source of a block file; with its properties, GDAL opens the file only when it is read."""
    top, bottom, left, right = block.area
    height, width = bottom - top, right - left
    source = ET.Element("SimpleSource")
    name = block_path(Path(), block, layer).name
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
