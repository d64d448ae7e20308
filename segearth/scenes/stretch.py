"""Conversion of samples of any type to 0 to 255, with one stretch for a whole raster, so that tiles fit together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from segearth.errors import UserError, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segearth.scenes.bands import Band

PERCENTILES = (2.0, 98.0)  # usual in GIS programs, such as QGIS
Limits: TypeAlias = "tuple[tuple[float, float], ...]"  # of each band, the samples that are mapped to 0 and 255


@dataclass(frozen=True)
class Stretch:
    """A requested stretch.

    Attributes:
        kind: "auto": none for uint8, else percentiles; "percentile"; "range"; "none".
        low: percentile, or the sample that is mapped to 0.
        high: percentile, or the sample that is mapped to 255.
    """

    kind: str
    low: float = PERCENTILES[0]
    high: float = PERCENTILES[1]


def parse_stretch(text: str) -> Stretch:
    """Parses a stretch: auto, percentile, percentile:1,99, MIN,MAX or none.

    Raises:
        UserError: anything else.
    """
    word, colon, numbers = text.strip().lower().partition(":")
    if word in ("auto", "percentile", "none") and not colon:
        return Stretch(word)
    pair = _parse_pair(numbers if word == "percentile" else text)
    if pair is None or (word == "percentile" and not 0 <= pair[0] < pair[1] <= 100):
        raise UserError(
            f"the stretch is {text!r}: expected auto, percentile, percentile:LOW,HIGH (from 0 to 100), MIN,MAX or "
            f"none; give one of them, such as {option('stretch', '0,3000')}"
        )
    return Stretch("percentile" if word == "percentile" else "range", *pair)


def _parse_pair(text: str) -> tuple[float, float] | None:
    """Parses two finite numbers, the first one smaller; None for anything else."""
    try:
        low, high = (float(number) for number in text.split(","))
    except ValueError:
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def stretch_limits(
    stretch: Stretch, bands: Sequence[Band], samples: Sequence[NDArray[Any]], name: str
) -> tuple[Limits | None, list[str]]:
    """Computes the limits of each band.

    Args:
        stretch: the requested stretch.
        bands: bands used as red, green and blue.
        samples: of each band, (n,) valid samples spread over the whole raster; n may be 0.
        name: of the raster, for remarks.

    Returns:
        (low, high) of each band, or None for no stretch; and remarks (one sentence each).
    """
    bytes_only = all(band.dtype == "uint8" for band in bands)
    if stretch.kind == "range":
        return ((stretch.low, stretch.high),) * len(bands), []
    if stretch.kind == "none":
        return None, [] if bytes_only else [f"{name}: values below 0 become 0 and values above 255 become 255"]
    if stretch.kind == "auto" and bytes_only:
        if any(band.bits for band in bands):
            return tuple((0.0, 2.0 ** (band.bits or 8) - 1) for band in bands), []
        return None, []
    limits = [_percentiles(band, stretch) for band in samples]
    constant = {
        f"band {band} of {name} is {low:g} everywhere and becomes 0"
        for band, (low, high), values in zip(bands, limits, samples, strict=True)
        if low == high and values.size
    }
    return tuple(limits), sorted(constant)


def _percentiles(samples: NDArray[Any], stretch: Stretch) -> tuple[float, float]:
    """Returns the percentiles of samples; minimum and maximum if both percentiles are equal."""
    if samples.size == 0:
        return 0.0, 255.0
    low, high = np.percentile(samples.astype(np.float64), [stretch.low, stretch.high])
    if low == high:
        low, high = samples.min(), samples.max()
    return float(low), float(high)


def apply_stretch(samples: NDArray[Any], stretch: Limits | None) -> NDArray[np.uint8 | np.float32]:
    """Converts samples to values from 0 to 255.

    Args:
        samples: (bands, ...) of any real type.
        stretch: (low, high) of each band; None: no stretch, only clipped to 0 and 255.

    Returns:
        (bands, ...): unchanged uint8 without a stretch, else float32, not rounded. NaN may remain; a band whose limits
        are equal becomes 0.
    """
    if stretch is None:
        return samples if samples.dtype == np.uint8 else samples.astype(np.float32).clip(0, 255)
    with np.errstate(over="ignore", invalid="ignore"):  # nodata may be the largest float
        values = samples.astype(np.float32)
        for band, (low, high) in zip(values, stretch, strict=True):
            band -= np.float32(low)
            band *= np.float32(255 / (high - low) if high > low else 0)
            np.clip(band, 0, 255, out=band)
    return values
