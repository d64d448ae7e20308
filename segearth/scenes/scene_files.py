"""The files of a scene's map: what is there of an earlier run, and how they are made of the parts of its blocks."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.batch.inputs import JOB_SUFFIX
from segearth.errors import UserError
from segearth.existing_results import check_summary, refuse_foreign
from segearth.jobs.folder import is_job, open_job
from segearth.jobs.settings import settings_hash
from segearth.jobs.shards import Shard
from segearth.outputs import atomic, bytes_writer, check_room, write_all
from segearth.predictor import Predictor
from segearth.scenes.assemble import WITH_OVERVIEWS, assemble
from segearth.scenes.existing_files import refuse_changed_polygons, stale_files, whole_files
from segearth.scenes.grid import Block
from segearth.scenes.layers import Layer
from segearth.scenes.options import SceneOptions, SceneResult
from segearth.scenes.plan import Plan
from segearth.scenes.raster import Raster
from segearth.scenes.scene_overlay import picture_of, scene_overlay
from segearth.scenes.scene_summary import ClassSums, file_facts, map_figures, summarise_scene
from segearth.summary import csv_table, json_writer
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from PIL import Image


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
        return self.folder / f"{self.name}{JOB_SUFFIX}"

    @property
    def overlay(self) -> Path:
        """The place of the picture for people."""
        return self.place("overlay.png")

    @property
    def _look(self) -> dict[str, Any]:
        """How the overlay is drawn."""
        return {"opacity": self.options.opacity, "outline": self.options.outline}

    @property
    def summary(self) -> Path:
        """The file that is written last."""
        return self.place("summary.json")

    @property
    def rasters(self) -> dict[str, Path]:
        """The places of the rasters that are wanted, by their layers."""
        return {layer.name: self.place(f"{layer.name}.tif") for layer in self.layers}

    @property
    def others(self) -> list[Path]:
        """The places of the rasters that a map may have, but that are not wanted."""
        return [self.place(f"{name}.tif") for name in ("confidence", "scores") if name not in self.rasters]

    def finished(self) -> SceneResult | None:
        """The map that is there, complete and of the same settings; None if there is none.

        Its overlay may be another one, or missing, see `with_overlay`.
        """
        summary, whole = self._earlier()
        if not summary:
            return None
        needed = {*summary["files"], *(path.name for path in self.rasters.values())}
        if needed - whole - {path.name for path in (*self.others, self.overlay)}:
            return None
        return self._result(summary, {}, [self.folder / name for name in summary["files"] if name in whole])

    def with_overlay(self, found: SceneResult, raster: Raster, vocabulary: Vocabulary) -> SceneResult:
        """A map that is there with the overlay that is asked for, which is drawn anew if it is another one.

        Args:
            found: the map.
            raster: open.
            vocabulary: of the map.

        Raises:
            UserError: it cannot be written.
        """
        if found.summary.get("overlay") == self._look and self.overlay in found.files:
            return found
        drawn, about_picture = self._drawn(raster, vocabulary, found.summary["classes"])
        write_all({self.overlay: drawn.save})
        summary = found.summary | {
            "files": found.summary["files"] | {self.overlay.name: file_facts(self.overlay)},
            "overlay": self._look,
            "remarks": [*self.plan.remarks, *about_picture],
        }
        with atomic(self.summary) as part:  # always there: without it, the map would be no map of ours
            json_writer(summary)(part)
        return self._result(summary, {}, list(dict.fromkeys([*found.files[:-1], self.overlay])))

    def _earlier(self) -> tuple[dict[str, Any], set[str]]:
        """The summary of a map of the same settings without failures, and which of its files are as long as it says.

        Both are empty if there is none.
        """
        try:
            summary = check_summary(self.summary, self.plan.settings, self.name)
            if not summary["failed"]:
                return summary, whole_files(summary, self.folder)
        except (UserError, LookupError):
            pass
        return {}, set()

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
        check_room(self.folder, needed, "the map and its parts need")

    def tidy(self, shard: Shard) -> None:
        """Removes what is left of a run that was killed when its last file was in place, or is kept no longer.

        Args:
            shard: of this process; where another one works on any share, all is left alone.
        """
        locks = self.folder.glob(f".{glob.escape(self.job.name)}*.lock")
        if not self.options.keep_parts and (is_job(self.job) or any(locks)):
            with suppress(UserError), open_job(self.job, self.plan.settings, shard=shard, sole=True) as job:
                job.discard()

    def refuse_changed(self) -> None:
        """Refuses to replace a map whose polygons somebody has worked on: they would go with it.

        Raises:
            UserError: there are some.
        """
        refuse_changed_polygons(self.summary)

    def refuse_others(self, image: str) -> None:
        """Refuses to write over a map of other settings, or over files of others.

        Args:
            image: the raster, for messages.

        Raises:
            UserError: there are some.
        """
        if self.summary.exists():
            check_summary(self.summary, self.plan.settings, image)
            return
        refuse_foreign([*self.rasters.values(), self.overlay], self.summary)

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

        Further rasters of the same map, made for an earlier run that wanted them, stay, as its polygons do; those of
        another map go.

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
        whole = self._earlier()[1]
        kept = [path for path in self.others if path.name in whole]
        others = [path for path in self.others if path not in kept]
        stale = stale_files(self.summary, others, polygons=self.place("labels.tif").name not in whole)
        rasters = assemble(
            parts,
            [blocks[key] for key, value in done.items() if value["sizes"]],
            plan.area.window,
            plan.transform,
            plan.crs,
            self.layers,
            self.rasters,
            {"segearth_settings": settings_hash(plan.settings)},
            stale,
        )
        labels, sums = self.place("labels.tif"), (ClassSums.from_lists(value["sums"]) for value in done.values())
        figures = map_figures(labels, vocabulary, plan.has_unclassified, ClassSums.total(sums, len(vocabulary)))
        drawn, about_picture = self._drawn(raster, vocabulary, figures.rows)
        table = csv_table([{"image": self.name, "classes": figures.rows}]).encode(errors="backslashreplace")
        files = rasters + write_all({self.overlay: drawn.save, self.place("summary.csv"): bytes_writer(table)})
        summary = summarise_scene(
            self.name,
            labels,
            figures,
            files=files + kept,
            failed=[(blocks[key], why) for key, why in failed.items()],
            settings=plan.settings,
            overlay=self._look,
            device=str(predictor.device),
            seconds=seconds,
            remarks=[*plan.remarks, *about_picture],
        )
        write_all({self.summary: json_writer(summary)})
        return self._result(summary, failed, files + kept)

    def _drawn(
        self, raster: Raster, vocabulary: Vocabulary, rows: Sequence[dict[str, Any]]
    ) -> tuple[Image.Image, list[str]]:
        """The overlay of the map whose labels are in their place, and remarks on it."""
        size, onto = self.plan.frame.output_size, self.plan.frame.input_size
        picture, remarks = picture_of(raster, self.plan.area.scaled(size, onto).window)
        opacity, outline = self.options.opacity, self.options.outline
        return scene_overlay(picture, self.place("labels.tif"), vocabulary, rows, opacity, outline), remarks

    def _result(self, summary: dict[str, Any], failed: dict[str, str], files: Sequence[Path]) -> SceneResult:
        confidence = self.place("confidence.tif") if self.options.confidence else None
        scores = self.place("scores.tif") if self.options.scores else None
        written = (*files, self.summary)
        return SceneResult(self.place("labels.tif"), confidence, scores, summary, failed, written, self.plan.spec)
