"""Specification of how a raster is read; chosen once, passed to other processes, and recorded in summaries."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from segearth.scenes.bands import BandNumbers
from segearth.scenes.stretch import Limits


@dataclass(frozen=True)
class RasterSpec:
    """Everything that a process needs to open a raster and read the same values as another process.

    Attributes:
        address: address for `open_raster`, with an absolute path.
        bands: red, green and blue, from 1.
        stretch: of each band, the samples that are mapped to 0 and 255; None for no stretch.
        fill: colour of invalid pixels, from 0 to 255: the mean colour.
        palette: whether to expand the band by its colour table.
        overview: index of the overview to read, from 0; None: full resolution.
        sample: SHA-256 of the sampled pixels, which distinguishes rasters that are not files.
        content: SHA-256 of the identity, see `segearth.scenes.identity`; empty if unknown.
    """

    address: str
    bands: BandNumbers
    stretch: Limits | None
    fill: tuple[float, float, float]
    palette: bool = False
    overview: int | None = None
    sample: str = field(default="", compare=False)
    content: str = field(default="", compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RasterSpec:
        """Creates a spec from the fields of `as_dict`, also after JSON."""
        stretch = values["stretch"]
        return cls(
            **{
                **values,
                "bands": tuple(values["bands"]),
                "stretch": None if stretch is None else tuple((low, high) for low, high in stretch),
                "fill": tuple(values["fill"]),
            }
        )
