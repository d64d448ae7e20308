"""Reads a label map for polygons: its values tile by tile, their names and colours, and the areas of its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from segearth.colours import palette
from segearth.errors import UserError, first_line
from segearth.labels import UNCLASSIFIED_COLOUR
from segearth.scenes.block_files import gdal_errors
from segearth.scenes.layers import LEVELS, LegendEntry
from segearth.scenes.pixel_areas import PixelAreas, pixel_areas
from segearth.vectors.content import CLASS, content_hash, open_with_companions

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from segearth.vectors.pieces import Numbers, Pieces
    from segearth.windows import Window

NODATA = -1
_MOST_COLOURS = 254  # that are found for classes by their names; with more, none can be told from another
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
_HALF = 26  # bits: areas of pixel rows have 52, in two whole numbers, so that their sums are exact in any order


class LabelMap:
    """An open label map.

    Args:
        path: of a raster with one band of whole numbers, and perhaps one of alpha.
        file: the open raster.
        confidence: the raster of confidence, open; None if there is none.

    Attributes:
        path: as given.
        content: a hash of what it holds, without the confidence.
        confidence_content: likewise of the confidence; None if there is none.
        size: (H, W).
        transform: from (column, row) to coordinates; where the file has none, y is minus the row, as GIS programs show
            such a raster.
        crs: the coordinate system, or None.
        areas: of its pixels.
        is_scored: whether there are confidences.
    """

    def __init__(self, path: Path, file: Any, confidence: Any | None) -> None:
        self.path, self._file, self._confidence = path, file, confidence
        self.content = content_hash(path, file)
        self.confidence_content = None if confidence is None else content_hash(Path(confidence.name), confidence)
        self.size: tuple[int, int] = file.shape
        self.transform, self.crs = _transform(file), file.crs
        self.areas: PixelAreas = pixel_areas(file.transform, file.crs, file.shape)
        self.is_scored = confidence is not None
        self._rows = _row_units(self.areas.values) if isinstance(self.areas.values, np.ndarray) else None
        self._has_alpha = file.count > 1  # GDAL takes no notice of it where there is a nodata value
        self._has_mask = not self._has_alpha and "per_dataset" in {flag.name for flag in file.mask_flag_enums[0]}

    def values(self, window: Window) -> Numbers:
        """Reads the values of a window, (h, w), with `NODATA` where there is no label.

        Raises:
            UserError: it cannot be read.
        """
        stored = self._read(self._file, window)
        absent = np.zeros(stored.shape, bool) if self._file.nodata is None else stored == self._file.nodata
        if self._has_alpha:
            absent |= self._read(self._file, window, 2) == 0
        elif self._has_mask:
            absent |= self._read(self._file, window, mask=True) == 0
        values = stored.astype(np.int32)  # values of uint32 that are too large become negative
        if (wrong := stored[(values < 0) & ~absent]).size:
            raise UserError(
                f"{self.path} has the value {wrong[0]}: expected labels from 0 to {2**31 - 1:,}, and nodata; give a "
                "NAME.labels.tif of segearth predict"
            )
        values[absent] = NODATA
        return values

    def sums(self, numbers: Numbers, count: int, window: Window, scored: bool) -> NDArray[np.int64]:
        """Sums over the pieces of a part, for `figures`.

        Args:
            numbers: (h, w) the piece of each pixel.
            count: of pieces.
            window: which part.
            scored: whether confidences are summed up, too.

        Returns:
            (count, k).
        """
        flat = numbers.ravel()
        columns = [np.bincount(flat, minlength=count)]
        weights = []
        if self._rows is not None:
            width = window.right - window.left
            weights = [np.repeat(half[window.top : window.bottom], width) for half in self._rows.halves]
        if self._confidence is not None:
            stored = self._read(self._confidence, window) if scored else np.zeros_like(numbers)
            weights.append(np.maximum(stored, 1).ravel().astype(np.float64) - 1)
        columns += [
            np.bincount(flat, weights=weight, minlength=count).astype(np.int64) for weight in weights
        ]  # below 2 ** 53
        return np.column_stack(columns).astype(np.int64)

    def areas_of(self, pieces: Pieces) -> NDArray[np.float64]:
        """The area of each in m², or in pixels where there is no coordinate system."""
        if self._rows is not None:
            high, low = pieces.sums[:, 1].astype(np.float64), pieces.sums[:, 2].astype(np.float64)
            return (high * 2**_HALF + low) * self._rows.unit
        return pieces.pixels.astype(np.float64) * (1.0 if self.areas.values is None else float(self.areas.values))

    def confidence_of(self, pieces: Pieces) -> NDArray[np.float64]:
        """The mean confidence of each, from 0 to 1, to 4 digits; NaN where it is not known."""
        if self._confidence is None:
            return np.full(len(pieces), np.nan)
        return np.round(pieces.sums[:, -1] / LEVELS / pieces.pixels, 4)

    def mean_pixel(self) -> float:
        """The side of a pixel in metres on the average, as the root of its area; 1 without coordinate system."""
        return 1.0 if self.areas.values is None else float(np.sqrt(np.mean(self.areas.values)))

    def entries(self, values: NDArray[np.integer]) -> list[LegendEntry]:
        """Names of values, from the file's tags, and colours, from its palette or else from the names."""
        tags = self._file.tags(1)
        names = [tags.get(f"{CLASS}{value}", str(value)) for value in values.tolist()]
        colours = {}
        if len(names) <= _MOST_COLOURS:
            colours = dict(zip(values.tolist(), palette([[name] for name in names]), strict=True))
        with suppress(ValueError):  # it has no palette
            colours |= {value: colour[:3] for value, colour in self._file.colormap(1).items()}
        return [
            LegendEntry(value, name, colours.get(value, UNCLASSIFIED_COLOUR))
            for value, name in zip(values.tolist(), names, strict=True)
        ]

    def names(self) -> dict[int, tuple[str]]:
        """The names of values, from the file's tags, which have one of each."""
        tags = {key.removeprefix(CLASS): name for key, name in self._file.tags(1).items() if key.startswith(CLASS)}
        return dict(sorted((int(text), (name,)) for text, name in tags.items() if text.isdecimal()))

    @property
    def summary(self) -> Path:
        """The path of the map's summary, if there is one."""
        return self.path.with_name(f"{base_name(self.path)}.summary.json")

    def _read(self, file: Any, window: Window, band: int = 1, *, mask: bool = False) -> NDArray[np.integer]:
        read = file.read_masks if mask else file.read
        try:
            with gdal_errors():
                return read(band, window=((window.top, window.bottom), (window.left, window.right)))
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be read to its end ({first_line(error)}): expected a whole file; make the map "
                "anew, or copy it again"
            ) from None


