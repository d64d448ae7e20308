"""A scene's map in figures: class by class with areas, where it lies, what it was made with, what failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.hashes import sha256_of
from segearth.provenance import versions
from segearth.scenes.assemble import opened
from segearth.scenes.class_areas import ROWS, AreaSums, places
from segearth.scenes.grid import Block
from segearth.scenes.layers import LEVELS
from segearth.scenes.pixel_areas import pixel_areas
from segearth.scenes.pixel_size import place
from segearth.summary import class_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.vocabulary import Vocabulary

    Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassSums:
    """Exact sums over some pixels of a map of C classes: whole numbers, so that no order of blocks changes them.

    Attributes:
        pixels: (C + 1,) of each class, then of unclassified pixels.
        confidence: (C + 1,) sums of their confidence, in steps of 1 / `LEVELS`.
    """

    pixels: Counts
    confidence: Counts

    @classmethod
    def of(
        cls,
        labels: NDArray[np.uint8 | np.uint16],
        confidence: NDArray[np.uint8 | np.uint16] | None,
        classes: int,
    ) -> ClassSums:
        """The sums of a part of a map.

        Args:
            labels: (h, w), in the values of its layer.
            confidence: (h, w), likewise; None gives zeros.
            classes: C.
        """
        values = places(classes)[labels].ravel()
        pixels = np.bincount(values, minlength=classes + 2)
        if confidence is None:
            return cls(pixels[:-1], np.zeros(classes + 1, np.int64))
        levels = confidence.ravel().astype(np.float64) - 1  # exact: sums are below 2 ** 53
        sums = np.bincount(values, weights=levels, minlength=classes + 2)
        return cls(pixels[:-1], sums[:-1].astype(np.int64))

    @classmethod
    def total(cls, parts: Iterable[ClassSums], classes: int) -> ClassSums:
        """The sums of several parts, in any order."""
        pixels, confidence = np.zeros((2, classes + 1), np.int64)
        for part in parts:
            pixels, confidence = pixels + part.pixels, confidence + part.confidence
        return cls(pixels, confidence)

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> ClassSums:
        """What `to_lists` made."""
        pixels, confidence = (np.array(values, np.int64) for values in lists)
        return cls(pixels, confidence)

    def to_lists(self) -> list[list[int]]:
        """For JSON."""
        return [self.pixels.tolist(), self.confidence.tolist()]


@dataclass(frozen=True)
class MapFigures:
    """A finished map, counted.

    Attributes:
        rows: of the classes, as `segearth.summary.class_rows`, each with `area_m2`, None without coordinate system.
        valid: pixels that are not nodata.
        nodata: pixels.
        area_m2: of the valid pixels; None without coordinate system.
        how: areas were found.
    """

    rows: list[dict[str, Any]]
    valid: int
    nodata: int
    area_m2: float | None
    how: str


def map_figures(
    labels: Path,
    vocabulary: Vocabulary,
    unclassified: bool,
    sums: ClassSums | None = None,
    confidence: Path | None = None,
) -> MapFigures:
    """Counts a map from its finished rasters, a few rows at a time from top to bottom.

    Args:
        labels: the raster.
        vocabulary: its classes.
        unclassified: whether there can be unclassified pixels.
        sums: over its blocks, where they are known.
        confidence: the raster of confidence, for mean confidences without `sums`; without both they are None.

    Raises:
        ValueError: the raster has other pixels than `sums`.
    """
    classes = len(vocabulary)
    scored = ClassSums.total((), classes)
    with ExitStack() as files:
        file = files.enter_context(opened(labels))
        other = files.enter_context(opened(confidence)) if sums is None and confidence is not None else None
        ground = AreaSums(classes, pixel_areas(file.transform, file.crs, file.shape))
        size = file.height * file.width
        for top in range(0, file.height, ROWS):
            window = ((top, min(file.height, top + ROWS)), (0, file.width))
            part = file.read(1, window=window)
            ground.add(top, part)
            if other is not None:
                scored = ClassSums.total((scored, ClassSums.of(part, other.read(1, window=window), classes)), classes)
    pixels = ground.pixels
    if sums is not None and (sums.pixels != pixels).any():
        raise ValueError(f"{labels} has {pixels.tolist()} pixels of its classes, its blocks had {sums.pixels.tolist()}")
    rows = class_rows(vocabulary, pixels, (sums or scored).confidence / LEVELS, unclassified)
    for row, area in zip(rows, ground.areas_m2(), strict=False):
        row["area_m2"] = area
        if sums is None and confidence is None:
            row["mean_confidence"] = None
    valid = int(pixels.sum())
    return MapFigures(rows, valid, size - valid, ground.total_m2(), ground.how)


def summarise_scene(
    name: str,
    labels: Path,
    figures: MapFigures,
    *,
    files: Sequence[Path] = (),
    failed: Sequence[tuple[Block, str]] = (),
    settings: Mapping[str, Any],
    overlay: Mapping[str, Any] | None = None,
    device: str = "",
    seconds: float = 0.0,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """All that is known of a scene's map, for a file: the keys of a picture's summary and more.

    Args:
        name: of the scene.
        labels: its finished raster.
        figures: of `map_figures`.
        files: of the map; each gets its size and SHA-256.
        failed: blocks that could not be mapped, and why; they are nodata in the map.
        settings: what the map depends on.
        overlay: how it was drawn.
        device: where it was computed.
        seconds: what computing took.
        remarks: a sentence each.
    """
    with opened(labels) as file:
        size, lies = {"height": file.height, "width": file.width}, place(file.transform, file.crs, file.shape)
    return {
        "image": name,
        **size,
        **lies,
        "classes": figures.rows,
        "valid_pixels": figures.valid,
        "nodata_pixels": figures.nodata,
        "area_m2": figures.area_m2,
        "area_method": figures.how,
        "miou": None,
        "failed": [{"block": block.name, "area": list(block.area), "reason": reason} for block, reason in failed],
        "files": {path.name: file_facts(path) for path in files},
        "overlay": dict(overlay or {}),
        "settings": dict(settings),
        "device": device,
        "seconds": round(seconds, 2),
        "versions": versions() | scene_versions(),
        "remarks": list(remarks),
    }


def file_facts(path: Path) -> dict[str, Any]:
    """What tells whether a file is still the one that was written: `bytes` and `sha256`."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def scene_versions() -> dict[str, str]:
    """Versions of what reads and writes rasters."""
    import pyproj
    import rasterio

    return {
        "rasterio": rasterio.__version__,
        "gdal": rasterio.__gdal_version__,
        "pyproj": pyproj.__version__,
        "proj": pyproj.proj_version_str,
    }
