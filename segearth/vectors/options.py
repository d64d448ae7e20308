"""Options and result of making polygons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segearth.errors import UserError, option
from segearth.vectors.formats import check_format

MOST = 2_000_000  # polygons that are written without `force`: more are noise, and no program opens them


@dataclass(frozen=True)
class VectorOptions:
    """How a label map becomes polygons.

    Attributes:
        vector: the format: gpkg, fgb or geojson.
        min_area: in m², of pixels where there is no coordinate system: smaller pieces go to their neighbours.
        simplify: in metres, of pixels likewise: how much simpler borders may be; 0: not at all.
        only: the classes that become polygons, by any of their names or by their values; empty: all.
        dissolve: whether all pieces of a class are one multipolygon.
        force: whether more than `MOST` polygons are written.
    """

    vector: str = "gpkg"
    min_area: float = 0.0
    simplify: float = 0.0
    only: Sequence[str] = ()
    dissolve: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", check_format(self.vector))
        for name in ("min_area", "simplify"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{option(name, getattr(self, name))}: expected a number from 0 on")


@dataclass(frozen=True)
class VectorResult:
    """A file of polygons.

    Attributes:
        path: of the file.
        summary: the content of the file `NAME.polygons.SUFFIX.json` beside it.
        was_there: whether an earlier run had written it.
    """

    path: Path
    summary: dict[str, Any]
    was_there: bool
