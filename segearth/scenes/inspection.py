"""What is chosen once for a whole raster: bands, stretch, and the colour of invalid pixels."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.errors import UserError, option
from segearth.scenes.bands import Asked, choose_bands
from segearth.scenes.pixel_sample import Sample, sample_of
from segearth.scenes.raster import Raster, open_raster
from segearth.scenes.raster_spec import RasterSpec
from segearth.scenes.stretch import Limits, limits, parse_stretch, stretched

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader


class Choice(NamedTuple):
    """What is chosen for a raster, and what was seen of it.

    Attributes:
        spec: how it is read.
        remarks: one sentence each, on what was not evident.
        valid: (h, w) bool, which of the pixels of `sample_of` are valid.
    """

    spec: RasterSpec
    remarks: list[str]
    valid: NDArray[np.bool_]


def choose(
    source: str | Path | DatasetReader,
    bands: Asked = None,
    stretch: str = "auto",
    stretch_from: str | Path | None = None,
    overview: int | None = None,
) -> tuple[RasterSpec, list[str]]:
    """Chooses how a raster is read.

    Args:
        source: as of `open_raster`.
        bands: as of `segearth.scenes.bands.choose_bands`.
        stretch: auto, percentile, percentile:1,99, MIN,MAX or none; of raw samples, before any scale and offset.
        stretch_from: another raster, whose stretch is taken.
        overview: as of `open_raster`.

    Returns:
        The spec; and remarks, one sentence each, on what was not evident.

    Raises:
        UserError: as of `open_raster` and `choose_bands`; bands of complex numbers; most of it is damaged; the other
            raster has samples of another type.
        ReadFailed: the network failed.
    """
    with open_raster(source, overview=overview) as raster:
        return look(raster, bands, stretch, stretch_from)[:2]


def look(raster: Raster, bands: Asked = None, stretch: str = "auto", stretch_from: str | Path | None = None) -> Choice:
    """As `choose`, for a raster that is open, with what was seen of it."""
    if stretch_from is None:
        return _look(raster, bands, stretch, None)
    with open_raster(stretch_from) as other:
        return _look(raster, bands, stretch, (other, _look(other, bands, stretch, None).spec))


def _look(raster: Raster, bands: Asked, stretch: str, model: tuple[Raster, RasterSpec] | None) -> Choice:
    asked = parse_stretch(stretch)
    numbers, remarks = choose_bands(raster.bands, bands, raster.name)
    chosen = [raster.bands[number - 1] for number in numbers]
    for band in chosen:
        if band.dtype.startswith("complex"):
            raise UserError(
                f"band {band} of {raster.name} has complex numbers ({band.dtype}), as of radar: expected real ones; "
                f"its amplitude is the raster DERIVED_SUBDATASET:AMPLITUDE:{raster.name}"
            )
    if model is not None:
        _check_types(raster, numbers, *model)
    palette = len(set(numbers)) == 1 and chosen[0].colour == "palette"
    sample = sample_of(raster, numbers, palette)
    remarks += _remarks(raster, sample)
    if palette:
        chosen = [replace(band, dtype="uint8", bits=None) for band in chosen]
    found: Limits | None
    if model is None:
        found, more = limits(asked, chosen, [band[sample.valid] for band in sample.pixels], raster.name)
        remarks += more
    else:
        found = model[1].stretch
    fill = _mean_colour(sample, found)
    digest = hashlib.sha256(np.ascontiguousarray(sample.pixels).data)
    digest.update(np.packbits(sample.valid).data)
    spec = RasterSpec(raster.address, numbers, found, fill, palette, raster.overview, digest.hexdigest())
    return Choice(spec, remarks, sample.valid)


def _check_types(raster: Raster, numbers: tuple[int, ...], other: Raster, spec: RasterSpec) -> None:
    """Refuses the stretch of samples of another type."""
    own, theirs = (
        [some.bands[number - 1].dtype for number in of] for some, of in ((raster, numbers), (other, spec.bands))
    )
    if own != theirs:
        raise UserError(
            f"{raster.name} has bands of {', '.join(own)} and {other.name} of {', '.join(theirs)}: expected the same "
            f"types, as one stretch is for both; leave {option('stretch_from')} out"
        )


def _remarks(raster: Raster, sample: Sample) -> list[str]:
    """What a user should know of a raster.

    Raises:
        UserError: most of it is damaged.
    """
    remarks = []
    share = sample.unread / sample.valid.size
    if share > 0.5:
        raise UserError(
            f"{raster.name} is damaged, {100 * share:.0f} % of it cannot be read: expected a whole file; copy or "
            "download it again"
        )
    if share:
        remarks.append(f"{raster.name} is damaged: about {100 * share:.2g} % of it cannot be read")
    if raster.crs is None:
        remarks.append(f"{raster.name} has no coordinate system, so its map has none, and areas are in pixels")
    if not sample.valid.any():
        remarks.append(f"{raster.name} has no valid pixel among the {sample.valid.size:,} that were looked at")
    return remarks


def _mean_colour(sample: Sample, stretch: Limits | None) -> tuple[float, float, float]:
    """Of the valid pixels, from 0 to 255; whole numbers where pixels are."""
    if not sample.valid.any():
        return 0.0, 0.0, 0.0
    pixels = stretched(sample.pixels[:, sample.valid], stretch)
    digits = 0 if pixels.dtype == np.uint8 else 3
    red, green, blue = (round(float(band.mean(dtype=np.float64)), digits) for band in pixels)
    return red, green, blue
