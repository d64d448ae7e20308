"""One image of a set and its labels, drawn: a scene of `segearth.synthetic`, seen with the set's classes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from segearth.datasets.description import Description
from segearth.datasets.samples.things import THINGS, scatter
from segearth.synthetic import CLASSES, OBJECTS, Scene, draw_scene
from segearth.synthetic.canvas import BUILDING, ROAD, WATER

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONG_SIDE = 320  # of images that stay whole
_TRIES = 4  # scenes that are looked at, for one that shows the classes
_WALL = 7  # pixels of a building's side that a drone sees
_LAND = tuple(names[0] for names in CLASSES)

_INFRARED = np.array([1.2, 1.9, 1.0, 0.95, 2.8, 0.3, 1.5, 1.1])  # to red, of the land covers


@dataclass(frozen=True)
class Drawn:
    """An image and its labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        values: (H, W) uint8, as they are to be written: `Description.values` and `Description.ignore`.
        on_road: (H, W) bool; cars there drive, for the set that tells them from parked ones.
    """

    image: NDArray[np.uint8]
    values: NDArray[np.uint8]
    on_road: NDArray[np.bool_]


def draw_pair(spec: Description, number: int, seed: int = 0) -> Drawn:
    """Draws one of the images of a sample.

    Args:
        spec: the set.
        number: of the image, from 0.
        seed: the same seed is always the same image.
    """
    height, width = sample_size(spec, number)
    zoom = spec.sample.zoom
    first = zlib.crc32(f"{spec.name} {number} {seed}".encode())
    rng = np.random.default_rng(first)
    scene = _scene(spec, first, math.ceil(height / zoom), math.ceil(width / zoom))

    def scaled(pixels: NDArray[np.uint8], how: Image.Resampling) -> NDArray[np.uint8]:
        box = (0.0, 0.0, width / zoom, height / zoom)
        return np.array(Image.fromarray(pixels).resize((width, height), how, box))

    image = scaled(scene.image, Image.Resampling.BICUBIC)
    if zoom > 1:  # the grain was enlarged, too
        image = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    land = scaled(scene.labels, Image.Resampling.NEAREST)
    cars = scaled(scene.objects, Image.Resampling.NEAREST) == OBJECTS.index("car") + 1
    classes = _look_up(spec, land, cars)
    _add_things(spec, image, land, cars, classes, rng)
    values = classes + np.uint8(spec.reduce_zero_label)
    _remove_labels(spec, number, image, values)
    if sample_mode(spec, number) == "L":
        image[:] = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    if spec.sample.infrared:  # infrared, red, green
        infrared = image[..., 0] * _INFRARED[land]
        image = np.dstack([np.clip(infrared, 0, 255).astype(np.uint8), image[..., :2]])
    return Drawn(image, values, land == ROAD)


def sample_size(spec: Description, number: int) -> tuple[int, int]:
    """(height, width) of an image: a few windows, whole and in part; or small, with the published proportions."""
    if spec.windows is None:
        height, width = spec.sizes[number % len(spec.sizes)]
        scale = min(1.0, _LONG_SIDE / max(height, width))
        return round(height * scale), round(width * scale)
    h, w = spec.windows.size
    return ((h, w), (h, w + w // 5), (h - h // 8, w + w // 8))[number % 3]


def sample_mode(spec: Description, number: int) -> str:
    """Pillow's mode of an image in the download."""
    return spec.sample.modes[number] if number < len(spec.sample.modes) else "RGB"


def _table(spec: Description) -> Mapping[str, str]:
    return spec.sample.land or {spec.classes[1]: spec.classes[1]}


def _scene(spec: Description, first: int, height: int, width: int) -> Scene:
    """Draws scenes until one has all land covers and cars that the set names; else takes the one with most of them."""
    table = _table(spec)
    wanted = [_LAND.index(name) for name in table if name in _LAND]
    scenes: list[tuple[int, Scene]] = []
    while len(scenes) < _TRIES and (not scenes or scenes[-1][0] <= len(wanted)):
        scene = draw_scene(first + len(scenes), height, width)
        share = np.bincount(scene.labels.ravel(), minlength=len(_LAND))[wanted] / scene.labels.size
        cars = "car" not in table or scene.objects.any()
        scenes.append((int(((share > 0.02) & (share < 0.6)).sum() + cars), scene))
    return max(scenes, key=lambda each: each[0])[1]


def _look_up(spec: Description, land: NDArray[np.uint8], cars: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Land covers and cars as indices into the set's classes."""
    table = _table(spec)
    rest = table.get("rest", spec.classes[0])
    classes = np.array([spec.classes.index(table.get(name, rest)) for name in _LAND], np.uint8)[land]
    if "car" in table:
        classes[cars] = spec.classes.index(table["car"])
    return classes


def _add_things(
    spec: Description,
    image: NDArray[np.uint8],
    land: NDArray[np.uint8],
    cars: NDArray[np.bool_],
    classes: NDArray[np.uint8],
    rng: np.random.Generator,
) -> None:
    """Paints objects that only some sets name over the image and its classes."""
    names = tuple(name for name in spec.classes if name in THINGS)
    if names:
        found = scatter(names, image, land, ~cars, rng)
        indices = np.array([0, *(spec.classes.index(name) for name in names)], np.uint8)
        classes[found > 0] = indices[found[found > 0]]
    if "Bridge" in spec.classes:
        classes[(land == ROAD) & (classes == 0) & _between(land == WATER, 50)] = spec.classes.index("Bridge")
    if "wall" in spec.classes:  # the side of a building that a slanting view shows
        building = land == BUILDING
        wall = building & ~np.roll(building, -_WALL, axis=0)
        wall[-_WALL:] = False
        classes[wall] = spec.classes.index("wall")
        image[wall] = image[wall] * 0.62


def _between(there: NDArray[np.bool_], far: int) -> NDArray[np.bool_]:
    """Finds pixels that have something on both sides, `far` pixels away in any of four directions."""
    found = np.zeros_like(there)
    for dy, dx in ((0, 1), (1, 1), (1, 0), (1, -1)):
        shift = (far * dy, far * dx)
        found |= np.roll(there, shift, (0, 1)) & np.roll(there, (-shift[0], -shift[1]), (0, 1))
    return found


def _remove_labels(spec: Description, number: int, image: NDArray[np.uint8], values: NDArray[np.uint8]) -> None:
    """Sets labels to ignored where the real set has none: borders between classes, places without data."""
    height, width = values.shape
    if spec.encoding == "palette" and spec.reduce_zero_label:  # the ISPRS sets: borders between classes
        wide = Image.fromarray(values)
        values[
            np.asarray(wide.filter(ImageFilter.MaxFilter(5))) != np.asarray(wide.filter(ImageFilter.MinFilter(5)))
        ] = 0
    elif number == 0 and spec.sample.corner:
        beyond = np.add.outer(np.arange(height) / 3, np.arange(width)) > 1.2 * width
        values[beyond] = 0
        if spec.ignore == 0:  # elsewhere 0 is a class
            image[beyond] = 0
    elif number == 1 and spec.sample.stray_colours:
        values[height // 2, 10:40:3] = spec.ignore
