"""Test-time averaging: the mean of the logits of an image and of the same image flipped and turned, put back.

Nothing is learned and nothing is chosen by the image: it costs as many maps as there are views. The views of each name
are closed (any of them after any other is one of them), so that the map of a flipped or turned image is the flipped or
turned map, to rounding, whatever the model does; without averaging, no ViT has this property.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from segearth.errors import UserError


class View(NamedTuple):
    """A view of an image: flipped left to right, if at all, and then turned.

    Attributes:
        flipped: whether it is flipped left to right.
        turns: quarter turns anticlockwise.
    """

    flipped: bool
    turns: int

    def seen(self, image: Tensor) -> Tensor:
        """An image (..., H, W) in this view: (..., H, W), or (..., W, H) after one or three quarter turns."""
        return torch.rot90(image.flip(-1) if self.flipped else image, self.turns, (-2, -1))

    def put_back(self, seen: Tensor) -> Tensor:
        """Turns and flips an image or logits in this view back: undoes `seen`."""
        upright = torch.rot90(seen, -self.turns, (-2, -1))
        return upright.flip(-1) if self.flipped else upright

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) in this view of an image of (height, width)."""
        return (size[1], size[0]) if self.turns % 2 else size


_UPRIGHT, _LEFT_RIGHT, _UP_DOWN, _BOTH = View(False, 0), View(True, 0), View(True, 2), View(False, 2)
# In the order in which they are summed. An aerial image has no upper side, so all eight views are as natural.
VIEWS: dict[str, tuple[View, ...]] = {
    "flips": (_UPRIGHT, _LEFT_RIGHT, _UP_DOWN, _BOTH),
    "turns": tuple(View(False, turns) for turns in range(4)),
    "all": tuple(View(flipped, turns) for flipped in (False, True) for turns in range(4)),
}


def check_views(tta: str | None) -> None:
    """Refuses an unknown name of views.

    Raises:
        UserError: it is none of `VIEWS`, and not None.
    """
    if tta is not None and (not isinstance(tta, str) or tta not in VIEWS):
        raise UserError(
            f"tta is {tta!r}: expected None or one of {', '.join(VIEWS)} ({', '.join(map(_counted, VIEWS))}); give one"
        )


def _counted(name: str) -> str:
    return f"{name}: {len(VIEWS[name])} maps"


def mean_of_views(tta: str, image: Tensor, logits: Callable[[int, View, Tensor], Tensor]) -> Tensor:
    """The mean over the views of an image, always summed in the same order.

    Args:
        tta: a name of `VIEWS`.
        image: (B, 3, H, W).
        logits: from the number of a view, the view, and the image in it, to logits in it, (B, Q, height, width).

    Returns:
        (B, Q, height, width), upright.
    """
    total: Tensor | None = None
    for number, view in enumerate(VIEWS[tta]):
        upright = view.put_back(logits(number, view, view.seen(image)))
        total = upright.contiguous() if total is None else total.add_(upright)
    assert total is not None
    return total.div_(len(VIEWS[tta]))
