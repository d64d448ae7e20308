"""Images in, maps out: the part that knows both pictures and models."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segearth import errors
from segearth.arguments import check_long_side, check_max_memory, check_max_pixels
from segearth.classification import classify
from segearth.clips import STATISTICS, Statistics
from segearth.compute import memory_for
from segearth.errors import UserError, checks_options, is_out_of_memory, notice, option
from segearth.images import ImageLike, read_image
from segearth.images.pixel_limit import check_enlarged
from segearth.images.resizing import resized_size
from segearth.labels import label_values
from segearth.models import precision
from segearth.models.factored import listed
from segearth.models.list_memory import ListMemory
from segearth.models.segearth import EncodedImage, SegEarth
from segearth.progress import Progress, window_progress
from segearth.result import Result as Result
from segearth.result import thresholded
from segearth.transfer import normalise as normalise
from segearth.transfer import synchronize, to_model
from segearth.vocabulary import Classes, Vocabulary, check_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAND_PIXELS = 1 << 20  # scores are computed for so many pixels at once: a large map has no second copy

Made = TypeVar("Made")
TextEncoder = Callable[[Vocabulary], Tensor]  # a vocabulary's Q queries -> (Q, D), of length 1
Recipe: TypeAlias = "tuple[tuple[str, Any], ...]"  # arguments of `load_model`, but for classes and thresholds


class Predictor:
    """A model with its vocabulary, ready for images. Made by `load_model`.

    It does not change: other classes or another threshold make another predictor that shares the weights. Threads may
    share one. A process that was forked from one that has predicted computes with one thread, as a thread pool does
    not survive a fork; with CUDA it cannot compute at all, and says so: start such workers by "spawn".
    """

    model: SegEarth
    vocabulary: Vocabulary
    settings: Mapping[str, Any]
    recipe: Recipe | None
    statistics: Statistics
    _text: TextEncoder | None

    def __init__(
        self,
        model: SegEarth,
        vocabulary: Vocabulary,
        text: TextEncoder | None = None,
        settings: Mapping[str, Any] | None = None,
        recipe: Recipe | None = None,
        statistics: Statistics = STATISTICS,
    ) -> None:
        """Takes a model whose queries are the vocabulary's; `model.prob_thd` is the threshold of the maps.

        Args:
            model: the model.
            vocabulary: its classes.
            text: encodes other vocabularies; without it there is no `with_classes`.
            settings: what the model was made with, for summaries.
            recipe: with what `load_model` makes it in another process.
            statistics: that its CLIP's images are normalised with.
        """
        own = {"model": model.eval(), "vocabulary": vocabulary, "_text": text}
        own |= {"settings": dict(settings or {}), "recipe": recipe, "statistics": statistics}
        for name, value in own.items():
            object.__setattr__(self, name, value)
        _watch_forks()
        if vocabulary.warning is not None:
            notice(vocabulary.warning)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuses: a predictor does not change."""
        raise AttributeError(
            f"a Predictor does not change, so its {name!r} cannot be set: use with_classes(...) for other classes, "
            "with_threshold(...) for another threshold, or options of load_model"
        )

    def __repr__(self) -> str:
        model = self.settings.get("model", type(self.model.encoder).__name__)
        names = self.classes if len(self.classes) <= 6 else (*self.classes[:5], "...")
        count = f"{len(self.classes)} class{'es' * (len(self.classes) != 1)}"
        return f"<Predictor {model} on {self.device}: {count} ({'; '.join(names)})>"

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.query_features.device

    @property
    def classes(self) -> tuple[str, ...]:
        """The C class names, in index order."""
        return self.vocabulary.names

    @property
    def threshold(self) -> float:
        """Pixels whose best score is below it are uncertain; classes may have thresholds of their own."""
        return self.model.prob_thd

    @checks_options
    def with_classes(self, classes: Classes, background: int | str | bool | None = None) -> Predictor:
        """The same model for other classes: only their names are encoded.

        Args:
            classes: in any form that `load_model` takes.
            background: see `Vocabulary`.

        Raises:
            UserError: see `Vocabulary`; or a predictor that was made without a text encoder.
        """
        if self._text is None:
            raise UserError(
                "this Predictor has no text encoder, so it cannot take other classes: make it with load_model"
            )
        _check_fork(self.device)
        vocabulary = Vocabulary.of(classes, background)
        model = self.model.with_queries(
            self._text(vocabulary).to(self.device),
            torch.tensor(vocabulary.query_to_class, device=self.device),
            vocabulary.background or 0,
        )
        return Predictor(model, vocabulary, self._text, self.settings, self.recipe, self.statistics)

    @checks_options
    def with_threshold(
        self, threshold: float | Mapping[str, float], background: int | str | bool | None = None
    ) -> Predictor:
        """The same model with another threshold for its maps; arguments as of `Result.with_threshold`."""
        vocabulary = self.vocabulary if background is None else self.vocabulary.with_background(background)
        if isinstance(threshold, Mapping):
            return self._with(vocabulary.with_thresholds(threshold), self.threshold)
        return self._with(vocabulary.with_thresholds(None), check_threshold(threshold))

    def _with(self, vocabulary: Vocabulary, threshold: float) -> Predictor:
        """The same model for the same names, with other settings of theirs."""
        features, classes = self.model.query_features, self.model.query_to_class
        model = self.model.with_queries(features, classes, vocabulary.background or 0, threshold)
        return Predictor(model, vocabulary, self._text, self.settings, self.recipe, self.statistics)

    @checks_options
    @torch.inference_mode()
    def predict(
        self,
        image: ImageLike,
        long_side: int | None = 448,
        progress: Progress = None,
        max_memory_mb: float | None = None,
        *,
        scores: bool = True,
        max_pixels: int | None = None,
    ) -> Result:
        """Maps one image.

        Args:
            image: a path, an open binary file, a PIL image, or an array (H, W, 3) uint8 RGB.
            long_side: the image is resized so that its longer side has this many pixels before windows
                are cut, as evaluation does (448 in the paper); None keeps its own size.
            progress: None draws a bar on a terminal or in a notebook, True always, False never; or a function of
                (windows done, windows in all).
            max_memory_mb: bound of the working set beside the model, the image and the map; None: what suits the
                device (400, on a GPU up to 2000). The result does not depend on it.
            scores: whether the result keeps the score of every class, (C, H, W) float32.
            max_pixels: the most that an image file may have; None: as many as Pillow allows, and as many as the file's
                bytes can hold. Arrays and PIL images may have any number.

        Returns:
            The map at the image's own size.

        Raises:
            UserError: an image that cannot be read, or options that cannot be.
        """
        memory = self._memory(max_memory_mb)
        picture = self._read(image, long_side, max_pixels)
        with window_progress(progress) as shown:
            logits = self.model.logits(self._tensor(picture), picture.size, shown, memory)
        return self._result(picture, logits[0], scores)

    @checks_options
    def predict_many(
        self,
        images: Iterable[ImageLike],
        long_side: int | None = 448,
        progress: Progress = None,
        max_memory_mb: float | None = None,
        *,
        scores: bool = True,
        max_pixels: int | None = None,
    ) -> Iterator[Result]:
        """Maps images one after another, each as `predict` does.

        Args:
            images: as in `predict`; they are read when it is their turn, on a GPU some before: those of one size are
                mapped together, as many as the memory holds.
            long_side: as in `predict`.
            progress: as in `predict`; counts images, those that are read so far being all where `images` has no length.
            max_memory_mb: as in `predict`.
            scores: as in `predict`.
            max_pixels: as in `predict`.

        Returns:
            An iterator of a result for each image, in their order.

        Raises:
            UserError: as `predict`, when the image's turn comes; the next turn is that of the image after it.
        """
        if isinstance(images, str | os.PathLike | Image.Image) or hasattr(images, "read") or _is_array_of_one(images):
            what = repr(images) if isinstance(images, str | os.PathLike) else f"the given {type(images).__name__}"
            raise UserError(f"{what} is one image: expected several; use predict(...), or give a list")
        if not isinstance(images, Iterable):
            raise UserError(f"the images are a {type(images).__name__}: expected several; give a list of images")
        limits = check_long_side(long_side), check_max_pixels(max_pixels)
        return _Turns(self._predict_many(images, *limits, progress, self._memory(max_memory_mb), scores))

    def _predict_many(
        self,
        images: Iterable[ImageLike],
        long_side: int | None,
        max_pixels: int | None,
        progress: Progress,
        max_memory_mb: float,
        scores: bool,
    ) -> Iterator[Result | Exception]:
        """As `predict_many`, in a generator: what is raised in the turn of an image is yielded, so that it goes on."""
        total = len(images) if isinstance(images, Sized) else 0
        if self.joins_images:
            read = partial(self._read, long_side=long_side, max_pixels=max_pixels)
            outcomes = self._predict_together((_attempted(read, image) for image in images), max_memory_mb, scores)
        else:
            predict = partial(
                self.predict,
                long_side=long_side,
                progress=False,
                max_memory_mb=max_memory_mb,
                scores=scores,
                max_pixels=max_pixels,
            )
            outcomes = (_attempted(predict, image) for image in images)
        with window_progress(progress, "images") as shown:
            for done, outcome in enumerate(outcomes, start=1):
                yield outcome
                if shown is not None:
                    shown(done, max(done, total))

    @property
    def joins_images(self) -> bool:
        """Whether `predict_many` maps several images of one size at once: on a GPU."""
        return listed(self.model.upsampler, self.device, torch.float32) is not None

    def _predict_together(
        self, pictures: Iterator[_Picture | Exception], memory: float, scores: bool
    ) -> Iterator[Result | Exception]:
        """On a GPU: maps images that follow each other and have one size at once, as many as the memory holds."""
        held: list[_Picture] = []
        while True:
            try:
                picture = next(pictures, None)
            except Exception as error:  # whoever gives the images has no more
                yield from self._maps(held, memory, scores)
                yield error
                return
            if held and not (isinstance(picture, _Picture) and picture.is_like(held[0])):
                yield from self._maps(held, memory, scores)
                held = []
            if picture is None:
                return
            if isinstance(picture, Exception):
                yield picture
                continue
            held.append(picture)
            if len(held) >= self._at_once(picture, memory):
                yield from self._maps(held, memory, scores)
                held = []

    def _maps(self, pictures: list[_Picture], memory: float, scores: bool) -> Iterator[Result | Exception]:
        """The maps of images of one size; where the device's memory is not enough for all, of fewer at once."""
        if not pictures:
            return
        begun = time.perf_counter()
        logits = self._logits_of(pictures, memory)
        if logits is None and len(pictures) > 1:
            half = len(pictures) // 2
            yield from self._maps(pictures[:half], memory, scores)
            yield from self._maps(pictures[half:], memory, scores)
        elif logits is None:
            height, width = pictures[0].mapped_at
            yield UserError(
                f"not enough memory on {self.device} to map {pictures[0].name} at {width} × {height} pixels: use a "
                f"smaller {option('long_side')} or {option('max_memory_mb', typed='max_memory')}"
            )
        else:
            share = (time.perf_counter() - begun) / len(pictures)
            for picture, own in zip(pictures, logits, strict=True):
                since = time.perf_counter() - picture.read_s - share
                yield _attempted(partial(self._result, keep_scores=scores), replace(picture, begun=since), own)

    @torch.inference_mode()
    def _logits_of(self, pictures: list[_Picture], memory: float) -> Tensor | None:
        """Logits (n, Q, H, W) of images of one size, when they are there; None where memory is not enough."""
        beside = (len(pictures) - 1) * self._beside(pictures[0]) / 2**20
        try:
            image = torch.cat([self._tensor(picture) for picture in pictures])
            logits = self.model.logits(image, pictures[0].size, None, max(1.0, memory - beside))
            synchronize(self.device)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return logits

    def _at_once(self, picture: _Picture, memory: float) -> int:
        """How many images like this one are mapped at once."""
        grid = self.model.grid(*picture.mapped_at)
        window = self.model.memory(grid)
        return window.images(grid.count, self._beside(picture), memory) if isinstance(window, ListMemory) else 1

    def _beside(self, picture: _Picture) -> int:
        """Bytes that an image takes beside its windows: itself, the sums of their logits, and the map's logits."""
        mapped, own = math.prod(picture.mapped_at), math.prod(picture.size)
        return 4 * len(self.model.query_features) * (mapped + 2 * own) + 12 * mapped + 3 * own

    @checks_options
    @torch.inference_mode()
    def encode(
        self,
        image: ImageLike,
        long_side: int | None = 448,
        progress: Progress = None,
        max_memory_mb: float | None = None,
        *,
        max_pixels: int | None = None,
    ) -> Encoded:
        """Computes all that does not depend on the classes, so that other words on the same image cost little.

        Args:
            image: as in `predict`.
            long_side: as in `predict`.
            progress: as in `predict`.
            max_memory_mb: as in `predict`; the result keeps 0.6 MB a window beside it (ViT-B/16, 224 pixels).
            max_pixels: as in `predict`.

        Raises:
            UserError: as `predict`.
        """
        memory = self._memory(max_memory_mb)
        picture = self._read(image, long_side, max_pixels)
        with window_progress(progress) as shown:
            return Encoded(self, picture, self.model.encode(self._tensor(picture), shown, memory))

    def _memory(self, max_memory_mb: float | None) -> float:
        """The bound of the working set, in MB; refuses where nothing can be computed."""
        _check_fork(self.device)
        return memory_for(self.device) if max_memory_mb is None else check_max_memory(max_memory_mb)

    def _read(self, image: ImageLike, long_side: int | None, max_pixels: int | None) -> _Picture:
        """Reads an image and says at which size it is mapped."""
        begun = time.perf_counter()
        long_side, max_pixels = check_long_side(long_side), check_max_pixels(max_pixels)
        pixels, remarks = read_image(image, max_pixels)
        height, width = pixels.shape[:2]
        size = (height, width) if long_side is None else resized_size(height, width, long_side)
        check_enlarged((height, width), size, max_pixels)
        name = Path(image).stem if isinstance(image, str | os.PathLike) else "map"
        return _Picture(pixels, size, long_side, name, tuple(remarks), begun, time.perf_counter() - begun)

    def _tensor(self, picture: _Picture) -> Tensor:
        """A picture as the model takes it, (1, 3, H, W)."""
        return to_model(picture.pixels, picture.mapped_at, self.device, self.statistics)

    @torch.inference_mode()
    def _result(self, picture: _Picture, logits: Tensor, keep_scores: bool) -> Result:
        """The map from logits (Q, H, W), band by band."""
        count = len(self.vocabulary)
        height, width = picture.size
        kind = label_values(count).type
        best = np.empty((height, width), kind)
        confidence = np.empty((height, width), np.float32)
        kept = np.empty((count, height, width), np.float32) if keep_scores else None
        rows = max(1, BAND_PIXELS // width)
        for band in (slice(top, top + rows) for top in range(0, height, rows)):
            best[band], confidence[band], scores = classify(
                self.model, self.vocabulary, logits[:, band], keep_scores=keep_scores
            )
            if kept is not None:
                kept[:, band] = scores
        return thresholded(
            Result(
                labels=best,
                confidence=confidence,
                scores=kept,
                vocabulary=self.vocabulary,
                best=best,
                pixels=picture.pixels,
                threshold=self.threshold,
                name=picture.name,
                settings={**self.settings, "long_side": picture.long_side},
                device=str(self.device),
                seconds=time.perf_counter() - picture.begun,
                remarks=picture.remarks,
            )
        )


@dataclass(frozen=True)
class _Picture:
    """An image that was read.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        mapped_at: (height, width) before windows are cut.
        long_side: what was asked for.
        name: for files.
        remarks: what was done while reading.
        begun: when, by `time.perf_counter`.
        read_s: seconds that reading took.
    """

    pixels: NDArray[np.uint8]
    mapped_at: tuple[int, int]
    long_side: int | None
    name: str
    remarks: tuple[str, ...]
    begun: float
    read_s: float

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def is_like(self, other: _Picture) -> bool:
        """Whether both are mapped at the same size, to maps of the same size."""
        return (self.size, self.mapped_at) == (other.size, other.mapped_at)


class _Turns(Iterator[Result]):
    """Results, or what is raised instead, in the turn of each image; unlike a generator it goes on after an error."""

    def __init__(self, outcomes: Iterator[Result | Exception]) -> None:
        self._outcomes = outcomes

    def __next__(self) -> Result:
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _attempted(work: Callable[..., Made], *given: Any) -> Made | Exception:
    """What some work makes, or raises."""
    try:
        return work(*given)
    except Exception as error:
        return error


class Encoded:
    """An image of which all that does not depend on the classes is known; made by `Predictor.encode`."""

    def __init__(self, predictor: Predictor, picture: _Picture, encoded: EncodedImage) -> None:
        """Takes what `Predictor.encode` computed."""
        self._predictor, self._picture, self._encoded = predictor, picture, encoded

    def __repr__(self) -> str:
        windows = sum(len(block.windows) for block in self._encoded.groups)
        height, width = self._picture.size
        return f"<Encoded {self._picture.name!r}: {width} × {height} pixels, {windows} window{'s' * (windows != 1)}>"

    @checks_options
    @torch.inference_mode()
    def classify(
        self,
        classes: Classes | None = None,
        background: int | str | bool | None = None,
        *,
        scores: bool = True,
        progress: Progress = None,
    ) -> Result:
        """The map for some classes; equal to that of `predict` to rounding.

        Args:
            classes: in any form that `load_model` takes; None takes those of the predictor.
            background: see `Vocabulary`.
            scores: as in `Predictor.predict`.
            progress: as in `Predictor.predict`.

        Raises:
            UserError: as `Predictor.with_classes`.
        """
        predictor = self._predictor
        if classes is not None:
            predictor = predictor.with_classes(classes, background)
        elif background is not None:
            predictor = predictor._with(predictor.vocabulary.with_background(background), predictor.threshold)
        picture = replace(self._picture, begun=time.perf_counter())
        with window_progress(progress) as shown:
            logits = predictor.model.encoded_logits(self._encoded, picture.size, shown)
        return predictor._result(picture, logits[0], scores)


def _is_array_of_one(images: object) -> bool:
    """Whether it is an array (H, W, 3), whose rows are no images."""
    return isinstance(images, np.ndarray) and images.ndim < 4


_forks_watched = False


def _watch_forks() -> None:
    """From the first predictor on, a forked child computes with one thread: the pool's other threads are not in it."""
    global _forks_watched
    if not _forks_watched and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_begin_child)
        _forks_watched = True


def _begin_child() -> None:
    torch.set_num_threads(1)
    errors.forget_locks()  # a thread that held one is not in the child
    precision.forget_locks()


def _check_fork(device: torch.device) -> None:
    if device.type == "cuda" and torch.cuda._is_in_bad_fork():
        raise UserError(
            "this process was forked from one that had used CUDA, and CUDA does not work in it: expected a process "
            'of its own; start workers by multiprocessing\'s "spawn" method, or use device="cpu"'
        )
