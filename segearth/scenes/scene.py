"""A scene, from a raster of any size to its map: blocks are computed, kept as parts, and put together at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.batch.plan import fingerprint
from segearth.errors import UserError, option
from segearth.jobs.folder import open_job
from segearth.jobs.settings import first_difference, settings_hash
from segearth.jobs.shards import WHOLE, Shard
from segearth.jobs.workers import threads_each
from segearth.json_files import json_line, parse_json, read_json
from segearth.labels import has_unclassified
from segearth.outputs import writable_folder, write_all
from segearth.predictor import Predictor
from segearth.scenes.addresses import shown
from segearth.scenes.assemble import assemble
from segearth.scenes.blocks import BlockSettings
from segearth.scenes.choice import choose_for
from segearth.scenes.grid import Block, blocks
from segearth.scenes.layers import CONFIDENCE, Layer, labels_layer, scores_layer
from segearth.scenes.layout import frame_of, side_of_blocks
from segearth.scenes.options import SceneOptions, SceneProgress, SceneResult
from segearth.scenes.raster import Raster, open_raster
from segearth.scenes.scene_overlay import scene_overlay, thumbnail
from segearth.scenes.scene_summary import ClassSums, map_figures, summarise_scene
from segearth.scenes.spec import RasterSpec
from segearth.scenes.tasks import BlockTask, Loaded
from segearth.summary import json_writer
from segearth.vocabulary import describe_settings
from segearth.windows import Window

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

FORMAT = 1  # of parts and settings; with another number, earlier work is of other settings


def predict_scene(
    source: str | Path | DatasetReader,
    output: str | Path,
    predictor: Predictor,
    *,
    name: str | None = None,
    options: SceneOptions | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    shard: Shard = WHOLE,
    overwrite: bool = False,
    progress: Callable[[SceneProgress], object] | None = None,
) -> SceneResult | None:
    """Maps a raster of any size, block by block, with bounded memory.

    The map is the same, to the last byte, for every size of blocks, bound of memory, number of workers and shards, and
    when the work was killed and started again, which goes on where it stopped.

    Args:
        source: an address that GDAL knows (see `segearth.scenes.addresses`), or a dataset that rasterio has open.
        output: folder for the files.
        predictor: the model with its vocabulary.
        name: what the files are called; None: as the raster.
        options: how.
        workers: processes that compute; 1: this one.
        executor: computes instead, such as that of a dask client.
        shard: the share of this process, where several are started by hand; the last one puts the map together.
        overwrite: whether to begin anew, whatever is there.
        progress: called after every block.

    Returns:
        The files; None where other shards have not finished theirs.

    Raises:
        UserError: a raster that cannot be opened, options that do not fit it, a map of other settings, a full disk.
        ReadFailed: the raster failed before the work began.
    """
    options, begun = options or SceneOptions(), time.perf_counter()
    folder = writable_folder(output)
    with open_raster(source) as raster:
        scene = _Scene(raster, folder, name or Path(raster.name).stem, predictor, options)
        if not overwrite and (result := scene.finished()) is not None:
            return result
        with open_job(
            folder / f"{scene.name}.segearth",
            scene.settings,
            layout={"block": side_of_blocks(scene.frame, predictor.model, options)},
            is_done=lambda key, value: scene.task.is_there(key, value),
            shard=shard,
            overwrite=overwrite,
            keep=options.keep_parts,
        ) as job:
            alone = workers == 1 and executor is None
            scene.task = scene.block_task(
                int(job.layout["block"]), job.path, Loaded.here(predictor) if alone else Loaded.for_processes(predictor)
            )
            keys = list(scene.task.blocks)
            job.run(
                keys,
                scene.task,
                executor=executor,
                workers=workers,
                initializer=partial(_share_cores, workers),
                progress=None if progress is None else _Teller(scene.task.blocks, progress, begun),
            )
            return job.finish(keys, lambda done, failed: scene.conclude(done, failed, time.perf_counter() - begun))


class _Scene:
    """A scene while it is mapped: what depends on the raster, the model and the options."""

    task: BlockTask

    def __init__(self, raster: Raster, folder: Path, name: str, predictor: Predictor, options: SceneOptions) -> None:
        self.raster, self.folder, self.name = raster, folder, name
        self.predictor, self.options = predictor, options
        self.spec, self.remarks = _choose(raster, options)
        self.frame = frame_of(raster, predictor.model, options)
        self.area = Window(0, self.frame.output_size[0], 0, self.frame.output_size[1])
        self.batch = min(max(2, options.batch or predictor.model.batch(self.frame.grid)), self.frame.grid.count)
        self.unclassified = has_unclassified(predictor.vocabulary, predictor.threshold)
        self.layers: tuple[Layer, ...] = (labels_layer(predictor.vocabulary, self.unclassified), CONFIDENCE)
        if options.scores:
            self.layers += (scores_layer(predictor.vocabulary),)
        self.settings = self._settings()

    def _settings(self) -> dict[str, Any]:
        """All that the map depends on, as JSON gives it back."""
        options, predictor, spec = self.options, self.predictor, self.spec.as_dict()
        address = spec.pop("address")
        settings = {
            "format": FORMAT,
            "input": fingerprint(Path(address)) or {"address": shown(address)},
            "raster": spec,
            **predictor.settings,
            "classes": describe_settings(predictor.vocabulary),
            "background": predictor.vocabulary.background_name,
            "threshold": predictor.threshold,
            "model_size": self.frame.model_size,
            "resampling": options.resampling,
            "output_grid": options.output_grid,
            "blend": options.blend,
            "batch": self.batch,
            "confidence": options.confidence,
            "scores": options.scores,
        }
        return dict(parse_json(json_line(settings)))

    def place(self, ending: str) -> Path:
        """The place of a file."""
        return self.folder / f"{self.name}.{ending}"

    def finished(self) -> SceneResult | None:
        """What is there already, of the same settings.

        Raises:
            UserError: it has other settings.
        """
        file = self.place("summary.json")
        if not file.is_file():
            return None
        way_out = f"use another {option('out')}, or {option('overwrite', True)} to make it anew"
        try:
            summary = read_json(file)
            before, names = summary["settings"], list(summary["files"])
        except (OSError, ValueError, LookupError, TypeError):
            raise UserError(f"{file} is no summary of a map: expected one, or no such file; {way_out}") from None
        if (difference := first_difference(before, self.settings)) is not None:
            field, was, now = difference
            raise UserError(f"{file} was made with {field} {was}, not {now}: expected the same settings; {way_out}")
        files = [self.folder / name for name in names]
        if summary["failed"] or not all(path.is_file() for path in files):
            return None
        failed = {one["block"]: one["reason"] for one in summary["failed"]}
        return self._result(summary, failed, [*files, file])

    def block_task(self, side: int, folder: Path, load: Loaded) -> BlockTask:
        """The task of every block."""
        options = self.options
        settings = BlockSettings(
            self.batch, self.spec.fill, options.resampling, options.blend, options.scores, options.max_memory_mb / 3
        )
        cut = {block.name: block for block in blocks(self.area, side)}
        return BlockTask(self.spec, self.frame, cut, settings, self.layers, folder, load)

    def conclude(self, done: Mapping[str, Any], failed: dict[str, str], seconds: float) -> SceneResult:
        """Puts the parts together and writes the summary, the last of the files."""
        cut, classes = self.task.blocks, len(self.predictor.vocabulary)
        parts = [cut[key] for key, value in done.items() if value["sizes"]]
        wanted = [layer for layer in self.layers if layer.name != "confidence" or self.options.confidence]
        files = assemble(
            self.task.folder,
            parts,
            self.area,
            self._transform(),
            self.raster.crs,
            wanted,
            {layer.name: self.place(f"{layer.name}.tif") for layer in wanted},
            {"segearth_settings": settings_hash(self.settings)},
        )
        sums = ClassSums.total((ClassSums.from_lists(value["sums"]) for value in done.values()), classes)
        labels = self.place("labels.tif")
        figures = map_figures(labels, self.predictor.vocabulary, self.unclassified, sums)
        whole = Window(0, self.raster.size[0], 0, self.raster.size[1])
        overlay = scene_overlay(thumbnail(self.raster.read, whole), labels, self.predictor.vocabulary, figures.rows)
        summary = summarise_scene(
            self.name,
            labels,
            figures,
            files=files,
            failed=[(cut[key], why) for key, why in failed.items()],
            settings=self.settings,
            device=str(self.predictor.device),
            seconds=seconds,
            remarks=self.remarks,
        )
        picture, figures_file = self.place("overlay.png"), self.place("summary.json")
        files += write_all({picture: overlay.save, figures_file: json_writer(summary)})
        return self._result(summary, failed, files)

    def _transform(self) -> Any:
        """From (column, row) of the output to coordinates."""
        from affine import Affine

        (height, width), (tall, wide) = self.raster.size, self.frame.output_size
        x, y, (a, b, c, d, e, f) = width / wide, height / tall, self.raster.transform[:6]
        return Affine(a * x, b * y, c, d * x, e * y, f)

    def _result(self, summary: dict[str, Any], failed: dict[str, str], files: list[Path]) -> SceneResult:
        confidence = self.place("confidence.tif") if self.options.confidence else None
        scores = self.place("scores.tif") if self.options.scores else None
        return SceneResult(self.place("labels.tif"), confidence, scores, summary, failed, tuple(files))


def _choose(raster: Raster, options: SceneOptions) -> tuple[RasterSpec, list[str]]:
    """How the raster is read."""
    if options.stretch_from is None:
        return choose_for(raster, options.bands, options.stretch)
    with open_raster(options.stretch_from) as other:
        theirs, _ = choose_for(other, options.bands, options.stretch)
        return choose_for(raster, options.bands, options.stretch, (other, theirs))


def _share_cores(workers: int, number: int) -> None:
    """Prepares a worker process: its share of the cores, and of the GPUs."""
    import torch

    torch.set_num_threads(threads_each(workers))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


class _Teller:
    """Tells the progress in words of scenes."""

    def __init__(self, blocks: Mapping[str, Block], progress: Callable[[SceneProgress], object], begun: float) -> None:
        self._blocks, self._progress, self._begun = blocks, progress, begun
        self._before: float | None = None

    def __call__(self, ended: Collection[str], keys: Collection[str]) -> None:
        """After every block: those that are done or given up, and all of them."""
        done, total = (sum(self._blocks[key].pixels for key in some) / 1e6 for some in (ended, keys))
        self._before = done if self._before is None else self._before
        seconds = time.perf_counter() - self._begun
        self._progress(SceneProgress(len(ended), len(keys), done, total, self._before, seconds))