class _RowUnits(NamedTuple):
    """Areas of pixels, row by row, as whole numbers: halves[0] · 2 ** 26 + halves[1] units of so many m²."""

    halves: tuple[NDArray[np.float64], NDArray[np.float64]]
    unit: float


def _row_units(areas: NDArray[np.float64]) -> _RowUnits:
    unit = float(2.0 ** (np.floor(np.log2(areas.max(initial=2.0**-500))) + 1 - 2 * _HALF))
    whole = np.rint(areas / unit)
    high = np.floor(whole / 2**_HALF)
    return _RowUnits((high, whole - high * 2**_HALF), unit)


@contextmanager
def open_label_map(path: Path) -> Iterator[LabelMap]:
    """Opens a label map, and the confidence beside it.

    Args:
        path: such as `town.labels.tif`; confidence is taken from `town.confidence.tif` if that is there.

    Raises:
        UserError: it is no label map, or the confidence is that of another one.
    """
    with ExitStack() as files:
        file = files.enter_context(_open_raster(path))
        has_alpha = file.count == 2 and file.colorinterp[1].name == "alpha"
        if file.count - has_alpha != 1 or file.dtypes[0] not in _TYPES:
            bands = f"{file.count} band{'s' * (file.count > 1)} of {file.dtypes[0]}"
            raise UserError(
                f"{path} has {bands}: expected a label map, one band of whole numbers of at most 32 bits; give a "
                f"NAME.labels.tif of segearth predict, or convert it: gdal_translate -b 1 -ot Int32 {path} "
                f"{path.stem}.int32.tif"
            )
        other = confidence_path(path)
        confidence = files.enter_context(_open_raster(other)) if other is not None else None
        if confidence is not None and (confidence.shape != file.shape or confidence.dtypes != ("uint8",)):
            raise UserError(
                f"{other} is not the confidence of {path}, which has other pixels: expected one made with it; move it "
                "away, or make the map anew"
            )
        yield LabelMap(path, file, confidence)


def confidence_path(labels: Path) -> Path | None:
    """The raster of confidence beside a label map; None if there is none."""
    stem = base_name(labels)
    path = labels.with_name(f"{stem}.confidence.tif")
    return path if stem != labels.stem and path.is_file() else None


def base_name(labels: Path) -> str:
    """The name of a map: `town` of town.labels.tif."""
    return labels.stem.removesuffix(".labels")


def _transform(file: DatasetReader) -> Affine:
    """From (column, row) to the coordinates that GIS programs show a raster at."""
    import rasterio.shutil
    from rasterio.io import MemoryFile

    if file.transform.is_identity:  # rasterio gives this one also where the file has no transform
        with MemoryFile(ext=".vrt") as vrt:
            rasterio.shutil.copy(file, vrt.name, driver="VRT")
            if b"<GeoTransform>" not in vrt.read():
                return file.transform.scale(1, -1)
    return file.transform


@contextmanager
def _open_raster(path: Path) -> Iterator[DatasetReader]:
    """Opens a raster with the files beside it (mask, names, colours).

    Raises:
        UserError: it is no raster.
    """
    with ExitStack() as files:
        try:
            with gdal_errors():
                file = files.enter_context(open_with_companions(path))
        except OSError as error:
            raise UserError(
                f"{path} cannot be opened ({first_line(error)}): expected a raster; give a NAME.labels.tif of segearth "
                "predict"
            ) from None
        yield file
