"""Maps a raster of any size: computes blocks, stores them in files, and assembles the map at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segearth.errors import UserError
from segearth.jobs.executor import check_workers
from segearth.jobs.folder import is_job, open_job
from segearth.jobs.shards import WHOLE, Shard
from segearth.jobs.workers import threads_each
from segearth.outputs import writable_folder
from segearth.predictor import Predictor
from segearth.scenes.block_task import BlockTask, PredictorFactory
from segearth.scenes.blocks import WindowLogits
from segearth.scenes.existing_files import refuse_changed_polygons
from segearth.scenes.grid import Block, blocks
from segearth.scenes.layout import fit_block_side
from segearth.scenes.naming import scene_name
from segearth.scenes.options import SceneOptions, SceneProgress, SceneResult
from segearth.scenes.plan import Plan
from segearth.scenes.raster import Raster, open_raster
from segearth.scenes.scene_files import SceneFiles
from segearth.scenes.vrt import mosaic_vrt

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


def predict_scene(
    source: str | Path | DatasetReader | Raster | Sequence[str | Path],
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
    window_logits: WindowLogits | None = None,
) -> SceneResult | None:
    """Maps a raster of any size, block by block, with bounded memory.

    The map is identical, to the last byte, for every block size, memory limit, number of workers and shards, and also
    after the process was killed and restarted, which resumes the work.

    Args:
        source: an address that GDAL knows (see `segearth.addresses`); an open rasterio dataset; a raster from
            `open_raster`, whose `name` is used in messages; or several addresses, which are mapped as one mosaic.
        output: folder for the files.
        predictor: the model with its vocabulary.
        name: base name of the files; None: that of the raster.
        options: options of the scene.
        workers: number of processes; 1: this process.
        executor: runs the blocks instead of workers, such as that of a dask client.
        shard: share of this process if several are started by hand; the last one assembles the map.
        overwrite: whether to start again and replace existing files.
        progress: called at the start and after every block; with one process also within blocks.
        window_logits: computes the logits of windows instead of the model, from cached encodings (see
            `segearth.scenes.encoding_cache`); only with one process.

    Returns:
        The files; None if other shards are not finished.

    Raises:
        UserError: a raster that cannot be opened, options that do not fit it, a map with other settings, a full disk.
        ReadFailed: the raster failed before the work began.
    """
    options, start = options or SceneOptions(), time.perf_counter()
    check_workers(workers)
    folder = writable_folder(output)
    with open_scene(source, options.overview) as (raster, source_remarks):
        plan = Plan.create(raster, predictor, options, source_remarks)
        files = SceneFiles(folder, name or scene_name(raster.address), plan, options)
        if not overwrite:
            if (result := files.finished()) is not None:
                files.remove_job(shard)
                return files.with_overlay(result, raster, predictor.vocabulary)
            if not is_job(files.job):  # a job that was started with overwrite is resumed
                files.refuse_other_map(raster.name)
        refuse_changed_polygons(files.summary)
        side = fit_block_side(plan.frame, predictor.model, options)
        with open_job(
            files.job,
            plan.settings,
            layout={"block": side},
            shard=shard,
            overwrite=overwrite,
            keep=options.keep_parts,
        ) as job:
            if not overwrite and (result := files.finished()) is not None:  # another shard has just finished it
                if not job.existed:
                    job.discard()
                return result
            remarks = plan.remarks
            if options.block is not None and job.layout["block"] != side:
                remarks += (f"the blocks stay {job.layout['block']} pixels wide, as those that are done, not {side}",)
            all_blocks = {block.name: block for block in blocks(plan.area.window, job.layout["block"])}
            in_process = workers == 1 and executor is None
            load = (PredictorFactory.for_this_process if in_process else PredictorFactory.for_workers)(predictor)
            reporter = None if progress is None else _ProgressReporter(all_blocks, remarks, progress, start)
            task = BlockTask(
                raster if in_process else plan.spec,
                plan.frame,
                all_blocks,
                plan.blocks,
                plan.layers,
                job.path,
                load,
                reporter.add_pixels if in_process and reporter is not None else None,
                window_logits if in_process else None,
            )
            job.is_done = task.is_complete
            done, _ = job.read()
            files.check_disk(sum(block.pixels for key, block in all_blocks.items() if key not in done))
            job.run(
                list(all_blocks),
                task,
                executor=executor,
                workers=workers,
                initializer=partial(_initialise_worker, workers),
                progress=reporter,
            )
            result = job.finish(
                list(all_blocks),
                lambda done, failed: files.write(
                    raster, predictor, job.path, all_blocks, done, failed, time.perf_counter() - start
                ),
            )
            result = result or files.finished()
            if result is None and not is_job(files.job):
                raise UserError(
                    f"{files.job}, the folder of the finished blocks, is gone: expected it to stay until the map is "
                    "complete; start again"
                )
            return result


@contextmanager
def open_scene(
    source: str | Path | DatasetReader | Raster | Sequence[str | Path], overview: int | None
) -> Iterator[tuple[Raster, list[str]]]:
    """Opens the `source` of `predict_scene`.

    Args:
        source: as of `predict_scene`.
        overview: as of `open_raster`.

    Yields:
        The raster, and remarks, one sentence each.

    Raises:
        UserError: as of `open_raster`; tiles that do not fit together.
    """
    remarks: list[str] = []
    if isinstance(source, Raster):
        yield source, remarks
        return
    if isinstance(source, Sequence) and not isinstance(source, str):
        source, remarks = mosaic_vrt(source)
    with open_raster(source, overview=overview) as raster:
        yield raster, remarks


def _initialise_worker(workers: int, number: int) -> None:
    """Sets the number of threads and the GPU of a worker process."""
    import torch

    torch.set_num_threads(threads_each(workers))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


class _ProgressReporter:
    """Converts finished blocks and pixels to `SceneProgress`."""

    def __init__(
        self,
        blocks: Mapping[str, Block],
        remarks: tuple[str, ...],
        progress: Callable[[SceneProgress], object],
        start: float,
    ) -> None:
        self._blocks, self._remarks, self._progress, self._start = blocks, remarks, progress, start
        self._before: float | None = None
        self._block_counts, self._megapixels = (0, 0), (0.0, 0.0)  # done, total
        self._current = 0.0  # megapixels of the current block

    def __call__(self, ended: Collection[str], keys: Collection[str]) -> None:
        """Called after every block, with the names of finished and failed blocks, and of all blocks."""
        done, total = (sum(self._blocks[key].pixels for key in names) / 1e6 for names in (ended, keys))
        self._before = done if self._before is None else self._before
        self._block_counts, self._megapixels, self._current = (len(ended), len(keys)), (done, total), 0.0
        self._report()

    def add_pixels(self, pixels: int) -> None:
        """Called when more pixels of the current block are finished; reports them up to the total."""
        self._current += pixels / 1e6
        self._report()

    def _report(self) -> None:
        (done, total), seconds = self._megapixels, time.perf_counter() - self._start
        done = min(done + self._current, total)
        self._progress(SceneProgress(*self._block_counts, done, total, self._before or 0.0, seconds, self._remarks))
