"""How a raster is read, chosen once for the whole of it: what processes hand to each other, and what is recorded."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from segearth.scenes.bands import Numbers
from segearth.scenes.stretch import Limits


@dataclass(frozen=True)
class RasterSpec:
    """All that a process needs to open a raster and read the same values as another one.

    Attributes:
        address: as `open_raster` takes it, with an absolute path.
        bands: red, green and blue, from 1.
        stretch: of each the samples that become 0 and 255; None for samples that stay as they are.
        fill: from 0 to 255, what invalid pixels become: the mean colour.
        palette: whether the band is expanded by its table of colours.
        overview: which of the raster's own overviews stands for the raster, from 0; None: the raster itself.
        sample: SHA-256 of the pixels that this was chosen from: tells rasters apart that are no files.
        content: SHA-256 of what else tells it from others, see `segearth.scenes.identity`; empty if nobody looked.
    """

    address: str
    bands: Numbers
    stretch: Limits | None
    fill: tuple[float, float, float]
    palette: bool = False
    overview: int | None = None
    sample: str = field(default="", compare=False)
    content: str = field(default="", compare=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RasterSpec:
        """From what JSON made of `as_dict`."""
        stretch = values["stretch"]
        return cls(
            **{
                **values,
                "bands": tuple(values["bands"]),
                "stretch": None if stretch is None else tuple((low, high) for low, high in stretch),
                "fill": tuple(values["fill"]),
            }
        )
