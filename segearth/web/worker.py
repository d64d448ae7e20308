"""The process that computes: it holds the model, and maps one image after another for the server."""

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
    from segearth.scenes.encoding_cache import KeptEncodings
    from segearth.scenes.options import SceneOptions, SceneProgress
    from segearth.windows import Window

BLOCK = 1008  # nine steps between windows: about the side of blocks, so that they appear soon
_TELL_S = 0.2  # between two reports within a block


@dataclass(frozen=True)
class ModelSetup:
    """Which model the process loads, as `segearth.loading.load_model` takes it.

    Attributes:
        name: of the model.
        architecture: of weights given by path.
        upsampler: "default", or as of `load_model`.
        device: where it computes.
        precision: of the encoder.
        threads: it computes with; None: as many as torch takes.
    """

    name: str
    architecture: str | None = None
    upsampler: str = "default"
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None


@dataclass(frozen=True)
class MapTask:
    """A map that is to be made.

    Attributes:
        job: its id.
        image: that of the image.
        path: of the image.
        shown: what the image is called.
        folder: for the files.
        name: what they are called.
        vocabulary: the classes.
        threshold: of classes without one of their own.
        windows: of the image at its own scale.
        size: (H, W) of the image, when it was opened.
        options: more of `segearth.scenes.options.SceneOptions`.
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
    """The map is not wanted any more. No `Exception`: it is no failure of a block, which would be tried again."""


def work(connection: Connection, setup: ModelSetup) -> None:
    """Loads the model and makes maps, until the server's end of the connection is closed.

    It sends ("ready", {...}) or ("unready", sentence); then for each task ("progress", job, {...}) any number of times
    and ("ended", job, {...}). It gets a `MapTask`, or ("cancel", job).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server heeds it
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    inbox = _Inbox(connection)
    try:
        from segearth.scenes.encoding_cache import KeptEncodings

        with called_as("segearth web"):  # afterwards advice is for the page, which has no such options
            base = _load(setup)
    except UserError as error:
        connection.send(("unready", str(error)))
        return
    except Exception as error:
        if not is_out_of_memory(error):
            traceback.print_exc()
        connection.send(("unready", _sentence(error)))
        return
    settings = base.settings
    connection.send(("ready", {"model": settings.get("model"), "device": str(base.device)}))
    kept, heed = KeptEncodings(), _Heed(inbox)
    base.model.encoder.register_forward_pre_hook(lambda *_: heed())
    while True:
        task = inbox.tasks.get()
        heed.job = task.job
        connection.send(("ended", task.job, _Work(connection, heed, base, kept, task).result()))
        inbox.cancelled.discard(task.job)


class _Inbox:
    """Takes what the server sends, also while a map is made; the process ends with the server."""

    def __init__(self, connection: Connection) -> None:
        self.tasks: queue.SimpleQueue[MapTask] = queue.SimpleQueue()
        self.cancelled: set[str] = set()
        self._connection = connection
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        try:
            while True:
                got = self._connection.recv()
                if isinstance(got, MapTask):
                    self.tasks.put(got)
                else:
                    self.cancelled.add(got[1])
        except (EOFError, OSError):
            os._exit(1)


@dataclass
class _Heed:
    """Ends the map that is made, if it is not wanted any more: called for every few windows."""

    inbox: _Inbox
    job: str = ""

    def __call__(self) -> None:
        if self.job in self.inbox.cancelled:
            raise Cancelled


