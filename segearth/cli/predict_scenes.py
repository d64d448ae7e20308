"""`segearth predict` for scenes, which are mapped block by block and keep their coordinates."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segearth.batch.inputs import Item
from segearth.cli.formatting import count
from segearth.cli.options import DEFAULT_MODEL
from segearth.cli.predict_outcome import Outcome, scene_cells
from segearth.cli.predict_progress import polygon_progress, report_files, scene_progress
from segearth.cli.scene_options import scene_options
from segearth.cli.vector_options import polygon_line
from segearth.clips import resolve
from segearth.errors import UserError, is_out_of_memory, option, printable
from segearth.exits import reraise_if_ending, say
from segearth.scenes.existing_files import POLYGONS
from segearth.scenes.grid import block_side
from segearth.scenes.layout import describe_model_input, make_frame, requested_area, window_count
from segearth.scenes.options import SceneOptions
from segearth.scenes.predict import open_scene, predict_scene
from segearth.scenes.raster import Raster, ReadFailed
from segearth.vectors.label_map import base_name
from segearth.vectors.options import VectorOptions
from segearth.vectors.vectorize import check_crs, vectorize

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from segearth.jobs.shards import Shard
    from segearth.predictor import Predictor
    from segearth.scenes.options import SceneProgress, SceneResult

_MOST_BLOCKS = 5  # maximum number of failed blocks to print; the summary has all


@dataclass(frozen=True)
class _Windows:
    """Window size and stride of a model that is not loaded yet."""

    slide_crop: int
    slide_stride: int


@dataclass(frozen=True)
class Scene:
    """A scene to map.

    Attributes:
        item: the scene and its name.
        tiles: the tiles of a mosaic; for another scene only its source.
        why: why it is a scene; empty if the user said so.
    """

    item: Item
    tiles: tuple[Path | str, ...]
    why: str

    @property
    def source(self) -> Path | str | list[Path | str]:
        """The source for `predict_scene`."""
        return self.tiles[0] if len(self.tiles) == 1 else list(self.tiles)

    @property
    def shown(self) -> str:
        """The name for messages."""
        return self.item.shown if len(self.tiles) == 1 else f"the mosaic of {len(self.tiles):,} tiles"


class Scenes:
    """Scenes to map.

    Args:
        args: arguments of the command.
        scenes: the scenes, at least one.
        shard: the shard of this process.

    Attributes:
        number: number of scenes.
        done: False, as only `predict_scene` can check whether a map is finished.
    """

    done = False

    def __init__(self, args: argparse.Namespace, scenes: Sequence[Scene], shard: Shard) -> None:
        self._args, self._scenes, self._shard = args, scenes, shard
        self._options = scene_options(args)
        window = resolve(args.model or DEFAULT_MODEL, args.architecture).window
        self._windows = _Windows(window, window // 2)
        self._vectors = None if args.vector is None else VectorOptions(args.vector, args.min_area or 0.0)
        self.number = len(scenes)

    @property
    def first_line(self) -> str:
        """A summary of the work to do."""
        first = self._scenes[0]
        what = count(self.number, "scene") if len(first.tiles) == 1 else first.shown
        return f"{what} ({first.item.shown} {first.why})" if first.why else what

    def plans(self) -> list[tuple[str, bool]]:
        """For every scene a line on what would be done, and whether it would fail."""
        return [self._plan(scene) for scene in self._scenes]

    def _plan(self, scene: Scene) -> tuple[str, bool]:
        folder, name = self._place(scene)
        kinds = ["labels", *(kind for kind in ("confidence", "scores") if getattr(self._options, kind))]
        try:
            with open_scene(scene.source, self._options.overview) as (raster, _):
                files = " ".join(str(folder / f"{name}.{kind}.tif") for kind in kinds)
                return f"{self._described(scene, raster)} -> {files}", False
        except (UserError, ReadFailed) as error:
            return f"{scene.shown}: fails: {error}", True

    def check(self, *, alone: bool) -> None:
        """Checks nothing: each scene is checked before it is mapped."""

    def make(self, predictor: Predictor, tell: Callable[[str], None]) -> Outcome:
        """Makes the missing maps; a scene that fails does not stop the others."""
        outcome = Outcome()
        self._report_block_side(tell)
        with _executor(self._args) as (executor, workers):
            predict = partial(
                predict_scene,
                predictor=predictor,
                workers=workers,
                executor=executor,
                shard=self._shard,
                overwrite=self._args.overwrite,
            )
            for number, scene in enumerate(self._scenes):
                outcome.rows.append(self._make(number, scene, predict, outcome, tell))
        return outcome

    def _make(
        self,
        number: int,
        scene: Scene,
        predict: Callable[..., SceneResult | None],
        outcome: Outcome,
        tell: Callable[[str], None],
    ) -> Sequence[str]:
        """Makes the map of a scene, records the result, and returns its table row."""
        folder, name = self._place(scene)
        started, reported = False, tuple[str, ...]()
        try:
            with open_scene(scene.source, self._options.overview) as (raster, _):
                options = self._scaled(raster)
                if self._vectors is not None:
                    check_crs(raster.name, raster.crs, self._vectors)
                tell(self._described(scene, raster))
            with scene_progress(self._args, tell, scene.item, number, self.number) as show:

                def step(progress: SceneProgress) -> None:
                    nonlocal started, reported
                    started, reported = True, progress.remarks
                    show(progress)

                result = predict(scene.source, folder, name=name, options=options, progress=step)
        except (UserError, ReadFailed, MemoryError, RuntimeError) as error:
            reraise_if_ending(error)
            why = _error_message(error)
            names_scene = self.number == 1 or Path(scene.item.shown).name in why
            outcome.failed.append(why if names_scene else f"{scene.shown}: {why}")
            return scene.item.name, "failed", "", ""
        if result is None:
            outcome.waiting += 1
            return scene.item.name, "not finished", "", ""
        if started:
            outcome.made.append(folder / f"{name}.summary.json")
        else:
            outcome.there += 1
            reported = tuple(result.summary["remarks"])
        for remark in result.summary["remarks"]:
            if remark not in reported:
                tell(f"note: {remark}")
        files = [*result.files, *self._vectorize(scene, number, result, started, outcome, tell)]
        report_files(self._args, scene.item, number, self.number, files)
        if result.failed:
            outcome.damaged += 1
            _report_failed_blocks(scene, result)
        return scene.item.name, "written" if started else "was there", *scene_cells(result.summary)

    def _vectorize(
        self,
        scene: Scene,
        number: int,
        result: SceneResult,
        is_new: bool,
        outcome: Outcome,
        tell: Callable[[str], None],
    ) -> list[Path]:
        """Writes the polygons of a map, if requested, and returns their file; an error keeps the map."""
        if self._vectors is None:
            return []
        record = result.labels.with_name(f"{base_name(result.labels)}.{POLYGONS}.{self._vectors.vector}.json")
        anew = self._args.overwrite or (is_new and record.exists())  # the polygons of the replaced map
        progress = polygon_progress(self._args, scene.item, number, self.number)
        try:
            done = vectorize(result.labels, None, self._vectors, overwrite=anew, progress=progress)
        except UserError as error:
            reraise_if_ending(error)
            outcome.without_polygons += 1
            again = f"segearth vectorize {result.labels} writes them without mapping anew"
            say(printable(f"failed: polygons of {scene.shown}: {error}; the map stays: {again}"))
            return []
        tell(polygon_line(done))
        return [done.path]

    def _report_block_side(self, tell: Callable[[str], None]) -> None:
        """Prints a remark if the requested block side is rounded."""
        asked, stride = self._options.block, self._windows.slide_stride
        if asked is not None and (side := block_side(asked, stride)) != asked:
            tell(f"note: {option('block', asked)} becomes {side}, a multiple of the {stride} pixels between windows")

    def _place(self, scene: Scene) -> tuple[Path, str]:
        """Folder and name of the map of a scene."""
        place = Path(self._args.out) / scene.item.name
        return place.parent, place.name

    def _scaled(self, raster: Raster) -> SceneOptions:
        """The options for a scene, with `--long-side` converted to a scale."""
        long_side = self._args.long_side
        return replace(self._options, scale=long_side / max(raster.size)) if long_side else self._options

    def _described(self, scene: Scene, raster: Raster) -> str:
        """A line on a scene and the input of the model."""
        options = self._scaled(raster)
        frame = make_frame(raster, self._windows, options)
        area, _ = requested_area(raster, frame, options)
        windows, part = count(window_count(frame, area), "window"), ""
        if options.bbox is not None or options.aoi is not None:
            top, bottom, left, right = area.window
            part = f", a part of {right - left:,} × {bottom - top:,} of"
        return f"{scene.shown}: {windows}{part or ','} {describe_model_input(frame, raster.pixel_size)}"


@contextmanager
def _executor(args: argparse.Namespace) -> Iterator[tuple[Executor | None, int]]:
    """Yields an external executor, or None, and the number of blocks to compute at the same time."""
    if args.executor is None:
        yield None, 1 if args.workers is None else args.workers
        return
    from segearth.jobs.dask_executor import dask_executor

    with dask_executor(args.scheduler) as executor:
        yield executor, args.workers or executor.workers


def _error_message(error: Exception) -> str:
    """The error message of a failed scene.

    Raises:
        RuntimeError: any other error, which is a bug.
    """
    if isinstance(error, UserError | ReadFailed):
        return str(error)
    if not is_out_of_memory(error):
        raise error
    return f"not enough memory: use a smaller {option('max_memory')}, {option('batch')} or {option('workers')}"


def _report_failed_blocks(scene: Scene, result: SceneResult) -> None:
    """Prints the failed blocks of a scene."""
    for number, (block, why) in enumerate(result.failed.items()):
        if number == _MOST_BLOCKS:
            say(f"failed: {scene.shown}: {len(result.failed) - number} more blocks, which its summary names")
            break
        say(f"failed: {scene.shown}, block {block}: {why}")
    what = f"{count(len(result.failed), 'block')} of {scene.shown} failed"
    say(f"{what}; nothing is known there (nodata in the map), and the same command tries again")
