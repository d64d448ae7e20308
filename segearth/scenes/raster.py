"""Reading of rasters of any size and type, window by window, as colours from 0 to 255.

A `RasterSpec` holds what is chosen once for the whole raster: all processes with the same spec read the same values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from segearth.addresses import (
    absolute_address,
    display_name,
    gdal_name,
    gdal_settings,
    is_remote,
    without_credentials,
)
from segearth.errors import UserError, first_line, option, without_warnings
from segearth.extras import install_command
from segearth.scenes.bands import Band, BandNumbers
from segearth.scenes.dataset_checks import check_dataset
from segearth.scenes.raster_spec import RasterSpec
from segearth.scenes.stac import COLOURS, is_item, read_item, rgb_addresses
from segearth.scenes.stretch import apply_stretch
from segearth.scenes.vrt_sources import VrtSources, refuse_missing
from segearth.windows import Window

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

    from segearth.scenes.pixel_size import PixelSize
    from segearth.scenes.resampling import Pixels

T = TypeVar("T")

_SERVICES = {"EEDAI", "HTTP", "NGW", "OGCAPI", "PLMosaic", "STACIT", "WCS", "WMS", "WMTS"}  # GDAL drivers for servers


class ReadFailed(Exception):  # noqa: N818 (the caller records the failed window and continues)
    """A window of a raster could not be read, after one retry.

    Attributes:
        window: in pixels of the raster.
        why: GDAL's error message, with the band and the tile.
    """

    def __init__(self, window: Window, why: str) -> None:
        super().__init__(window, why)  # the same arguments, so that it can be pickled
        self.window = window
        self.why = why

    def __str__(self) -> str:
        top, bottom, left, right = self.window
        return f"rows {top} to {bottom - 1}, columns {left} to {right - 1} cannot be read: {self.why}"


class Raster:
    """An open raster and context manager; created by `open_raster`.

    Attributes:
        address: address by which another process can open it.
        source: its GDAL name.
        name: its name in messages.
        size: (H, W).
        transform: from (column, row) to coordinates.
        crs: the coordinate system, or None.
        bands: all bands.
        overview: index of the overview that is read, or None for full resolution.
    """

    def __init__(
        self,
        dataset: DatasetReader,
        address: str,
        spec: RasterSpec | None = None,
        reopen: Callable[[], DatasetReader] | None = None,
        overview: int | None = None,
    ) -> None:
        self.address = address
        self.source: str = dataset.name
        self.name = display_name(address)
        self.overview = overview
        self._dataset = dataset
        self._spec = spec
        self._reopen = reopen
        self._sources = VrtSources(dataset, reopen is not None)
        self._lock = RLock()  # a GDAL dataset may be used by only one thread at a time
        self.size: tuple[int, int] = (dataset.height, dataset.width)
        self.transform: Affine = dataset.transform
        self.crs: CRS | None = dataset.crs
        self.bands = tuple(_read_band_info(dataset, number) for number in dataset.indexes)

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the dataset, unless the caller opened it."""
        if self._reopen is not None:
            with self._lock, self._settings():
                self._dataset.close()

    @property
    def spec(self) -> RasterSpec:
        """How the raster is read; chosen by inspection if it was opened without a spec."""
        with self._lock:
            if self._spec is None:
                from segearth.scenes.inspection import inspect_raster

                self._spec = inspect_raster(self).spec
            return self._spec

    @spec.setter
    def spec(self, spec: RasterSpec) -> None:
        self._spec = spec

    @cached_property
    def files(self) -> tuple[str, ...]:
        """GDAL names of its files, such as the tiles of a mosaic, as far as GDAL lists them."""
        with self._lock, gdal_settings(self.source):
            return tuple(self._dataset.files)

    @cached_property
    def is_remote(self) -> bool:
        """Whether any of its files is remote, also if a local file refers to it."""
        return is_remote(self.source) or self._dataset.driver in _SERVICES or any(map(is_remote, self.files))

    def _settings(self) -> AbstractContextManager[Any]:
        """GDAL's settings for this raster."""
        return gdal_settings(self.source, has_remote=self.is_remote)

    @property
    def nodata(self) -> float | None:
        """The nodata value of the first band that has one."""
        return next((band.nodata for band in self.bands if band.nodata is not None), None)

    @property
    def tile_size(self) -> tuple[int, int]:
        """(height, width) of the tiles or strips in which it is stored."""
        tall, wide = self._dataset.block_shapes[0]
        return tall, wide

    @property
    def stored(self) -> str:
        """Format, compression and tiling in words."""
        tall, wide = self.tile_size
        parts = f"tiles of {wide} × {tall} pixels" if wide < self.size[1] else f"strips of {tall} rows"
        compression = self._dataset.compression
        return ", ".join([self._dataset.driver, *([compression.value] if compression else []), parts])

    @property
    def overviews(self) -> tuple[int, ...]:
        """Reduction factors of its overviews."""
        return tuple(self._dataset.overviews(1))

    @property
    def has_mask(self) -> bool:
        """Whether it has a dataset mask or an alpha band."""
        return any("per_dataset" in flags for flags in self._flags)

    @cached_property
    def palette(self) -> dict[int, tuple[int, int, int, int]]:
        """Colour table of the first band, (red, green, blue, alpha) by value; empty if it has none."""
        table: dict[int, tuple[int, int, int, int]] = {}
        if self.bands[0].colour == "palette":
            table.update(self._dataset.colormap(1))
        return table

    @cached_property
    def pixel_size(self) -> PixelSize:
        """Size of a pixel in the middle of the raster."""
        from segearth.scenes.pixel_size import pixel_size

        return pixel_size(self.transform, self.crs, self.size)

    def read(self, window: Window) -> Pixels:
        """Reads a window as `spec` says.

        Args:
            window: in pixels of the raster, inside it.

        Returns:
            Pixels (3, h, w) from 0 to 255, uint8 or float32, with invalid pixels filled; and validity (h, w) bool.

        Raises:
            ReadFailed: reading failed twice.
        """
        spec = self.spec
        samples, valid = self.read_samples(window, spec.bands, spec.palette)
        pixels = apply_stretch(samples, spec.stretch)
        if not valid.all():
            pixels[:, ~valid] = np.array(spec.fill, pixels.dtype)[:, None]
        return pixels, valid

    def open_overview(self, factor: float) -> Raster:
        """Opens the smallest overview that is reduced by at most a factor.

        Raises:
            UserError: there is none, or it cannot be opened.
        """
        with self._lock, self._settings():
            factors = self._dataset.overviews(1) if self.overview is None else []
        suitable = [index for index, reduction in enumerate(factors) if reduction <= factor]
        if not suitable:
            raise UserError(f"{self.name} has no overviews: expected some; build them with gdaladdo")
        return open_raster(replace(self.spec, overview=suitable[-1]))

    def dtype(self, bands: Sequence[int]) -> np.dtype[Any]:
        """Returns the data type that can hold the samples of several bands."""
        return np.result_type(*(np.dtype(self.bands[number - 1].dtype) for number in bands))

    def read_samples(self, window: Window, bands: BandNumbers, palette: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Reads the stored samples of a window.

        Args:
            window: in pixels of the raster, inside it.
            bands: red, green and blue, from 1.
            palette: whether to expand the band by its colour table.

        Returns:
            Samples (3, h, w) of the type of the bands, uint8 for a palette; and their validity (h, w) bool.

        Raises:
            ReadFailed: reading failed twice.
        """

        def read() -> tuple[NDArray[Any], NDArray[np.bool_]]:
            result = self._read_stored(window, bands), self._read_valid(window, bands)
            self._sources.check()
            return result

        samples, valid = self._retry(window, read)
        if samples.dtype.kind == "f":
            valid &= np.isfinite(samples).all(axis=0)
        if palette:
            samples = self._colours(bands[0])[samples[0]].transpose(2, 0, 1)
        return samples, valid

    def _read_stored(self, window: Window, bands: BandNumbers) -> NDArray[Any]:
        """Reads samples (3, h, w) without a validity check."""
        unique = sorted(set(bands))
        area = _rasterio_window(window)
        if len({self.bands[number - 1].dtype for number in unique}) == 1:
            read = self._dataset.read(unique, window=area)  # tiles that hold all bands are decoded once
        else:  # rasterio does not read bands of several types at once
            read = [self._dataset.read(number, window=area) for number in unique]
        return np.stack([read[unique.index(number)] for number in bands]).astype(self.dtype(bands), copy=False)

    def _read_valid(self, window: Window, bands: BandNumbers) -> NDArray[np.bool_]:
        """Reads validity (h, w): where any band is valid, as in rasterio's `dataset_mask`; reads few bands."""
        flags = {band.number: self._flags[band.number - 1] for band in self.bands if band.colour != "alpha"}
        if "per_dataset" in flags[bands[0]]:
            return self._read_mask(bands[0], window)
        if any("all_valid" in band_flags for band_flags in flags.values()):
            return np.ones((window.bottom - window.top, window.right - window.left), bool)
        valid = self._read_mask(bands[0], window)
        for number in dict.fromkeys((*bands, *flags)):
            if valid.all():
                break
            valid |= self._read_mask(number, window)
        return valid

    @cached_property
    def _flags(self) -> list[set[str]]:
        return [{flag.name for flag in flags} for flags in self._dataset.mask_flag_enums]

    def _read_mask(self, band: int, window: Window) -> NDArray[np.bool_]:
        mask: NDArray[np.uint8] = self._dataset.read_masks(band, window=_rasterio_window(window))
        return mask > 0

    def _colours(self, band: int) -> NDArray[np.uint8]:
        """Returns the colour table of a band as an array (number of values, 3)."""
        table = np.zeros((np.iinfo(self.bands[band - 1].dtype).max + 1, 3), np.uint8)
        for value, colour in self._dataset.colormap(band).items():
            table[value] = colour[:3]
        return table

    def _retry(self, window: Window, read: Callable[[], T]) -> T:
        """Calls `read`; if it fails, reopens the raster and calls it again."""
        from rasterio.errors import RasterioError

        with self._lock, self._settings():
            try:
                return read()
            except (RasterioError, OSError):
                self._sources.check_failure()
            try:
                self._reopen_dataset()
                return read()
            except (RasterioError, OSError, UserError) as error:
                with suppress(RasterioError, OSError, UserError):
                    self._reopen_dataset()  # with the same handle, a VRT with a missing file would return zeros
                raise ReadFailed(window, _reason(error).replace(self.address, self.name)) from None

    def _reopen_dataset(self) -> None:
        """Reopens the dataset, because a reconnected network share or a replaced file needs a new handle.

        The old one is closed first, because GDAL caches truncated responses while a handle is open.
        """
        if self._reopen is None:
            return
        self._dataset.close()
        self._dataset = self._reopen()
        if (self._dataset.shape, self._dataset.dtypes) != (self.size, tuple(band.dtype for band in self.bands)):
            self._dataset.close()
            raise UserError("it has become another raster")


def open_raster(
    source: str | Path | DatasetReader | RasterSpec, spec: RasterSpec | None = None, overview: int | None = None
) -> Raster:
    """Opens a raster.

    Args:
        source: an address (see `segearth.addresses`); an open rasterio dataset, which stays open; or a spec.
        spec: how to read it; None: chosen at the first read.
        overview: index of the overview to read, from 0; None: full resolution, or the overview of the spec.

    Raises:
        UserError: rasterio is missing; there is no raster at the address; it contains several rasters; it is
            georeferenced only by control points or RPCs.
    """
    if isinstance(source, RasterSpec):
        return open_raster(source.address, source)
    if spec is not None:
        overview = spec.overview
    try:
        import pyproj  # noqa: F401 (needed for georeferencing)
        import rasterio
    except ImportError as error:
        raise UserError(f"scenes need {error.name}, which is not installed: {install_command('geo')}") from None
    if not isinstance(source, str | Path):
        check_dataset(source, display_name(source.name))
        refuse_missing(source, display_name(source.name))
        return Raster(source, source.name, spec)
    address = absolute_address(source)
    name = _dataset_name(address)

    def connect(level: int | None = overview) -> DatasetReader:
        with gdal_settings(name), _not_georeferenced():
            return rasterio.open(name) if level is None else rasterio.open(name, OVERVIEW_LEVEL=level)

    try:
        dataset = connect(None)
    except UnicodeError:
        raise UserError(
            f"the name of {display_name(source)} is not in UTF-8, which GDAL needs: expected one that is; rename it"
        ) from None
    except (rasterio.errors.RasterioError, OSError) as error:
        raise UserError(
            f"{display_name(source)} cannot be opened as a raster ({_reason(error)}): expected a whole file of a "
            "format that GDAL reads; check it with gdalinfo"
        ) from None
    try:
        check_dataset(dataset, display_name(source))
        refuse_missing(dataset, display_name(source))
    except UserError:
        dataset.close()
        raise
    if overview is None:
        return Raster(dataset, address, spec, connect)
    with dataset:
        try:
            smaller = connect()
        except (rasterio.errors.RasterioError, OSError):
            count = len(dataset.overviews(1))
            choices = " or ".join(map(str, range(count))) if count else "a raster that has some"
            raise UserError(
                f"{display_name(source)} has no overview {overview}: expected {choices}; build overviews with "
                f"gdaladdo, or leave {option('overview')} out"
            ) from None
        return _with_properties(Raster(smaller, address, spec, connect, overview), dataset)


def _with_properties(raster: Raster, dataset: DatasetReader) -> Raster:
    """Sets bands and transform of an overview from those of its dataset."""
    # a GDAL overview has no descriptions; without a transform, rasterio would return uninitialised memory
    raster.bands = tuple(_read_band_info(dataset, number) for number in dataset.indexes)
    right, down = dataset.width / raster.size[1], dataset.height / raster.size[0]
    a, b, c, d, e, f = dataset.transform[:6]
    raster.transform = type(dataset.transform)(a * right, b * down, c, d * right, e * down, f)
    return raster


def _dataset_name(address: str) -> str:
    """Returns the GDAL name of an address; for a STAC Item, that of its image or a VRT of its RGB files."""
    if is_item(address) and (item := read_item(address)) is not None:
        addresses = rgb_addresses(item, address)
        if len(addresses) == 1:
            return gdal_name(addresses[0])
        from segearth.scenes.vrt import stack_vrt  # imports this module

        return stack_vrt(addresses, COLOURS)
    return gdal_name(address)


def _read_band_info(dataset: DatasetReader, number: int) -> Band:
    """Reads the properties of a band."""
    bits = dataset.tags(number, ns="IMAGE_STRUCTURE").get("NBITS", "")
    return Band(
        number,
        dataset.descriptions[number - 1] or "",
        dataset.dtypes[number - 1],
        dataset.colorinterp[number - 1].name,
        dataset.units[number - 1] or "",
        dataset.nodatavals[number - 1],
        int(bits) if bits.isdecimal() else None,
    )


def _rasterio_window(window: Window) -> Any:
    from rasterio.windows import Window as RasterioWindow

    return RasterioWindow(window.left, window.top, window.right - window.left, window.bottom - window.top)


def _not_georeferenced() -> AbstractContextManager[None]:
    """Suppresses rasterio's warning for rasters without georeferencing; a remark of ours replaces it."""
    from rasterio.errors import NotGeoreferencedWarning

    return without_warnings(NotGeoreferencedWarning)


def _reason(error: BaseException) -> str:
    """Returns GDAL's error message: the first and the last of the chain, that is, where and why."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    messages = [first_line(cause).rstrip(".") for cause in (chain[1:] or chain)]
    message = messages[0] if messages[-1] in messages[0] else f"{messages[0]}: {messages[-1]}"
    return re.sub(r"\?\S*", "", without_credentials(message))  # GDAL often gives only the end of a URL
