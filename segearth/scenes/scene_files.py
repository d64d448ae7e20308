"""The files of a scene's map: what is there of an earlier run, and how they are made of the parts of its blocks."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segearth.batch.earlier import made_with
from segearth.errors import UserError, option
from segearth.files import bytes_text
from segearth.jobs.folder import is_job, open_job
from segearth.jobs.settings import settings_hash
from segearth.jobs.shards import Shard
from segearth.outputs import write_all
from segearth.predictor import Predictor
from segearth.scenes.assemble import WITH_OVERVIEWS, assemble
from segearth.scenes.grid import Block
from segearth.scenes.layers import Layer
from segearth.scenes.options import SceneOptions, SceneResult
from segearth.scenes.plan import Plan
from segearth.scenes.raster import Raster
from segearth.scenes.scene_overlay import picture_of, scene_overlay
from segearth.scenes.scene_summary import ClassSums, map_figures, summarise_scene
from segearth.summary import csv_table, json_writer


@dataclass(frozen=True)
class SceneFiles:
    """The files of a scene's map, made or to be made.

    Attributes:
        folder: where they are.
        name: what they are called.
        plan: of the map.
        options: what was asked for.
    """

    folder: Path
    name: str
    plan: Plan
    options: SceneOptions

    def place(self, ending: str) -> Path:
        """The place of a file."""
        return self.folder / f"{self.name}.{ending}"

    @property
    def layers(self) -> list[Layer]:
        """Those that become files."""
        return [layer for layer in self.plan.layers if layer.name != "confidence" or self.options.confidence]

    @property
    def job(self) -> Path:
        """The place of the job's folder."""
        return self.place("segearth")

    @property
    def summary(self) -> Path:
        """The file that is written last."""
        return self.place("summary.json")

    def finished(self) -> SceneResult | None:
        """The map that is there, complete and of the same settings; None if there is none."""
        try:
            summary = made_with(self.summary, self.plan.settings, self.name)
            files = [self.folder / name for name in summary["files"]]
            if summary["failed"]:
                return None
        except (UserError, LookupError, TypeError):
            return None
        files.append(self.summary)
        return self._result(summary, {}, files) if all(path.is_file() for path in files) else None

    def check_disk(self, left: int) -> None:
        """Looks at the free disk before work begins.

        Args:
            left: pixels that are still to be mapped.

        Raises:
            UserError: the parts and the rasters will not fit.
        """
        window = self.plan.area.window
        pixels = (window.bottom - window.top) * (window.right - window.left)
        parts = sum(layer.bytes_of(left) for layer in self.plan.layers)
        needed = parts + sum(layer.bytes_of(pixels) for layer in self.layers) * WITH_OVERVIEWS
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise UserError(
                f"the map and its parts need about {bytes_text(needed)} in {self.folder}, which has "
                f"{bytes_text(free)} left: free some space, or use another {option('out')}"
            )

    def tidy(self, shard: Shard) -> None:
        """Removes what is left of a run that was killed when its last file was in place, or is kept no longer.

        Args:
            shard: of this process; where another one works on it, that is left alone.
        """
        locks = self.folder.glob(f".{glob.escape(self.job.name)}*.lock")
        if not self.options.keep_parts and (is_job(self.job) or any(locks)):
            with suppress(UserError), open_job(self.job, self.plan.settings, shard=shard) as job:
                job.discard()

    def refuse_others(self, image: str) -> None:
        """Refuses to write over a map of other settings, or over files of others.

        Args:
            image: the raster, for messages.

        Raises:
            UserError: there are some.
        """
        if self.summary.exists():
            made_with(self.summary, self.plan.settings, image)
            return
        others = [*(self.place(f"{layer.name}.tif") for layer in self.layers), self.place("overlay.png")]
        if foreign := next((path for path in others if os.path.lexists(path)), None):
            raise UserError(
                f"{foreign} is there, but no {self.summary.name}, so it is no map of ours: expected no such file; use "
                f"another {option('out')}, or {option('overwrite', True)} to write over it"
            )

    def make(
        self,
        raster: Raster,
        predictor: Predictor,
        parts: Path,
        blocks: Mapping[str, Block],
        done: Mapping[str, Any],
        failed: dict[str, str],
        seconds: float,
    ) -> SceneResult:
        """Puts the parts of the blocks together; the summary is the last of the files.

        Args:
            raster: open.
            predictor: the model with its vocabulary.
            parts: the folder of the parts.
            blocks: all of them.
            done: what `BlockTask` returned of each that is finished.
            failed: why the others are not.
            seconds: what computing took.

        Raises:
            UserError: they cannot be written; or no block is finished.
        """
        if not done:
            raise UserError(
                f"nothing of {raster.name} could be mapped: {next(iter(failed.values()))}; check it with gdalinfo, and "
                "start again"
            )
        plan, vocabulary = self.plan, predictor.vocabulary
        layers = self.layers
        rasters = assemble(
            parts,
            [blocks[key] for key, value in done.items() if value["sizes"]],
            plan.area.window,
            plan.transform,
            plan.crs,
            layers,
            {layer.name: self.place(f"{layer.name}.tif") for layer in layers},
            {"segearth_settings": settings_hash(plan.settings)},
        )
        labels, sums = self.place("labels.tif"), (ClassSums.from_lists(value["sums"]) for value in done.values())
        figures = map_figures(labels, vocabulary, plan.has_unclassified, ClassSums.total(sums, len(vocabulary)))
        size, onto = plan.frame.output_size, plan.frame.input_size
        picture, about_picture = picture_of(raster, plan.area.scaled(size, onto).window)
        overlay = scene_overlay(picture, labels, vocabulary, figures.rows, self.options.opacity, self.options.outline)
        table = csv_table([{"image": self.name, "classes": figures.rows}]).encode(errors="backslashreplace")
        files = rasters + write_all(
            {self.place("overlay.png"): overlay.save, self.place("summary.csv"): lambda path: path.write_bytes(table)}
        )
        summary = summarise_scene(
            self.name,
            labels,
            figures,
            files=files,
            failed=[(blocks[key], why) for key, why in failed.items()],
            settings=plan.settings,
            device=str(predictor.device),
            seconds=seconds,
            remarks=[*plan.remarks, *about_picture],
        )
        return self._result(summary, failed, files + write_all({self.summary: json_writer(summary)}))

    def _result(self, summary: dict[str, Any], failed: dict[str, str], files: Sequence[Path]) -> SceneResult:
        confidence = self.place("confidence.tif") if self.options.confidence else None
        scores = self.place("scores.tif") if self.options.scores else None
        return SceneResult(self.place("labels.tif"), confidence, scores, summary, failed, tuple(files))
