"""Inspection of a raster: chooses its bands, its stretch and the fill colour once for the whole raster."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segearth.errors import UserError, option
from segearth.scenes.bands import BandSelection, choose_bands
from segearth.scenes.pixel_sample import PixelSample, sample_pixels
from segearth.scenes.raster import Raster, open_raster
from segearth.scenes.raster_spec import RasterSpec
from segearth.scenes.stretch import Limits, apply_stretch, parse_stretch, stretch_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Inspection(NamedTuple):
    """The result of inspecting a raster.

    Attributes:
        spec: how to read the raster.
        remarks: one sentence each, on choices that the file does not state.
        valid: (h, w) bool, which of the pixels of `sample_pixels` are valid.
    """

    spec: RasterSpec
    remarks: list[str]
    valid: NDArray[np.bool_]


def inspect_raster(
    raster: Raster, bands: BandSelection = None, stretch: str = "auto", stretch_from: str | Path | None = None
) -> Inspection:
    """Chooses how to read a raster.

    Args:
        raster: an open raster.
        bands: as of `segearth.scenes.bands.choose_bands`.
        stretch: auto, percentile, percentile:1,99, MIN,MAX or none; of raw samples, before any scale and offset.
        stretch_from: another raster, whose stretch is used.

    Raises:
        UserError: as of `choose_bands`; bands of complex numbers; most of the raster is damaged; the other raster
            cannot be opened or has another data type.
        ReadFailed: the network failed.
    """
    if stretch_from is None:
        return _inspect(raster, bands, stretch, None)
    with open_raster(stretch_from) as other:
        return _inspect(raster, bands, stretch, (other, _inspect(other, bands, stretch, None).spec))


def _inspect(
    raster: Raster, bands: BandSelection, stretch: str, reference: tuple[Raster, RasterSpec] | None
) -> Inspection:
    stretch_settings = parse_stretch(stretch)
    numbers, remarks = choose_bands(raster.bands, bands, raster.name)
    chosen = [raster.bands[number - 1] for number in numbers]
    for band in chosen:
        if band.dtype.startswith("complex"):
            raise UserError(
                f"band {band} of {raster.name} has complex numbers ({band.dtype}), as of radar: expected real ones; "
                f"its amplitude is the raster DERIVED_SUBDATASET:AMPLITUDE:{raster.name}"
            )
    if reference is not None:
        _check_types(raster, numbers, *reference)
    palette = len(set(numbers)) == 1 and chosen[0].colour == "palette"
    sample = sample_pixels(raster, numbers, palette)
    remarks += _remarks(raster, sample)
    if palette:
        chosen = [replace(band, dtype="uint8", bits=None) for band in chosen]
    limits: Limits | None
    if reference is None:
        limits, more = stretch_limits(
            stretch_settings, chosen, [band[sample.valid] for band in sample.pixels], raster.name
        )
        remarks += more
    else:
        limits = reference[1].stretch
    fill = _mean_rgb(sample, limits)
    digest = hashlib.sha256(np.ascontiguousarray(sample.pixels).data)
    digest.update(np.packbits(sample.valid).data)
    spec = RasterSpec(raster.address, numbers, limits, fill, palette, raster.overview, digest.hexdigest())
    return Inspection(spec, remarks, sample.valid)


def _check_types(raster: Raster, numbers: tuple[int, ...], other: Raster, spec: RasterSpec) -> None:
    """Refuses a stretch of another raster whose bands have other data types."""
    types = [raster.bands[number - 1].dtype for number in numbers]
    other_types = [other.bands[number - 1].dtype for number in spec.bands]
    if types != other_types:
        raise UserError(
            f"{raster.name} has bands of {', '.join(types)} and {other.name} of {', '.join(other_types)}: expected the "
            f"same types, because both use one stretch; leave {option('stretch_from')} out"
        )


def _remarks(raster: Raster, sample: PixelSample) -> list[str]:
    """Returns remarks on damaged parts, a missing coordinate system and missing valid pixels.

    Raises:
        UserError: most of the raster is damaged.
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


def _mean_rgb(sample: PixelSample, stretch: Limits | None) -> tuple[float, float, float]:
    """Returns the mean colour of the valid pixels, from 0 to 255; whole numbers for uint8 pixels."""
    if not sample.valid.any():
        return 0.0, 0.0, 0.0
    pixels = apply_stretch(sample.pixels[:, sample.valid], stretch)
    digits = 0 if pixels.dtype == np.uint8 else 3
    red, green, blue = (round(float(band.mean(dtype=np.float64)), digits) for band in pixels)
    return red, green, blue
