"""Results of `segearth predict`: counts, failures and the final table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segearth.batch.maps import SUMMARY
from segearth.cli.formatting import columns, count
from segearth.exits import OK, SOME_FAILED

_MOST_CLASSES = 8  # maximum in the table; `summary.csv` has all


@dataclass
class Outcome:
    """Results of several maps.

    Attributes:
        made: summaries of the maps that were written.
        there: number of maps that existed.
        failed: error messages of the other maps.
        damaged: number of maps with failed blocks.
        without_polygons: number of maps whose polygons failed.
        waiting: number of maps that other processes must finish.
        rows: table rows of scenes: name, result, size and classes.
    """

    made: list[Path] = field(default_factory=list)
    there: int = 0
    failed: list[str] = field(default_factory=list)
    damaged: int = 0
    without_polygons: int = 0
    waiting: int = 0
    rows: list[Sequence[str]] = field(default_factory=list)

    @classmethod
    def total(cls, parts: Iterable[Outcome]) -> Outcome:
        """The sum of several results."""
        whole = cls()
        for part in parts:
            whole.made += part.made
            whole.there += part.there
            whole.failed += part.failed
            whole.damaged += part.damaged
            whole.without_polygons += part.without_polygons
            whole.waiting += part.waiting
            whole.rows += part.rows
        return whole

    @property
    def code(self) -> int:
        """The exit code for several maps."""
        return SOME_FAILED if self.failed or self.damaged or self.without_polygons else OK

    def line(self, out: str) -> str:
        """The results in one line.

        Args:
            out: folder of the maps.
        """
        if not (self.made or self.failed or self.damaged or self.without_polygons or self.waiting):
            return f"{'the map is' if self.there == 1 else f'all {self.there:,} maps are'} in {out} already"
        if self.waiting and not (self.made or self.failed or self.there):
            others = "one map waits" if self.waiting == 1 else f"{self.waiting} maps wait"
            return f"the share of this process is computed; {others} for those of others"
        parts = [f"{count(len(self.made), 'map')} written to {out}"]
        parts += [f"{self.there} {'was' if self.there == 1 else 'were'} there"] if self.there else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += [f"{self.damaged} with parts that failed"] if self.damaged else []
        parts += [f"{self.without_polygons} without polygons"] if self.without_polygons else []
        parts += [f"{self.waiting} waiting for other processes"] if self.waiting else []
        return f"{', '.join(parts)}; all in figures: {SUMMARY}"


def print_table(outcome: Outcome, alone: bool) -> None:
    """Prints the statistics of a single map, or one line per scene."""
    if len(outcome.rows) > 1:
        print(columns([("scene", "", "size", "percent"), *outcome.rows]) + "\n")
    elif alone and outcome.made:
        from segearth.json_files import read_json
        from segearth.summary import text_table

        print(text_table(read_json(outcome.made[0])["classes"]) + "\n")


def scene_cells(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Area and class shares of a scene, for `Outcome.rows`."""
    from segearth.summary import hectares

    area, rows = summary["area_m2"], summary["classes"]
    size = f"{summary['valid_pixels']:,} pixels" if area is None else f"{hectares(area)} ha"
    shares = (f"{row['name']} {row['percent']:.1f}" for row in rows)
    return size, ", ".join(shares) if len(rows) <= _MOST_CLASSES else f"{count(len(rows), 'class')}"
