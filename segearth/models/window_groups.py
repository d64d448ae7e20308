"""Windows cut from an image and padded to whole patches, in groups that share the upsampler's kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from segearth.models.tile_kernels import TILE
from segearth.windows import Window, padding, window_groups


class WindowGroup(NamedTuple):
    """Windows of one picture, each padded with zeros to whole patches.

    Attributes:
        windows: where they lie in the image.
        picture: (3, H, W), the part of the image that holds them.
        offsets: (top, left) of each in the picture.
        size: padded (height, width) of each.
        inner: the rows and columns of each that are of the image.
    """

    windows: list[Window]
    picture: Tensor
    offsets: list[tuple[int, int]]
    size: tuple[int, int]
    inner: tuple[slice, slice]

    def crops(self) -> Iterator[Tensor]:
        """The windows' pixels, (3, height, width) each."""
        height, width = self.size
        for top, left in self.offsets:
            yield self.picture[:, top : top + height, left : left + width]


def group_windows(windows: Sequence[Window], patch: int, rows: int, columns: int) -> list[list[Window]]:
    """Groups of at most `rows` × `columns` windows; single ones where each is padded with zeros on its own.

    Args:
        windows: of one grid, row by row.
        patch: side of a patch in pixels.
        rows: of windows in a group.
        columns: of windows in a group.
    """
    if any((w.bottom - w.top) % patch or (w.right - w.left) % patch for w in windows[:1]):
        rows = columns = 1
    return window_groups(windows, TILE, rows, columns)


def cut(image: Tensor, windows: list[Window], patch: int) -> WindowGroup:
    """Cuts a group of windows from an image.

    Args:
        image: (3, H, W), normalised.
        windows: a group of `group_windows`.
        patch: side of a patch in pixels.
    """
    first = windows[0]
    top, left = first.top, min(window.left for window in windows)
    bottom, right = windows[-1].bottom, max(window.right for window in windows)
    picture = image[:, top:bottom, left:right]
    height, width = first.bottom - first.top, first.right - first.left
    (above, below), (before, after) = padding(height, patch), padding(width, patch)
    if above or below or before or after:
        picture = F.pad(picture, [before, after, above, below])
    return WindowGroup(
        windows,
        picture,
        [(window.top - top, window.left - left) for window in windows],
        (above + height + below, before + width + after),
        (slice(above, above + height), slice(before, before + width)),
    )
