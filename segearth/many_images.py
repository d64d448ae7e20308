"""Maps of many images: those that follow each other and have one size are mapped at once on a GPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from segearth.errors import UserError, is_out_of_memory, option
from segearth.models.list_memory import ListMemory
from segearth.models.segearth import SegEarth
from segearth.picture import Picture
from segearth.result import Result
from segearth.transfer import synchronize

Made = TypeVar("Made")


class Turns(Iterator[Result]):
    """Results, or what is raised instead, in the turn of each image; unlike a generator it goes on after an error."""

    def __init__(self, outcomes: Iterator[Result | Exception]) -> None:
        self._outcomes = outcomes

    def __next__(self) -> Result:
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def attempted(work: Callable[..., Made], *given: Any) -> Made | Exception:
    """What some work makes, or raises."""
    try:
        return work(*given)
    except Exception as error:
        return error


@dataclass(frozen=True, eq=False)
class JoinedImages:
    """Maps images of one size at once, as many as the memory holds.

    Attributes:
        model: the model.
        tensor: gives a picture as the model takes it, (1, 3, H, W).
        result: makes a map from a picture and its logits (Q, H, W).
        max_memory_mb: bound of the working set.
    """

    model: SegEarth
    tensor: Callable[[Picture], Tensor]
    result: Callable[[Picture, Tensor], Result]
    max_memory_mb: float

    @property
    def _device(self) -> torch.device:
        return self.model.query_features.device

    def results(self, pictures: Iterator[Picture | Exception]) -> Iterator[Result | Exception]:
        """The maps of images in their order, or why there is none.

        Args:
            pictures: that were read, or why they could not be.
        """
        held: list[Picture] = []
        while True:
            try:
                picture = next(pictures, None)
            except Exception as error:  # whoever gives the images has no more
                yield from self._maps(held)
                yield error
                return
            if held and not (isinstance(picture, Picture) and picture.is_like(held[0])):
                yield from self._maps(held)
                held = []
            if picture is None:
                return
            if isinstance(picture, Exception):
                yield picture
                continue
            held.append(picture)
            if len(held) >= self._at_once(picture):
                yield from self._maps(held)
                held = []

    def _maps(self, pictures: list[Picture]) -> Iterator[Result | Exception]:
        """The maps of images of one size; where the device's memory is not enough for all, of fewer at once."""
        if not pictures:
            return
        begun = time.perf_counter()
        logits = self._logits(pictures)
        if logits is None and len(pictures) > 1:
            half = len(pictures) // 2
            yield from self._maps(pictures[:half])
            yield from self._maps(pictures[half:])
        elif logits is None:
            height, width = pictures[0].mapped_at
            yield UserError(
                f"not enough memory on {self._device} to map {pictures[0].name} at {width} × {height} pixels: use a "
                f"smaller {option('long_side')} or {option('max_memory_mb', typed='max_memory')}"
            )
        else:
            share = (time.perf_counter() - begun) / len(pictures)
            for picture, own in zip(pictures, logits, strict=True):
                since = time.perf_counter() - picture.read_s - share
                yield attempted(self.result, replace(picture, begun=since), own)

    @torch.inference_mode()
    def _logits(self, pictures: list[Picture]) -> Tensor | None:
        """Logits (n, Q, H, W) of images of one size, when they are there; None where memory is not enough."""
        beside = (len(pictures) - 1) * self._beside(pictures[0]) / 2**20
        try:
            image = torch.cat([self.tensor(picture) for picture in pictures])
            logits = self.model.logits(image, pictures[0].size, None, max(1.0, self.max_memory_mb - beside))
            synchronize(self._device)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return logits

    def _at_once(self, picture: Picture) -> int:
        """How many images like this one are mapped at once."""
        grid = self.model.grid(*picture.mapped_at)
        window = self.model.memory(grid)
        return (
            window.images(grid.count, self._beside(picture), self.max_memory_mb)
            if isinstance(window, ListMemory)
            else 1
        )

    def _beside(self, picture: Picture) -> int:
        """Bytes that an image takes beside its windows: itself, the sums of their logits, and the map's logits."""
        mapped, own = math.prod(picture.mapped_at), math.prod(picture.size)
        return 4 * len(self.model.query_features) * (mapped + 2 * own) + 12 * mapped + 3 * own
