"""A raster of any size and type, read window by window as colours from 0 to 255.

What is chosen for the whole raster is a `RasterSpec`: all processes that open it with that read the same values.
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

from segearth.addresses import absolute, gdal_name, gdal_settings, is_remote, shown, without_keys
from segearth.errors import UserError, first_line, option, without_warnings
from segearth.extras import install_command
from segearth.scenes.bands import Band, Numbers
from segearth.scenes.dataset_checks import check
from segearth.scenes.raster_spec import RasterSpec
from segearth.scenes.stac import COLOURS, images, is_item, read_item
from segearth.scenes.stretch import stretched
from segearth.scenes.vrt_sources import Sources, refuse_missing
from segearth.windows import Window

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

    from segearth.scenes.pixel_size import PixelSize
    from segearth.scenes.resampling import Pixels

T = TypeVar("T")

_SERVICES = {"EEDAI", "HTTP", "NGW", "OGCAPI", "PLMosaic", "STACIT", "WCS", "WMS", "WMTS"}  # GDAL's drivers of servers


class ReadFailed(Exception):  # noqa: N818 (what happened to a window; the caller lists it and goes on)
    """A part of a raster could not be read, twice.

    Attributes:
        window: which, in pixels of the raster.
        why: GDAL's words, with the band and the tile.
    """

    def __init__(self, window: Window, why: str) -> None:
        super().__init__(window, why)  # as the arguments are, or it could not be pickled
        self.window = window
        self.why = why

    def __str__(self) -> str:
        top, bottom, left, right = self.window
        return f"rows {top} to {bottom - 1}, columns {left} to {right - 1} cannot be read: {self.why}"


class Raster:
    """An open raster; a context manager. Made by `open_raster`.

    Attributes:
        address: with which another process can open it.
        source: GDAL's name of it.
        name: of it, for messages.
        size: (H, W).
        transform: from (column, row) to coordinates.
        crs: the coordinate system, or None.
        bands: all of them.
        overview: which of its overviews stands for it, or None.
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
        self.name = shown(address)
        self.overview = overview
        self._dataset = dataset
        self._spec = spec
        self._reopen = reopen
        self._sources = Sources(dataset, reopen is not None)
        self._lock = RLock()  # GDAL's datasets are for one thread at a time
        self.size: tuple[int, int] = (dataset.height, dataset.width)
        self.transform: Affine = dataset.transform
        self.crs: CRS | None = dataset.crs
        self.bands = tuple(_band(dataset, number) for number in dataset.indexes)

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes it, unless somebody else opened it."""
        if self._reopen is not None:
            with self._lock, self._settings():
                self._dataset.close()

    @property
    def spec(self) -> RasterSpec:
        """How it is read; chosen by itself where it was opened without."""
        with self._lock:
            if self._spec is None:
                from segearth.scenes.inspection import look

                self._spec = look(self).spec
            return self._spec

    @spec.setter
    def spec(self, spec: RasterSpec) -> None:
        self._spec = spec

    @cached_property
    def files(self) -> tuple[str, ...]:
        """GDAL's names of the files that it consists of, such as the tiles of a mosaic, as far as GDAL knows them."""
        with self._lock, gdal_settings(self.source):
            return tuple(self._dataset.files)

    @cached_property
    def is_remote(self) -> bool:
        """Whether any of it lies on a network, also where a file on this computer says so."""
        return is_remote(self.source) or self._dataset.driver in _SERVICES or any(map(is_remote, self.files))

    def _settings(self) -> AbstractContextManager[Any]:
        """GDAL's settings for it."""
        return gdal_settings(self.source, has_remote=self.is_remote)

    @property
    def nodata(self) -> float | None:
        """The value that means nothing was seen, of the first band that has one."""
        return next((band.nodata for band in self.bands if band.nodata is not None), None)

    @property
    def tile_size(self) -> tuple[int, int]:
        """(height, width) of the parts that it is stored in."""
        tall, wide = self._dataset.block_shapes[0]
        return tall, wide

    @property
    def stored(self) -> str:
        """How it is stored, for people: the format, the compression, and the parts that are read at once."""
        tall, wide = self.tile_size
        parts = f"tiles of {wide} × {tall} pixels" if wide < self.size[1] else f"strips of {tall} rows"
        compression = self._dataset.compression
        return ", ".join([self._dataset.driver, *([compression.value] if compression else []), parts])

    @property
    def overviews(self) -> tuple[int, ...]:
        """How many times smaller its own overviews are; none of an overview that stands for it."""
        return tuple(self._dataset.overviews(1))

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask beside the bands, or alpha."""
        return any("per_dataset" in flags for flags in self._flags)

    @cached_property
    def palette(self) -> dict[int, tuple[int, int, int, int]]:
        """The table of colours of the first band, (red, green, blue, alpha) by value; empty where it has none."""
        table: dict[int, tuple[int, int, int, int]] = {}
        if self.bands[0].colour == "palette":
            table.update(self._dataset.colormap(1))
        return table

    @cached_property
    def pixel_size(self) -> PixelSize:
        """Of a pixel on the ground, in the middle of the raster."""
        from segearth.scenes.pixel_size import pixel_size

        return pixel_size(self.transform, self.crs, self.size)

    def read(self, window: Window) -> Pixels:
        """A part of it, as `spec` says.

        Args:
            window: in pixels of the raster, within it.

        Returns:
            Pixels (3, h, w) from 0 to 255, uint8 or float32, invalid ones filled; and which are valid, (h, w) bool.

        Raises:
            ReadFailed: it failed, and once more.
        """
        spec = self.spec
        samples, valid = self.samples(window, spec.bands, spec.palette)
        pixels = stretched(samples, spec.stretch)
        if not valid.all():
            pixels[:, ~valid] = np.array(spec.fill, pixels.dtype)[:, None]
        return pixels, valid

    def smaller(self, factor: float) -> Raster:
        """The smallest of its overviews whose pixels are at most so many times larger, opened.

        Raises:
            UserError: it has none, or it cannot be opened.
        """
        with self._lock, self._settings():
            factors = self._dataset.overviews(1) if self.overview is None else []
        fitting = [number for number, own in enumerate(factors) if own <= factor]
        if not fitting:
            raise UserError(f"{self.name} has no overviews: expected some; build them with gdaladdo")
        return open_raster(replace(self.spec, overview=fitting[-1]))

    def dtype(self, bands: Sequence[int]) -> np.dtype[Any]:
        """The type that holds the samples of all these bands."""
        return np.result_type(*(np.dtype(self.bands[number - 1].dtype) for number in bands))

    def samples(self, window: Window, bands: Numbers, palette: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A part of it as it is stored.

        Args:
            window: in pixels of the raster, within it.
            bands: red, green and blue, from 1.
            palette: whether the band is expanded by its table of colours.

        Returns:
            Samples (3, h, w) of the type of these bands, uint8 of a palette; and which are valid, (h, w) bool.

        Raises:
            ReadFailed: it failed, and once more.
        """

        def once() -> tuple[NDArray[Any], NDArray[np.bool_]]:
            found = self._stored(window, bands), self._valid(window, bands)
            self._sources.check()
            return found

        samples, valid = self._twice(window, once)
        if samples.dtype.kind == "f":
            valid &= np.isfinite(samples).all(axis=0)
        if palette:
            samples = self._colours(bands[0])[samples[0]].transpose(2, 0, 1)
        return samples, valid

    def _stored(self, window: Window, bands: Numbers) -> NDArray[Any]:
        """Samples (3, h, w)."""
        once = sorted(set(bands))
        area = _rasterio(window)
        if len({self.bands[number - 1].dtype for number in once}) == 1:
            read = self._dataset.read(once, window=area)  # tiles that hold all bands are decoded once
        else:  # rasterio does not read bands of several types at once
            read = [self._dataset.read(number, window=area) for number in once]
        return np.stack([read[once.index(number)] for number in bands]).astype(self.dtype(bands), copy=False)

    def _valid(self, window: Window, bands: Numbers) -> NDArray[np.bool_]:
        """Where any band is valid, as in rasterio's `dataset_mask`; further bands are read only where they matter."""
        flags = {band.number: self._flags[band.number - 1] for band in self.bands if band.colour != "alpha"}
        if "per_dataset" in flags[bands[0]]:
            return self._mask(bands[0], window)
        if any("all_valid" in some for some in flags.values()):
            return np.ones((window.bottom - window.top, window.right - window.left), bool)
        valid = self._mask(bands[0], window)
        for number in dict.fromkeys((*bands, *flags)):
            if valid.all():
                break
            valid |= self._mask(number, window)
        return valid

    @cached_property
    def _flags(self) -> list[set[str]]:
        return [{flag.name for flag in flags} for flags in self._dataset.mask_flag_enums]

    def _mask(self, band: int, window: Window) -> NDArray[np.bool_]:
        mask: NDArray[np.uint8] = self._dataset.read_masks(band, window=_rasterio(window))
        return mask > 0

    def _colours(self, band: int) -> NDArray[np.uint8]:
        """The table of a palette, (values of its type, 3)."""
        table = np.zeros((np.iinfo(self.bands[band - 1].dtype).max + 1, 3), np.uint8)
        for value, colour in self._dataset.colormap(band).items():
            table[value] = colour[:3]
        return table

    def _twice(self, window: Window, read: Callable[[], T]) -> T:
        """What a read gives; if it fails, once more with the raster opened anew."""
        from rasterio.errors import RasterioError

        with self._lock, self._settings():
            try:
                return read()
            except (RasterioError, OSError):
                self._sources.failed()
            try:
                self._open_again()
                return read()
            except (RasterioError, OSError, UserError) as error:
                with suppress(RasterioError, OSError, UserError):
                    self._open_again()  # of a VRT whose file is missing, the same handle would go on with zeros
                raise ReadFailed(window, _reason(error).replace(self.address, self.name)) from None

    def _open_again(self) -> None:
        """A share that came back, or a file that was put in place anew, needs another handle.

        It is closed first: GDAL keeps the half of an answer that broke off, as long as one is open.
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
        source: an address, see `segearth.addresses`; a dataset that rasterio has open, which stays open; or a
            spec, which has an address.
        spec: how to read it; chosen when it is first read, if there is none.
        overview: which of its own overviews stands for the raster, from 0. Only with an address; a spec has its own.

    Raises:
        UserError: rasterio is missing; nothing is there, or no raster; it holds several rasters; it has no coordinates
            but those of control points.
    """
    if isinstance(source, RasterSpec):
        return open_raster(source.address, source)
    if spec is not None:
        overview = spec.overview
    try:
        import pyproj  # noqa: F401 (without which no raster has a place)
        import rasterio
    except ImportError as error:
        raise UserError(f"scenes need {error.name}, which is not installed: {install_command('geo')}") from None
    if not isinstance(source, str | Path):
        check(source, shown(source.name))
        refuse_missing(source, shown(source.name))
        return Raster(source, source.name, spec)
    address = absolute(source)
    name = _dataset_name(address)

    def connect(level: int | None = overview) -> DatasetReader:
        with gdal_settings(name), _not_georeferenced():
            return rasterio.open(name) if level is None else rasterio.open(name, OVERVIEW_LEVEL=level)

    try:
        dataset = connect(None)
    except UnicodeError:
        raise UserError(
            f"the name of {shown(source)} is not in UTF-8, which GDAL needs: expected one that is; rename it"
        ) from None
    except (rasterio.errors.RasterioError, OSError) as error:
        raise UserError(
            f"{shown(source)} cannot be opened as a raster ({_reason(error)}): expected a whole file of a format "
            "that GDAL reads; check it with gdalinfo"
        ) from None
    try:
        check(dataset, shown(source))
        refuse_missing(dataset, shown(source))
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
            known = " or ".join(map(str, range(count))) if count else "a raster that has some"
            raise UserError(
                f"{shown(source)} has no overview {overview}: expected {known}; build overviews with gdaladdo, or "
                f"leave {option('overview')} out"
            ) from None
        raster = Raster(smaller, address, spec, connect, overview)
        # GDAL gives an overview no descriptions, and no transform where the raster has none: rasterio would take
        # whatever is in the memory
        raster.bands = tuple(_band(dataset, number) for number in dataset.indexes)
        right, down = dataset.width / smaller.width, dataset.height / smaller.height
        a, b, c, d, e, f = dataset.transform[:6]
        raster.transform = type(dataset.transform)(a * right, b * down, c, d * right, e * down, f)
        return raster


def _dataset_name(address: str) -> str:
    """What GDAL is given for an address; of a STAC Item, its picture."""
    if is_item(address) and (item := read_item(address)) is not None:
        found = images(item, address)
        if len(found) == 1:
            return gdal_name(found[0])
        from segearth.scenes.vrt import stacked  # which opens rasters

        return stacked(found, COLOURS)
    return gdal_name(address)


def _band(dataset: DatasetReader, number: int) -> Band:
    """What a dataset says of a band."""
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


def _rasterio(window: Window) -> Any:
    from rasterio.windows import Window as Own

    return Own(window.left, window.top, window.right - window.left, window.bottom - window.top)


def _not_georeferenced() -> AbstractContextManager[None]:
    """Without rasterio's warning of that, which is said in our words."""
    from rasterio.errors import NotGeoreferencedWarning

    return without_warnings(NotGeoreferencedWarning)


def _reason(error: BaseException) -> str:
    """GDAL's own words, the first and the last of the chain: where, and why."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    said = [first_line(some).rstrip(".") for some in (chain[1:] or chain)]
    words = said[0] if said[-1] in said[0] else f"{said[0]}: {said[-1]}"
    return re.sub(r"\?\S*", "", without_keys(words))  # GDAL often gives the end of a URL only
