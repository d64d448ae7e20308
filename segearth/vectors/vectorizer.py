"""Makes the polygons of one label map, and their summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.errors import UserError, option
from segearth.scenes.layers import LegendEntry
from segearth.vectors.assembly import assemble_polygons
from segearth.vectors.dissolve import dissolve
from segearth.vectors.formats import FeatureLayer, PolygonFeatures, write_features
from segearth.vectors.label_map import LabelMap, base_name
from segearth.vectors.options import MOST, VectorOptions
from segearth.vectors.partition import Partition
from segearth.vectors.pieces import Pieces
from segearth.vectors.rings import Polygons

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE = 1024  # pixels: two tiles of a map's file; where every pixel is a piece of its own, one takes some 500 MB
_POINTS = 1_000_000  # of polygons that are written at once


class TooManyPiecesError(UserError):
    """A map has more polygons than are written without `force`."""


class Vectorizer:
    """Makes the polygons of one label map: finds its pieces when it is made, and traces them in `write`.

    Args:
        source: the map, open.
        only: the values that become polygons; None for all.
        options: how.
        progress: called with (steps done, steps in all) after each step; None: not at all.

    Attributes:
        partition: the pieces of the map.
        entries: names and colours of the values that become polygons.
    """

    def __init__(
        self,
        source: LabelMap,
        only: Collection[int] | None,
        options: VectorOptions,
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self._source, self._name, self._options = source, source.path.name, options
        self._progress, self._done = progress, 0
        self._only = None if only is None else np.array(sorted(only), np.int32)
        self._sure = 0
        limit = options.min_area
        small = (lambda pieces: source.areas_of(pieces) < limit) if limit else None
        self.partition = Partition(source, TILE, small, self._check)
        pieces = self.partition.pieces
        self._wanted = np.ones(len(pieces), bool) if self._only is None else np.isin(pieces.values, self._only)
        self._refuse_more(int(self._wanted.sum()), "")
        self.entries: list[LegendEntry] = source.entries(np.unique(pieces.values[self._wanted]))

    def write(self, path: Path) -> None:
        """Writes the file of polygons.

        Raises:
            OSError: it cannot be written.
        """
        kind = "MultiPolygon" if self._options.dissolve else "Polygon"
        crs = None if self._source.crs is None else self._source.crs.to_wkt()
        layer = FeatureLayer(base_name(Path(self._name)), kind, crs, self.entries, self._name)
        tolerance = self._options.simplify / self._source.mean_pixel()
        polygons = assemble_polygons(self.partition, self._source.size[1], TILE, self._wanted, tolerance, self._step)
        features = self._dissolved(polygons) if self._options.dissolve else map(self._features, _batches(polygons))
        write_features(path, self._options.vector, layer, features)

    def summary(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Counts, pixels and areas of the polygons, for each class and in all."""
        table, pieces = self._classes()
        known = self._source.areas.values is not None
        rows = [
            {
                "label": entry.value,
                "name": entry.name,
                "colour": list(entry.colour),
                "polygons": 1 if self._options.dissolve else count,
                "pieces": count,
                "pixels": pixels,
                "area_m2": _rounded(area) if known else None,
            }
            for entry, count, pixels, area in zip(
                self.entries, pieces.tolist(), table.pixels.tolist(), self._source.areas_of(table).tolist(), strict=True
            )
        ]
        whole = Pieces(np.zeros(1, np.int32), table.sums.sum(axis=0, keepdims=True), np.zeros(1, np.int64))
        return {
            "image": self._name,
            "classes": rows,
            "polygons": sum(row["polygons"] for row in rows),
            "pixels": int(whole.pixels[0]),
            "area_m2": _rounded(float(self._source.areas_of(whole)[0])) if known else None,
            "area_method": self._source.areas.method,
            "settings": settings,
        }

    def _classes(self) -> tuple[Pieces, NDArray[np.int64]]:
        """The classes of `entries`, each as one piece; and how many pieces each has."""
        pieces, chosen = self.partition.pieces, self._wanted
        wanted = Pieces(pieces.values[chosen], pieces.sums[chosen], pieces.first[chosen])
        group = np.searchsorted([entry.value for entry in self.entries], wanted.values).astype(np.int32)
        return wanted.merged(group, len(self.entries)), np.bincount(group, minlength=len(self.entries))

    def _features(self, polygons: Polygons) -> PolygonFeatures:
        """Polygons with their fields."""
        pieces, index = self.partition.pieces, polygons.piece
        table = Pieces(pieces.values[index], pieces.sums[index], pieces.first[index])
        return self._with_fields(polygons.geometries(self._source.transform), table)

    def _with_fields(self, shapes: NDArray[np.object_], pieces: Pieces) -> PolygonFeatures:
        """Shapes with the fields of a piece each."""
        known = self._source.areas.values is not None
        areas = self._source.areas_of(pieces) if known else np.full(len(pieces), np.nan)
        return PolygonFeatures(shapes, pieces.values, pieces.pixels, areas, self._source.confidence_of(pieces))

    def _dissolved(self, polygons: Iterator[Polygons]) -> Iterator[PolygonFeatures]:
        """One multipolygon for each class."""
        group = np.searchsorted([entry.value for entry in self.entries], self.partition.pieces.values).astype(np.int32)
        table, _ = self._classes()
        for part in dissolve(polygons, group, _POINTS):
            classes, counts = np.unique(group[part.piece], return_counts=True)
            pieces = Pieces(table.values[classes], table.sums[classes], table.first[classes])
            yield self._with_fields(part.geometries(self._source.transform, counts), pieces)

    def _check(self, values: NDArray[np.int32]) -> None:
        """Counts the complete pieces of a tile, and refuses too many as soon as that is certain."""
        known = values >= 0 if self._only is None else np.isin(values, self._only)
        self._sure += int(known.sum())
        self._refuse_more(self._sure, "more than ")
        self._step()

    def _refuse_more(self, count: int, about: str) -> None:
        if count > MOST and not self._options.force:
            advice = "a larger " if self._options.min_area else ""
            unit = "pixels" if self._source.areas.values is None else "m²"
            raise TooManyPiecesError(
                f"{self._name} has {about}{count:,} pieces: expected at most {MOST:,}, as more are noise; give "
                f"{advice}{option('min_area', 25)} (in {unit}), which adds small ones to their neighbours, or "
                f"{option('force', True)}"
            )

    def _step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, 2 * self.partition_tiles)

    @property
    def partition_tiles(self) -> int:
        """How many tiles there are."""
        return math.prod(-(-length // TILE) for length in self._source.size)


def _batches(polygons: Iterator[Polygons]) -> Iterator[Polygons]:
    """Joins parts to fewer and larger ones: the file is opened once for every part."""
    waiting: list[Polygons] = []
    for part in polygons:
        waiting.append(part)
        if sum(len(waiting_part.points) for waiting_part in waiting) > _POINTS:
            yield Polygons.joined(waiting)
            waiting = []
    if waiting:
        yield Polygons.joined(waiting)


def _rounded(area: float) -> float:
    """To 12 digits, as in the summary of the map."""
    return float(f"{area:.12g}")
