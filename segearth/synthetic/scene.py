"""Drawing of a complete synthetic scene, and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segearth.synthetic.canvas import CLASSES, Block, Canvas
from segearth.synthetic.land import LAND_USES, draw_ground, draw_river, draw_roads, split_land
from segearth.synthetic.objects import draw_objects
from segearth.synthetic.photograph import render_photograph

DEMO_SEED = 10  # the scene in segearth/data, chosen by its appearance; not in the training data of the small CLIP


@dataclass(frozen=True)
class Scene:
    """A drawn aerial image and the class of each of its pixels.

    Attributes:
        image: (H, W, 3) uint8, RGB in [0, 255].
        labels: (H, W) uint8, indices into ``classes``.
        objects: (H, W) uint8, 0 for none, else 1 + index into `OBJECTS`.
        classes: names of each class; the first is the main name, the others are synonyms.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    objects: NDArray[np.uint8]
    classes: tuple[tuple[str, ...], ...] = CLASSES


def draw_scene(seed: int, height: int = 1024, width: int = 1024) -> Scene:
    """Draws a scene of fields, woods, houses, yards, roads and a river, at about 0.25 m per pixel.

    Args:
        seed: determines the scene, its light and season.
        height: rows of the image, at least 1.
        width: columns of the image, at least 1.

    Returns:
        The image with its labels. A small scene need not contain every class.

    Raises:
        ValueError: if a side is below 1 pixel.
    """
    if min(height, width) < 1:
        raise ValueError(f"a scene of {height} x {width} pixels; both sides must be at least 1")
    rng = np.random.default_rng(seed)
    canvas = Canvas(rng, height, width)
    reach = float(np.hypot(height, width)) / 2 + 40
    blocks, roads = split_land(rng, Block(-reach, -reach, reach, reach))
    blocks.sort(key=lambda b: np.hypot(b.u0 + b.u1, b.v0 + b.v1))  # the centre first, to show all land uses
    uses = [use for _ in range(1 + len(blocks) // len(LAND_USES)) for use in rng.permutation(LAND_USES)]
    for block, use in zip(blocks, uses, strict=False):
        draw_ground(canvas, block, use)
    draw_river(canvas, reach)
    draw_roads(canvas, roads)
    for block, use in zip(blocks, uses, strict=False):
        draw_objects(canvas, block, use)
    return Scene(render_photograph(canvas), np.array(canvas.labels), np.array(canvas.objects))


def save_scene(scene: Scene, folder: Path, stem: str = "scene") -> None:
    """Writes ``<stem>.jpg`` and ``<stem>_labels.png`` (8 bits, one channel), as in segearth/data."""
    Image.fromarray(scene.image).save(folder / f"{stem}.jpg", quality=92)
    Image.fromarray(scene.labels).save(folder / f"{stem}_labels.png", optimize=True)
