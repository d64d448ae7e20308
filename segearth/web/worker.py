"""The worker process: holds the model, and maps one image after another for the server."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.errors import UserError, called_as, is_out_of_memory
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

    from segearth.predictor import Predictor
    from segearth.scenes.blocks import WindowLogits
    from segearth.scenes.encoding_cache import EncodingCache
    from segearth.scenes.options import SceneOptions, SceneProgress
    from segearth.windows import Window

BLOCK_SIDE = 1008  # approximate side of blocks, small so that they appear soon; nine strides of windows
_REPORT_S = 0.2  # minimum time between two reports within a block


@dataclass(frozen=True)
class ModelSetup:
    """The model to load, for `segearth.loading.load_model`.

    Attributes:
        name: name of the model.
        architecture: architecture of weights given by path.
        upsampler: "default", or see `load_model`.
        device: device of the model.
        precision: precision of the encoder.
        threads: number of CPU threads; None: the default of torch.
    """

    name: str
    architecture: str | None = None
    upsampler: str = "default"
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None


@dataclass(frozen=True)
class MapTask:
    """A map to make.

    Attributes:
        job: id of the map.
        image: id of the image.
        path: path of the image.
        shown: name of the image for display.
        folder: folder for the files.
        name: name of the files.
        vocabulary: the classes.
        threshold: for classes without a threshold of their own.
        windows: number of windows of the image at scale 1.
        size: (H, W) of the image when it was opened.
        options: further `segearth.scenes.options.SceneOptions`.
    """

    job: str
    image: str
    path: Path
    shown: str
    folder: Path
    name: str
    vocabulary: Vocabulary
    threshold: float
    windows: int
    size: tuple[int, int]
    options: dict[str, Any] = field(default_factory=dict)


class Cancelled(BaseException):
    """The map was cancelled. Not an `Exception`, as a failed block would be tried again."""


def run_worker(connection: Connection, setup: ModelSetup) -> None:
    """Loads the model and makes maps until the server closes the connection.

    It sends ("ready", {...}) or ("unready", sentence); then for each task ("progress", job, {...}) any number of times
    and ("ended", job, {...}). It receives a `MapTask`, or ("cancel", job).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    inbox = _Inbox(connection)
    try:
        from segearth.scenes.encoding_cache import EncodingCache

        with called_as("segearth web"):  # only here: messages for the page name no options of the command line
            base = _load(setup)
    except UserError as error:
        connection.send(("unready", str(error)))
        return
    except Exception as error:
        if not is_out_of_memory(error):
            traceback.print_exc()
        connection.send(("unready", _failure_message(error)))
        return
    settings = base.settings
    connection.send(("ready", {"model": settings.get("model"), "device": str(base.device)}))
    kept, check_cancelled = EncodingCache(), _CancelCheck(inbox)
    base.model.encoder.register_forward_pre_hook(lambda *_: check_cancelled())
    while True:
        task = inbox.tasks.get()
        check_cancelled.job = task.job
        connection.send(("ended", task.job, _MapRun(connection, check_cancelled, base, kept, task).result()))
        inbox.cancelled.discard(task.job)


class _Inbox:
    """Receives messages of the server in a thread; ends the process when the server has ended."""

    def __init__(self, connection: Connection) -> None:
        self.tasks: queue.SimpleQueue[MapTask] = queue.SimpleQueue()
        self.cancelled: set[str] = set()
        self._connection = connection
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, MapTask):
                    self.tasks.put(message)
                else:
                    self.cancelled.add(message[1])
        except (EOFError, OSError):
            os._exit(1)


@dataclass
class _CancelCheck:
    """Raises `Cancelled` if the running map was cancelled; called every few windows."""

    inbox: _Inbox
    job: str = ""

    def __call__(self) -> None:
        if self.job in self.inbox.cancelled:
            raise Cancelled