class _Work:
    """One map."""

    def __init__(
        self, connection: Connection, heed: _Heed, base: Predictor, kept: KeptEncodings, task: MapTask
    ) -> None:
        self._connection, self._heed, self._base, self._task = connection, heed, base, task
        self._kept = kept
        self._digest: Any = None
        self._cut: dict[str, Any] = {}
        self._told = (-1, 0.0)  # blocks done, and when, of the last report

    def result(self) -> dict[str, Any]:
        """What became of it: state, and what belongs to that."""
        from segearth.scenes.raster import ReadFailed

        try:
            self._heed()
            return {"state": "done", **self._make()}
        except Cancelled:
            return {"state": "cancelled"}
        except (UserError, ReadFailed) as error:
            return {"state": "failed", "error": self._shown(str(error))}
        except Exception as error:
            if not is_out_of_memory(error):
                traceback.print_exc()
            return {"state": "failed", "error": self._shown(_sentence(error))}

    def _make(self) -> dict[str, Any]:
        from segearth.scenes.encoding_cache import MOST_WINDOWS
        from segearth.scenes.options import SceneOptions
        from segearth.scenes.predict import predict_scene
        from segearth.scenes.raster import open_raster
        from segearth.web.rasters import open_plain

        task = self._task
        options = SceneOptions(**task.options, confidence=True, scores=True)
        with open_plain(task.path, task.shown) as dataset:
            options, windows = self._prepare(dataset, options)
            # at each scale an image is another one
            encodings = self._kept.of(f"{task.image} {task.options}", windows)
            with open_raster(dataset) as raster:
                raster.name = task.shown  # also in the summary, which is downloaded
                result = predict_scene(
                    raster,
                    task.folder,
                    self._predictor(),
                    name=task.name,
                    options=options,
                    progress=self._progress,
                    window_logits=None if encodings is None else self._heeding(encodings),
                )
        assert result is not None  # there are no other shards
        remarks = [self._shown(text) for text in result.summary["remarks"]]
        if encodings is None:
            remarks.append(
                f"with {windows:,} windows, more than the {MOST_WINDOWS:,} that are kept, other words on this image "
                "need the model again"
            )
        return {
            "remarks": remarks,
            "failed_blocks": len(result.failed),
            "reused": encodings is not None and encodings.reused > 0 and encodings.computed == 0,
        }

    def _heeding(self, encodings: WindowLogits) -> WindowLogits:
        """The same, which also ends between two windows."""

        def window_logits(*arguments: Any) -> Iterator[tuple[Window, Tensor]]:
            for found in encodings(*arguments):
                self._heed()
                yield found

        return window_logits

    def _predictor(self) -> Predictor:
        from segearth.predictor import Predictor

        own = self._base.with_classes(self._task.vocabulary)
        model = own.model.with_queries(
            own.model.query_features,
            own.model.query_to_class,
            self._task.vocabulary.background or 0,
            self._task.threshold,
        )
        return Predictor(model, self._task.vocabulary, None, own.settings, own.recipe)

    def _prepare(self, dataset: Any, options: SceneOptions) -> tuple[SceneOptions, int]:
        """Cuts the map as `predict_scene` will, to know its blocks when they are finished.

        Returns:
            The options with the side of blocks, and how many windows there are.

        Raises:
            UserError: the image is not as it was when it was opened.
        """
        from segearth.scenes.grid import blocks
        from segearth.scenes.layout import area_of, frame_of, side_of_blocks
        from segearth.scenes.raster import open_raster
        from segearth.web.maps import Digest, MapFiles

        task = self._task
        with open_raster(dataset) as raster:
            if raster.size != task.size:
                raise UserError(f"{task.shown} has become another image: expected it to stay; open it again")
            model = self._predictor().model
            frame = frame_of(raster, model, options)
            options = replace(options, block=side_for(max(frame.model_size)))
            area, _ = area_of(raster, frame, options)
            side = side_of_blocks(frame, model, options)
        self._cut = {block.name: block for block in blocks(area.window, side)}
        files = MapFiles(task.folder, task.name, frame.output_size, side, task.vocabulary, task.threshold)
        self._digest = Digest(files)
        self._send({"side": side})
        return options, frame.grid.count

    def _progress(self, progress: SceneProgress) -> None:
        self._heed()
        done, before = self._told
        if progress.done == done and time.monotonic() - before < _TELL_S:
            return
        self._told = progress.done, time.monotonic()
        report: dict[str, Any] = {
            "progress": {
                "done": progress.done,
                "total": progress.total,
                "megapixels": round(progress.megapixels, 3),
                "megapixels_total": round(progress.megapixels_total, 3),
                "seconds": round(progress.seconds, 1),
                "seconds_left": None if progress.seconds_left is None else round(progress.seconds_left, 1),
            },
            "remarks": [self._shown(text) for text in progress.remarks],
        }
        if progress.done != done and self._digest.update(self._cut):
            report |= {"histogram": self._digest.histogram, "revision": len(self._digest.blocks)}
        self._send(report)

    def _send(self, report: dict[str, Any]) -> None:
        self._connection.send(("progress", self._task.job, report))

    def _shown(self, text: str) -> str:
        """A sentence without the places of files on this computer."""
        return hide(text, self._task.path, self._task.shown)


def side_for(longest: int) -> int:
    """The side of blocks of about 1008 pixels that cut an image of such a side about evenly: no slivers."""
    return -(-longest // max(1, round(longest / BLOCK)))


def hide(text: str, path: Path, shown: str) -> str:
    """A sentence with what an image is called in place of where it lies.

    Args:
        text: the sentence.
        path: of the image.
        shown: what it is called.
    """
    return text.replace(str(path), shown)


def _load(setup: ModelSetup) -> Predictor:
    import torch

    from segearth.loading import load_model
    from segearth.models.onednn import use_onednn

    if setup.threads is not None:
        torch.set_num_threads(setup.threads)
    use_onednn()
    more: dict[str, Any] = {"architecture": setup.architecture, "upsampler": setup.upsampler}
    return load_model(setup.name, device=setup.device, precision=setup.precision, **more)


def _sentence(error: Exception) -> str:
    """A failure of another kind in a sentence."""
    from segearth.jobs.attempt import reason

    if is_out_of_memory(error):
        return "not enough memory: expected more of it free; take a smaller image or scale, or fewer names"
    return f"it failed ({reason(error)}): expected no such thing; what happened is on the server's terminal"
