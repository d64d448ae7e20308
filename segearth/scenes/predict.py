"""A scene, from a raster of any size to its map: blocks are computed, kept as parts, and put together at the end."""

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
from segearth.scenes.block_task import BlockTask, Loaded
from segearth.scenes.blocks import WindowLogits
from segearth.scenes.grid import Block, blocks
from segearth.scenes.layout import side_of_blocks
from segearth.scenes.naming import scene_name
from segearth.scenes.options import SceneOptions, SceneProgress, SceneResult
from segearth.scenes.plan import Plan
from segearth.scenes.raster import Raster, open_raster
from segearth.scenes.scene_files import SceneFiles
from segearth.scenes.vrt import mosaic

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

    The map is the same, to the last byte, for every size of blocks, bound of memory, number of workers and shards, and
    when the work was killed and started again, which goes on where it stopped.

    Args:
        source: an address that GDAL knows (see `segearth.addresses`); a dataset that rasterio has open, or a
            raster that `open_raster` has, whose `name` messages have; or several addresses, which are mapped as one
            mosaic.
        output: folder for the files.
        predictor: the model with its vocabulary.
        name: what the files are called; None: as the raster.
        options: how.
        workers: processes that compute; 1: this one.
        executor: computes instead, such as that of a dask client.
        shard: the share of this process, where several are started by hand; the last one puts the map together.
        overwrite: whether to begin anew, whatever is there.
        progress: called at the beginning and after every block; in this process also within blocks.
        window_logits: gives the logits of windows in place of the model, from what was kept of an earlier map (see
            `segearth.scenes.encoding_cache`); in this process only.

    Returns:
        The files; None where other shards have not finished theirs.

    Raises:
        UserError: a raster that cannot be opened, options that do not fit it, a map of other settings, a full disk.
        ReadFailed: the raster failed before the work began.
    """
    options, begun = options or SceneOptions(), time.perf_counter()
    check_workers(workers)
    folder = writable_folder(output)
    with open_scene(source, options.overview) as (raster, remarks):
        plan = Plan.of(raster, predictor, options, remarks)
        files = SceneFiles(folder, name or scene_name(raster.address), plan, options)
        if not overwrite:
            if (result := files.finished()) is not None:
                files.tidy(shard)
                return files.with_overlay(result, raster, predictor.vocabulary)
            if not is_job(files.job):  # one that was begun to overwrite a map goes on
                files.refuse_others(raster.name)
        files.refuse_changed()
        side = side_of_blocks(plan.frame, predictor.model, options)
        with open_job(
            files.job,
            plan.settings,
            layout={"block": side},
            shard=shard,
            overwrite=overwrite,
            keep=options.keep_parts,
        ) as job:
            if not overwrite and (result := files.finished()) is not None:  # another shard's, a moment ago
                if not job.resumed:
                    job.discard()
                return result
            told = plan.remarks
            if options.block is not None and job.layout["block"] != side:
                told += (f"the blocks stay {job.layout['block']} pixels wide, as those that are done, not {side}",)
            cut = {block.name: block for block in blocks(plan.area.window, job.layout["block"])}
            alone = workers == 1 and executor is None
            load = Loaded.here(predictor) if alone else Loaded.for_processes(predictor)
            teller = None if progress is None else _Teller(cut, told, progress, begun)
            task = BlockTask(
                raster if alone else plan.spec,
                plan.frame,
                cut,
                plan.blocks,
                plan.layers,
                job.path,
                load,
                teller.within if alone and teller is not None else None,
                window_logits if alone else None,
            )
            job.is_done = task.is_there
            done, _ = job.read()
            files.check_disk(sum(block.pixels for key, block in cut.items() if key not in done))
            job.run(
                list(cut),
                task,
                executor=executor,
                workers=workers,
                initializer=partial(_share_cores, workers),
                progress=teller,
            )
            result = job.finish(
                list(cut),
                lambda done, failed: files.make(
                    raster, predictor, job.path, cut, done, failed, time.perf_counter() - begun
                ),
            )
            result = result or files.finished()
            if result is None and not is_job(files.job):
                raise UserError(
                    f"{files.job}, where the parts of the map were, is gone: expected it to stay until the map is "
                    "complete; start again"
                )
            return result


@contextmanager
def open_scene(
    source: str | Path | DatasetReader | Raster | Sequence[str | Path], overview: int | None
) -> Iterator[tuple[Raster, list[str]]]:
    """Opens what `predict_scene` takes.

    Args:
        source: as there.
        overview: as of `open_raster`.

    Yields:
        The raster, and remarks, one sentence each.

    Raises:
        UserError: as of `open_raster`; tiles that make no mosaic.
    """
    remarks: list[str] = []
    if isinstance(source, Raster):
        yield source, remarks
        return
    if isinstance(source, Sequence) and not isinstance(source, str):
        source, remarks = mosaic(source)
    with open_raster(source, overview=overview) as raster:
        yield raster, remarks


def _share_cores(workers: int, number: int) -> None:
    """Prepares a worker process: its share of the cores, and of the GPUs."""
    import torch

    torch.set_num_threads(threads_each(workers))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


class _Teller:
    """Tells the progress in words of scenes."""

    def __init__(
        self,
        cut: Mapping[str, Block],
        remarks: tuple[str, ...],
        progress: Callable[[SceneProgress], object],
        begun: float,
    ) -> None:
        self._cut, self._remarks, self._progress, self._begun = cut, remarks, progress, begun
        self._before: float | None = None
        self._blocks, self._megapixels = (0, 0), (0.0, 0.0)  # done, of all
        self._within = 0.0  # megapixels of the block at work

    def __call__(self, ended: Collection[str], keys: Collection[str]) -> None:
        """After every block: those that are done or given up, and all of them."""
        done, total = (sum(self._cut[key].pixels for key in some) / 1e6 for some in (ended, keys))
        self._before = done if self._before is None else self._before
        self._blocks, self._megapixels, self._within = (len(ended), len(keys)), (done, total), 0.0
        self._tell()

    def within(self, pixels: int) -> None:
        """When so many more pixels of a block are finished; of one that is tried again they count once."""
        self._within += pixels / 1e6
        self._tell()

    def _tell(self) -> None:
        (done, total), seconds = self._megapixels, time.perf_counter() - self._begun
        done = min(done + self._within, total)
        self._progress(SceneProgress(*self._blocks, done, total, self._before or 0.0, seconds, self._remarks))