class _MapRun:
    """Makes one map."""

    def __init__(
        self, connection: Connection, check_cancelled: _CancelCheck, base: Predictor, kept: EncodingCache, task: MapTask
    ) -> None:
        self._connection, self._check_cancelled, self._base, self._task = connection, check_cancelled, base, task
        self._kept = kept
        self._accumulator: Any = None
        self._blocks: dict[str, Any] = {}
        self._last_report = (-1, 0.0)  # finished blocks, and time

    def result(self) -> dict[str, Any]:
        """Makes the map, and returns its final state with further fields of `WebJob`."""
        from segearth.scenes.raster import ReadFailed

        try:
            self._check_cancelled()
            return {"state": "done", **self._make()}
        except Cancelled:
            return {"state": "cancelled"}
        except (UserError, ReadFailed) as error:
            return {"state": "failed", "error": self._without_path(str(error))}
        except Exception as error:
            if not is_out_of_memory(error):
                traceback.print_exc()
            return {"state": "failed", "error": self._without_path(_failure_message(error))}

    def _make(self) -> dict[str, Any]:
        from segearth.scenes.encoding_cache import MAX_WINDOWS
        from segearth.scenes.options import SceneOptions
        from segearth.scenes.predict import predict_scene
        from segearth.scenes.raster import open_raster
        from segearth.web.rasters import open_plain

        task = self._task
        options = SceneOptions(**task.options, confidence=True, scores=True)
        with open_plain(task.path, task.shown) as dataset:
            options, windows = self._prepare(dataset, options)
            # encodings depend on the scale
            encodings = self._kept.for_scene(f"{task.image} {task.options}", windows)
            with open_raster(dataset) as raster:
                raster.name = task.shown  # the summary has it, too
                result = predict_scene(
                    raster,
                    task.folder,
                    self._predictor(),
                    name=task.name,
                    options=options,
                    progress=self._progress,
                    window_logits=None if encodings is None else self._cancellable(encodings),
                )
        assert result is not None  # there is only one shard
        remarks = [self._without_path(text) for text in result.summary["remarks"]]
        if encodings is None:
            remarks.append(
                f"with {windows:,} windows, more than the {MAX_WINDOWS:,} that are kept, other words on this image "
                "need the model again"
            )
        return {
            "remarks": remarks,
            "failed_blocks": len(result.failed),
            "reused": encodings is not None and encodings.reused > 0 and encodings.computed == 0,
        }

    def _cancellable(self, encodings: WindowLogits) -> WindowLogits:
        """The same function, which can be cancelled between two windows."""

        def window_logits(*arguments: Any) -> Iterator[tuple[Window, Tensor]]:
            for window in encodings(*arguments):
                self._check_cancelled()
                yield window

        return window_logits

    def _predictor(self) -> Predictor:
        from segearth.predictor import Predictor

        base = self._base.with_classes(self._task.vocabulary)
        model = base.model.with_queries(
            base.model.query_features,
            base.model.query_to_class,
            self._task.vocabulary.background or 0,
            self._task.threshold,
        )
        return Predictor(model, self._task.vocabulary, None, base.settings, base.recipe)

    def _prepare(self, dataset: Any, options: SceneOptions) -> tuple[SceneOptions, int]:
        """Computes the blocks as `predict_scene` will, to recognise them when they are finished.

        Returns:
            The options with the side of blocks, and the number of windows.

        Raises:
            UserError: the image has changed since it was opened.
        """
        from segearth.scenes.grid import blocks
        from segearth.scenes.layout import fit_block_side, make_frame, requested_area
        from segearth.scenes.raster import open_raster
        from segearth.web.maps import MapAccumulator, MapFiles

        task = self._task
        with open_raster(dataset) as raster:
            if raster.size != task.size:
                raise UserError(f"{task.shown} has become another image: expected it to stay; open it again")
            model = self._predictor().model
            frame = make_frame(raster, model, options)
            options = replace(options, block=block_side_for(max(frame.model_size)))
            area, _ = requested_area(raster, frame, options)
            side = fit_block_side(frame, model, options)
        self._blocks = {block.name: block for block in blocks(area.window, side)}
        files = MapFiles(task.folder, task.name, frame.output_size, side, task.vocabulary, task.threshold)
        self._accumulator = MapAccumulator(files)
        self._send({"side": side})
        return options, frame.grid.count

    def _progress(self, progress: SceneProgress) -> None:
        self._check_cancelled()
        done, before = self._last_report
        if progress.done == done and time.monotonic() - before < _REPORT_S:
            return
        self._last_report = progress.done, time.monotonic()
        report: dict[str, Any] = {
            "progress": {
                "done": progress.done,
                "total": progress.total,
                "megapixels": round(progress.megapixels, 3),
                "megapixels_total": round(progress.megapixels_total, 3),
                "seconds": round(progress.seconds, 1),
                "seconds_left": None if progress.seconds_left is None else round(progress.seconds_left, 1),
            },
            "remarks": [self._without_path(text) for text in progress.remarks],
        }
        if progress.done != done and self._accumulator.update(self._blocks):
            report |= {"histogram": self._accumulator.histogram, "revision": len(self._accumulator.blocks)}
        self._send(report)

    def _send(self, report: dict[str, Any]) -> None:
        self._connection.send(("progress", self._task.job, report))

    def _without_path(self, text: str) -> str:
        """A sentence without paths of this computer."""
        return hide_path(text, self._task.path, self._task.shown)


def block_side_for(longest: int) -> int:
    """The side of blocks, about `BLOCK_SIDE`, that divides an image of this side evenly, without slivers."""
    return -(-longest // max(1, round(longest / BLOCK_SIDE)))


def hide_path(text: str, path: Path, shown: str) -> str:
    """Replaces the path of an image in a sentence by its name.

    Args:
        text: the sentence.
        path: path of the image.
        shown: name of the image for display.
    """
    return text.replace(str(path), shown)


def _load(setup: ModelSetup) -> Predictor:
    import torch

    from segearth.loading import load_model
    from segearth.models.onednn import use_onednn

    if setup.threads is not None:
        torch.set_num_threads(setup.threads)
    use_onednn()
    options: dict[str, Any] = {"architecture": setup.architecture, "upsampler": setup.upsampler}
    return load_model(setup.name, device=setup.device, precision=setup.precision, **options)


def _failure_message(error: Exception) -> str:
    """The message for an unexpected error."""
    from segearth.jobs.attempt import reason

    if is_out_of_memory(error):
        return "not enough memory: expected more of it free; take a smaller image or scale, or fewer names"
    return f"it failed ({reason(error)}): expected no such thing; what happened is on the server's terminal"
