"""Windows of images on their way through the encoder, in groups that share the upsampler's kernels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice, tee
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from segearth.models.window_groups import WindowGroup, cut
from segearth.windows import Window

Key = TypeVar("Key", bound=Hashable)
Encode: TypeAlias = "Callable[[Tensor], tuple[Tensor, Tensor | None]]"  # (n, 3, h, w) -> features, [CLS] vectors


class EncodedGroup(NamedTuple):
    """What does not depend on the queries, of n windows that share the upsampler's kernels.

    Attributes:
        windows: where they lie in the image.
        features: (n, D, h, w) of their patches, as the encoder gives them.
        cls: (n, D) float32, their [CLS] vectors; None without.
        norms: (n, 1, height, width) float32, lengths of the upsampled features; None where they are not known.
    """

    windows: list[Window]
    features: Tensor
    cls: Tensor | None
    norms: Tensor | None


class EncodedImage(NamedTuple):
    """An image as `SegEarth.encode` leaves it, for any queries.

    Attributes:
        image: (1, 3, H, W), normalised.
        groups: of its windows.
    """

    image: Tensor
    groups: list[EncodedGroup]


class Part(NamedTuple):
    """A group of windows of one of several images, encoded.

    Attributes:
        number: of the image in its batch.
        group: the n windows.
        features: (n, D, h, w) of their patches.
        cls: (n, D) float32, their [CLS] vectors; None without.
    """

    number: int
    group: WindowGroup
    features: Tensor
    cls: Tensor | None


def encoded_parts(
    encode: Encode, image: Tensor, grouped: Sequence[list[Window]], patch: int, batch: int
) -> Iterator[Part]:
    """Runs the encoder on groups of windows, the same of every image.

    Args:
        encode: the encoder.
        image: (B, 3, H, W), normalised.
        grouped: the windows of each group.
        patch: side of a patch in pixels.
        batch: windows in a call of the encoder.
    """
    ahead, groups = tee((b, cut(own, members, patch)) for b, own in enumerate(image) for members in grouped)
    encoded = _encoded_crops(encode, (crop for _, group in ahead for crop in group.crops()), batch)
    for b, group in groups:
        features, cls = zip(*islice(encoded, len(group.windows)), strict=True)
        yield Part(b, group, torch.stack(features), None if cls[0] is None else torch.stack(cls))


def _encoded_crops(encode: Encode, crops: Iterable[Tensor], batch: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Runs the encoder in calls of one shape: yields features (D, h, w) and [CLS] vector (D,) of each crop."""
    crops = iter(crops)
    while call := list(islice(crops, batch)):
        features, cls = encode(torch.stack(call + call[:1] * (batch - len(call))))
        for i in range(len(call)):
            yield features[i], None if cls is None else cls[i]


def kept(parts: Iterable[Part], keep: Callable[[EncodedGroup], object]) -> Iterator[Part]:
    """Yields parts, each after it was given to `keep`."""
    for part in parts:
        keep(EncodedGroup(part.group.windows, part.features, part.cls, None))
        yield part


def joined(parts: Iterable[Part], most: int) -> Iterator[list[Part]]:
    """Puts parts together that have at most `most` windows, or are one part."""
    held: list[Part] = []
    for part in parts:
        if held and sum(len(other.group.windows) for other in [*held, part]) > most:
            yield held
            held = []
        held.append(part)
    if held:
        yield held


def in_order(order: Iterable[Key], parts: Iterable[tuple[Key, Tensor]]) -> Iterator[tuple[Key, Tensor]]:
    """Yields parts in a given order; those that come early are held until it is their turn."""
    early: dict[Key, Tensor] = {}
    expected = iter(order)
    awaited = next(expected, None)
    for key, part in parts:
        early[key] = part
        while awaited is not None and awaited in early:
            yield awaited, early.pop(awaited)
            awaited = next(expected, None)
