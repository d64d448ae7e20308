"""`Predictor`: maps of images, by a model and class names."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segearth.arguments import check_long_side, check_max_memory, check_max_pixels
from segearth.classification import classify
from segearth.clips import STATISTICS, Statistics
from segearth.compute import memory_for
from segearth.errors import UserError, checks_options, notice
from segearth.forks import check_fork, watch_forks
from segearth.images import ImageLike
from segearth.labels import label_values
from segearth.many_images import JoinedImages, Turns, attempted
from segearth.models.encoded_windows import EncodedImage
from segearth.models.factored import listed
from segearth.models.segearth import SegEarth
from segearth.picture import Picture, read_picture
from segearth.progress import Progress, window_progress
from segearth.result import Result, thresholded
from segearth.transfer import to_model
from segearth.vocabulary import Classes, Vocabulary, check_threshold

BAND_PIXELS = 1 << 20  # scores are computed for so many pixels at once: a large map has no second copy

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
            text: encodes other vocabularies; needed by `with_classes`.
            settings: of the model, for summaries.
            recipe: arguments of `load_model` that make it in another process.
            statistics: with which images are normalised for its CLIP.
        """
        attributes = {"model": model.eval(), "vocabulary": vocabulary, "_text": text}
        attributes |= {"settings": dict(settings or {}), "recipe": recipe, "statistics": statistics}
        for name, value in attributes.items():
            object.__setattr__(self, name, value)
        watch_forks()
        if vocabulary.warning is not None:
            notice(vocabulary.warning)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuses to change the predictor."""
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
        check_fork(self.device)
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
        picture = read_picture(image, long_side, max_pixels)
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
        is_one_array = isinstance(images, np.ndarray) and images.ndim < 4  # (H, W, 3), whose rows are no images
        if isinstance(images, str | os.PathLike | Image.Image) or hasattr(images, "read") or is_one_array:
            what = repr(images) if isinstance(images, str | os.PathLike) else f"the given {type(images).__name__}"
            raise UserError(f"{what} is one image: expected several; use predict(...), or give a list")
        if not isinstance(images, Iterable):
            raise UserError(f"the images are a {type(images).__name__}: expected several; give a list of images")
        limits = check_long_side(long_side), check_max_pixels(max_pixels)
        return Turns(self._predict_many(images, *limits, progress, self._memory(max_memory_mb), scores))

    def _predict_many(
        self,
        images: Iterable[ImageLike],
        long_side: int | None,
        max_pixels: int | None,
        progress: Progress,
        max_memory_mb: float,
        scores: bool,
    ) -> Iterator[Result | Exception]:
        """`predict_many` as a generator that goes on after an error: it yields the error in the turn of its image."""
        total = len(images) if isinstance(images, Sized) else 0
        if self.joins_images:
            read = partial(read_picture, long_side=long_side, max_pixels=max_pixels)
            joined = JoinedImages(self.model, self._tensor, partial(self._result, keep_scores=scores), max_memory_mb)
            outcomes = joined.results(attempted(read, image) for image in images)
        else:
            predict = partial(
                self.predict,
                long_side=long_side,
                progress=False,
                max_memory_mb=max_memory_mb,
                scores=scores,
                max_pixels=max_pixels,
            )
            outcomes = (attempted(predict, image) for image in images)
        with window_progress(progress, "images") as shown:
            for done, outcome in enumerate(outcomes, start=1):
                yield outcome
                if shown is not None:
                    shown(done, max(done, total))

    @property
    def joins_images(self) -> bool:
        """Whether `predict_many` maps several images of one size at once: on a GPU."""
        return listed(self.model.upsampler, self.device, torch.float32) is not None

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
        """Computes everything that does not depend on the classes, so that other words for the same image cost little.

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
        picture = read_picture(image, long_side, max_pixels)
        with window_progress(progress) as shown:
            return Encoded(self, picture, self.model.encode(self._tensor(picture), shown, memory))

    def _memory(self, max_memory_mb: float | None) -> float:
        """The bound of the working set, in MB; refuses where nothing can be computed."""
        check_fork(self.device)
        return memory_for(self.device) if max_memory_mb is None else check_max_memory(max_memory_mb)

    def _tensor(self, picture: Picture) -> Tensor:
        """A picture as the model takes it, (1, 3, H, W)."""
        return to_model(picture.pixels, picture.mapped_at, self.device, self.statistics)

    @torch.inference_mode()
    def _result(self, picture: Picture, logits: Tensor, keep_scores: bool) -> Result:
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


class Encoded:
    """An image encoded for any classes; made by `Predictor.encode`."""

    def __init__(self, predictor: Predictor, picture: Picture, encoded: EncodedImage) -> None:
        """Takes the results of `Predictor.encode`."""
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
