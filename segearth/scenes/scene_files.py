"""Files of a map: checks those of an earlier run, and writes new ones from the files of the blocks."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.batch.inputs import JOB_SUFFIX
from segearth.errors import UserError
from segearth.jobs.existing_results import check_summary, complete_files, refuse_foreign
from segearth.jobs.folder import is_job, open_job
from segearth.jobs.settings import settings_hash
from segearth.jobs.shards import Shard
from segearth.outputs import atomic, bytes_writer, check_room, write_all
from segearth.predictor import Predictor
from segearth.scenes.assemble import WITH_OVERVIEWS, assemble
from segearth.scenes.existing_files import stale_files
from segearth.scenes.grid import Block
from segearth.scenes.layers import Layer
from segearth.scenes.options import SceneOptions, SceneResult
from segearth.scenes.plan import Plan
from segearth.scenes.raster import Raster
from segearth.scenes.scene_overlay import raster_thumbnail, scene_overlay
from segearth.scenes.scene_summary import ClassSums, file_record, map_statistics, summarise_scene
from segearth.summary import csv_table, json_writer
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class SceneFiles:
    """The files of a map, existing or to be written.

    Attributes:
        folder: folder of the files.
        name: base name of the files.
        plan: plan of the map.
        options: options of the scene.
    """

    folder: Path
    name: str
    plan: Plan
    options: SceneOptions

    def path(self, suffix: str) -> Path:
        """Returns the path of a file, such as "labels.tif"."""
        return self.folder / f"{self.name}.{suffix}"

    @property
    def layers(self) -> list[Layer]:
        """Layers that are written to files."""
        return [layer for layer in self.plan.layers if layer.name != "confidence" or self.options.confidence]

    @property
    def job(self) -> Path:
        """Folder of the job."""
        return self.folder / f"{self.name}{JOB_SUFFIX}"

    @property
    def overlay(self) -> Path:
        """Path of the overlay."""
        return self.path("overlay.png")

    @property
    def _overlay_settings(self) -> dict[str, Any]:
        """Settings of the overlay, as in the summary."""
        return {"opacity": self.options.opacity, "outline": self.options.outline}

    @property
    def summary(self) -> Path:
        """Path of the summary, which is written last."""
        return self.path("summary.json")

    @property
    def rasters(self) -> dict[str, Path]:
        """Paths of the requested rasters, by the layer's name."""
        return {layer.name: self.path(f"{layer.name}.tif") for layer in self.layers}

    @property
    def optional_rasters(self) -> list[Path]:
        """Paths of optional rasters that are not requested."""
        return [self.path(f"{name}.tif") for name in ("confidence", "scores") if name not in self.rasters]

    def finished(self) -> SceneResult | None:
        """Returns an existing complete map with the same settings, or None.

        Its overlay may differ or be missing, see `with_overlay`.
        """
        summary, complete = self._earlier()
        if not summary:
            return None
        needed = {*summary["files"], *(path.name for path in self.rasters.values())}
        if needed - complete - {path.name for path in (*self.optional_rasters, self.overlay)}:
            return None
        return self._result(summary, {}, [self.folder / name for name in summary["files"] if name in complete])

    def with_overlay(self, found: SceneResult, raster: Raster, vocabulary: Vocabulary) -> SceneResult:
        """Returns an existing map, after drawing its overlay again if its settings differ.

        Args:
            found: the existing map.
            raster: the mapped raster, open.
            vocabulary: classes of the map.

        Raises:
            UserError: the overlay cannot be written.
        """
        if found.summary.get("overlay") == self._overlay_settings and self.overlay in found.files:
            return found
        overlay, overlay_remarks = self._draw_overlay(raster, vocabulary, found.summary["classes"])
        write_all({self.overlay: overlay.save})
        summary = found.summary | {
            "files": found.summary["files"] | {self.overlay.name: file_record(self.overlay)},
            "overlay": self._overlay_settings,
            "remarks": [*self.plan.remarks, *overlay_remarks],
        }
        with atomic(self.summary) as temporary:  # replaced in one step: without a summary, the map is not recognised
            json_writer(summary)(temporary)
        return self._result(summary, {}, list(dict.fromkeys([*found.files[:-1], self.overlay])))

    def _earlier(self) -> tuple[dict[str, Any], set[str]]:
        """Returns the summary of an existing map with the same settings and no failures, and its complete files.

        Both are empty if there is none.
        """
        try:
            summary = check_summary(self.summary, self.plan.settings, self.name)
            if not summary["failed"]:
                return summary, complete_files(summary, self.folder)
        except (UserError, LookupError):
            pass
        return {}, set()

    def check_disk(self, left: int) -> None:
        """Checks the free disk space before work starts.

        Args:
            left: number of pixels still to be mapped.

        Raises:
            UserError: the block files and the rasters will not fit.
        """
        window = self.plan.area.window
        pixels = (window.bottom - window.top) * (window.right - window.left)
        parts = sum(layer.estimated_bytes(left) for layer in self.plan.layers)
        needed = parts + sum(layer.estimated_bytes(pixels) for layer in self.layers) * WITH_OVERVIEWS
        check_room(self.folder, needed, "the map and its parts need")

    def remove_job(self, shard: Shard) -> None:
        """Removes the job of a finished map: left by a killed run, or of block files that are no longer kept.

        Args:
            shard: of this process; nothing is removed while another process works on the job.
        """
        locks = self.folder.glob(f".{glob.escape(self.job.name)}*.lock")
        if not self.options.keep_parts and (is_job(self.job) or any(locks)):
            with suppress(UserError), open_job(self.job, self.plan.settings, shard=shard, sole=True) as job:
                job.discard()

    def refuse_other_map(self, image: str) -> None:
        """Refuses to overwrite a map with other settings, or files of other programs.

        Args:
            image: name of the raster, for messages.

        Raises:
            UserError: there is such a map or file.
        """
        if self.summary.exists():
            check_summary(self.summary, self.plan.settings, image)
            return
        refuse_foreign([*self.rasters.values(), self.overlay], self.summary)

    def write(
        self,
        raster: Raster,
        predictor: Predictor,
        parts: Path,
        blocks: Mapping[str, Block],
        done: Mapping[str, Any],
        failed: dict[str, str],
        seconds: float,
    ) -> SceneResult:
        """Assembles the map from the files of the blocks; the summary is written last.

        Optional rasters and polygons of the same map, from an earlier run, are kept; those of another map are removed.

        Args:
            raster: the mapped raster, open.
            predictor: the model with its vocabulary.
            parts: folder of the block files.
            blocks: all blocks.
            done: result of `BlockTask` of each finished block.
            failed: reason of each failed block.
            seconds: computing time.

        Raises:
            UserError: files cannot be written, or no block is finished.
        """
        if not done:
            raise UserError(
                f"nothing of {raster.name} could be mapped: {next(iter(failed.values()))}; check it with gdalinfo, and "
                "start again"
            )
        plan, vocabulary = self.plan, predictor.vocabulary
        complete = self._earlier()[1]
        kept = [path for path in self.optional_rasters if path.name in complete]
        others = [path for path in self.optional_rasters if path not in kept]
        stale = stale_files(self.summary, others, polygons=self.path("labels.tif").name not in complete)
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
        labels, sums = self.path("labels.tif"), (ClassSums.from_lists(value["sums"]) for value in done.values())
        figures = map_statistics(labels, vocabulary, plan.has_unclassified, ClassSums.total(sums, len(vocabulary)))
        overlay, overlay_remarks = self._draw_overlay(raster, vocabulary, figures.rows)
        table = csv_table([{"image": self.name, "classes": figures.rows}]).encode(errors="backslashreplace")
        files = rasters + write_all({self.overlay: overlay.save, self.path("summary.csv"): bytes_writer(table)})
        summary = summarise_scene(
            self.name,
            labels,
            figures,
            files=files + kept,
            failed=[(blocks[key], reason) for key, reason in failed.items()],
            settings=plan.settings,
            overlay=self._overlay_settings,
            device=str(predictor.device),
            seconds=seconds,
            remarks=[*plan.remarks, *overlay_remarks],
        )
        write_all({self.summary: json_writer(summary)})
        return self._result(summary, failed, files + kept)

    def _draw_overlay(
        self, raster: Raster, vocabulary: Vocabulary, rows: Sequence[dict[str, Any]]
    ) -> tuple[Image.Image, list[str]]:
        """Draws the overlay of the map, whose labels are already written; returns it and remarks."""
        size, new_size = self.plan.frame.output_size, self.plan.frame.input_size
        picture, remarks = raster_thumbnail(raster, self.plan.area.scaled(size, new_size).window)
        opacity, outline = self.options.opacity, self.options.outline
        return scene_overlay(picture, self.path("labels.tif"), vocabulary, rows, opacity, outline), remarks

    def _result(self, summary: dict[str, Any], failed: dict[str, str], files: Sequence[Path]) -> SceneResult:
        confidence = self.path("confidence.tif") if self.options.confidence else None
        scores = self.path("scores.tif") if self.options.scores else None
        written = (*files, self.summary)
        return SceneResult(self.path("labels.tif"), confidence, scores, summary, failed, written, self.plan.spec)
