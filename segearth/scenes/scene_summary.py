"""Statistics and summary of a map: classes with areas, georeferencing, settings, failed blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.hashes import sha256_of
from segearth.provenance import versions
from segearth.scenes.assemble import open_map
from segearth.scenes.class_areas import ROWS, AreaSums, class_positions
from segearth.scenes.grid import Block
from segearth.scenes.layers import LEVELS
from segearth.scenes.pixel_areas import pixel_areas
from segearth.scenes.pixel_size import spatial_metadata
from segearth.summary import class_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.vocabulary import Vocabulary

    Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassSums:
    """Sums over pixels of a map of C classes; integers, so the order of blocks does not matter.

    Attributes:
        pixels: (C + 1,) pixel counts of each class, then of unclassified pixels.
        confidence: (C + 1,) sums of their confidence, in steps of 1 / `LEVELS`.
    """

    pixels: Counts
    confidence: Counts

    @classmethod
    def from_arrays(
        cls,
        labels: NDArray[np.uint8 | np.uint16],
        confidence: NDArray[np.uint8 | np.uint16] | None,
        classes: int,
    ) -> ClassSums:
        """Returns the sums of a part of a map.

        Args:
            labels: (h, w) label values.
            confidence: (h, w) values of the layer; None gives zeros.
            classes: C.
        """
        values = class_positions(classes)[labels].ravel()
        pixels = np.bincount(values, minlength=classes + 2)
        if confidence is None:
            return cls(pixels[:-1], np.zeros(classes + 1, np.int64))
        levels = confidence.ravel().astype(np.float64) - 1  # exact: sums are below 2 ** 53
        sums = np.bincount(values, weights=levels, minlength=classes + 2)
        return cls(pixels[:-1], sums[:-1].astype(np.int64))

    @classmethod
    def total(cls, parts: Iterable[ClassSums], classes: int) -> ClassSums:
        """Adds the sums of several parts, in any order."""
        pixels, confidence = np.zeros((2, classes + 1), np.int64)
        for part in parts:
            pixels, confidence = pixels + part.pixels, confidence + part.confidence
        return cls(pixels, confidence)

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> ClassSums:
        """Creates the sums from the lists of `to_lists`."""
        pixels, confidence = (np.array(values, np.int64) for values in lists)
        return cls(pixels, confidence)

    def to_lists(self) -> list[list[int]]:
        """Returns the sums as lists, for JSON."""
        return [self.pixels.tolist(), self.confidence.tolist()]


@dataclass(frozen=True)
class MapStatistics:
    """Statistics of a finished map.

    Attributes:
        rows: table of the classes, as of `segearth.summary.class_rows`, with `area_m2` (None without coordinates).
        valid: number of pixels that are not nodata.
        nodata: number of nodata pixels.
        area_m2: area of the valid pixels; None without coordinate system.
        area_method: how areas were computed, in words.
    """

    rows: list[dict[str, Any]]
    valid: int
    nodata: int
    area_m2: float | None
    area_method: str


def map_statistics(
    labels: Path,
    vocabulary: Vocabulary,
    unclassified: bool,
    sums: ClassSums | None = None,
    confidence: Path | None = None,
) -> MapStatistics:
    """Computes the statistics of a map from its finished rasters, a few rows at a time.

    Args:
        labels: raster of labels.
        vocabulary: its classes.
        unclassified: whether pixels can be unclassified.
        sums: sums over its blocks, if known.
        confidence: raster of confidence, for mean confidences without `sums`; without both they are None.

    Raises:
        ValueError: the pixel counts of the raster differ from `sums`.
    """
    classes = len(vocabulary)
    read_sums = ClassSums.total((), classes)
    with ExitStack() as files:
        file = files.enter_context(open_map(labels))
        other = files.enter_context(open_map(confidence)) if sums is None and confidence is not None else None
        area_sums = AreaSums(classes, pixel_areas(file.transform, file.crs, file.shape))
        size = file.height * file.width
        for top in range(0, file.height, ROWS):
            window = ((top, min(file.height, top + ROWS)), (0, file.width))
            part = file.read(1, window=window)
            area_sums.add(top, part)
            if other is not None:
                part_sums = ClassSums.from_arrays(part, other.read(1, window=window), classes)
                read_sums = ClassSums.total((read_sums, part_sums), classes)
    pixels = area_sums.pixels
    if sums is not None and (sums.pixels != pixels).any():
        raise ValueError(f"{labels} has {pixels.tolist()} pixels of its classes, its blocks had {sums.pixels.tolist()}")
    rows = class_rows(vocabulary, pixels, (sums or read_sums).confidence / LEVELS, unclassified)
    for row, area in zip(rows, area_sums.areas_m2(), strict=False):
        row["area_m2"] = area
        if sums is None and confidence is None:
            row["mean_confidence"] = None
    valid = int(pixels.sum())
    return MapStatistics(rows, valid, size - valid, area_sums.total_m2(), area_sums.method)


def summarise_scene(
    name: str,
    labels: Path,
    statistics: MapStatistics,
    *,
    files: Sequence[Path] = (),
    failed: Sequence[tuple[Block, str]] = (),
    settings: Mapping[str, Any],
    overlay: Mapping[str, Any] | None = None,
    device: str = "",
    seconds: float = 0.0,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """Creates the content of NAME.summary.json: the keys of a picture's summary and more.

    Args:
        name: name of the scene.
        labels: raster of labels.
        statistics: result of `map_statistics`.
        files: files of the map; their size and SHA-256 are recorded.
        failed: failed blocks with the reason; they are nodata in the map.
        settings: everything that the map depends on.
        overlay: settings of the overlay.
        device: device of the model.
        seconds: computing time.
        remarks: one sentence each.
    """
    with open_map(labels) as file:
        size = {"height": file.height, "width": file.width}
        metadata = spatial_metadata(file.transform, file.crs, file.shape)
    return {
        "image": name,
        **size,
        **metadata,
        "classes": statistics.rows,
        "valid_pixels": statistics.valid,
        "nodata_pixels": statistics.nodata,
        "area_m2": statistics.area_m2,
        "area_method": statistics.area_method,
        "miou": None,
        "failed": [{"block": block.name, "area": list(block.area), "reason": reason} for block, reason in failed],
        "files": {path.name: file_record(path) for path in files},
        "overlay": dict(overlay or {}),
        "settings": dict(settings),
        "device": device,
        "seconds": round(seconds, 2),
        "versions": versions() | scene_versions(),
        "remarks": list(remarks),
    }


def file_record(path: Path) -> dict[str, Any]:
    """Returns `bytes` and `sha256` of a file, to detect later changes."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def scene_versions() -> dict[str, str]:
    """Returns the versions of the libraries that read and write rasters."""
    import pyproj
    import rasterio

    return {
        "rasterio": rasterio.__version__,
        "gdal": rasterio.__gdal_version__,
        "pyproj": pyproj.__version__,
        "proj": pyproj.proj_version_str,
    }
