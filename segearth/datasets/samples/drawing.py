"""One image of a set and its labels, drawn: a scene of `segearth.synthetic`, seen with the set's classes."""

from __future__ import annotations

import math
import zlib
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

# The class of land covers and of cars; others are the set's "rest", or its first class. Named ones should be there.
_CLASSES: dict[str, dict[str, str]] = {
    "openearthmap": {name: name for name in _LAND},
    "loveda": {
        **{"building": "building", "road": "road", "water": "water", "bareland": "barren"},
        **{"tree": "forest", "cropland": "agricultural"},
    },
    "iSAID": {"water": "background", "road": "background", "grass": "background", "car": "Small_Vehicle"},
    "uavid": {
        **{"building": "building", "road": "road", "tree": "tree", "grass": "vegetation", "cropland": "vegetation"},
        "car": "car",
    },
    "udd5": {
        **{"tree": "vegetation", "grass": "vegetation", "cropland": "vegetation", "building": "building"},
        **{"road": "road", "pavement": "road", "car": "vehicle", "rest": "other"},
    },
    "vdd": {
        **{"road": "road", "tree": "vegetation", "grass": "vegetation", "cropland": "vegetation"},
        **{"car": "vehicle", "building": "roof", "water": "water"},
    },
}
_CLASSES["potsdam"] = _CLASSES["vaihingen"] = {
    **{"road": "impervious_surface", "pavement": "impervious_surface", "building": "building", "tree": "tree"},
    **{"grass": "low_vegetation", "cropland": "low_vegetation", "car": "car", "rest": "clutter"},
}
# Pixels of the image to one of the scene, which stands for 0.25 m; otherwise 0.5, as images that stay whole are small.
_ZOOM = {"iSAID": 1.0, "potsdam": 1.0, "vaihingen": 1.0, "inria": 1.0, "uavid": 2.0}
_INFRARED = np.array([1.2, 1.9, 1.0, 0.95, 2.8, 0.3, 1.5, 1.1])  # to red, of the land covers


@dataclass(frozen=True)
class Drawn:
    """An image and its labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        values: (H, W) uint8, as they have to be on disk: `Description.values` and `Description.ignore`.
        on_road: (H, W) bool; cars there drive, for the set that tells them from parked ones.
    """

    image: NDArray[np.uint8]
    values: NDArray[np.uint8]
    on_road: NDArray[np.bool_]


def draw_pair(of: Description, number: int, seed: int = 0) -> Drawn:
    """Draws one of the images of a sample.

    Args:
        of: the set.
        number: of the image, from 0.
        seed: the same seed is always the same image.
    """
    height, width = sample_size(of, number)
    zoom = _ZOOM.get(of.name, 0.5)
    first = zlib.crc32(f"{of.name} {number} {seed}".encode())
    rng = np.random.default_rng(first)
    scene = _scene(of, first, math.ceil(height / zoom), math.ceil(width / zoom))

    def scaled(pixels: NDArray[np.uint8], how: Image.Resampling) -> NDArray[np.uint8]:
        box = (0.0, 0.0, width / zoom, height / zoom)
        return np.array(Image.fromarray(pixels).resize((width, height), how, box))

    image = scaled(scene.image, Image.Resampling.BICUBIC)
    if zoom > 1:  # the grain was enlarged, too
        image = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    land = scaled(scene.labels, Image.Resampling.NEAREST)
    cars = scaled(scene.objects, Image.Resampling.NEAREST) == OBJECTS.index("car") + 1
    classes = _look_up(of, land, cars)
    _add_things(of, image, land, cars, classes, rng)
    values = classes + np.uint8(of.reduce_zero_label)
    _forget(of, number, image, values)
    if of.name == "iSAID" and number == 1:  # some of its images are gray
        image[:] = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    if of.name == "vaihingen":  # infrared, red, green
        infrared = image[..., 0] * _INFRARED[land]
        image = np.dstack([np.clip(infrared, 0, 255).astype(np.uint8), image[..., :2]])
    return Drawn(image, values, land == ROAD)


def sample_size(of: Description, number: int) -> tuple[int, int]:
    """(height, width) of an image: a few windows, with and without a rest; or a small one of published shape."""
    if of.windows is None:
        height, width = of.sizes[number % len(of.sizes)]
        scale = min(1.0, _LONG_SIDE / max(height, width))
        return round(height * scale), round(width * scale)
    h, w = of.windows.size
    return ((h, w), (h, w + w // 5), (h - h // 8, w + w // 8))[number % 3]


def _table(of: Description) -> dict[str, str]:
    return _CLASSES.get(of.name) or {of.classes[1]: of.classes[1]}


def _scene(of: Description, first: int, height: int, width: int) -> Scene:
    """The first of some scenes with all land covers that the set names, and cars, or the one with most of them."""
    table = _table(of)
    wanted = [_LAND.index(name) for name in table if name in _LAND]
    scenes: list[tuple[int, Scene]] = []
    while len(scenes) < _TRIES and (not scenes or scenes[-1][0] <= len(wanted)):
        scene = draw_scene(first + len(scenes), height, width)
        share = np.bincount(scene.labels.ravel(), minlength=len(_LAND))[wanted] / scene.labels.size
        cars = "car" not in table or scene.objects.any()
        scenes.append((int(((share > 0.02) & (share < 0.6)).sum() + cars), scene))
    return max(scenes, key=lambda each: each[0])[1]


def _look_up(of: Description, land: NDArray[np.uint8], cars: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Land covers and cars as indices into the set's classes."""
    table = _table(of)
    rest = table.get("rest", of.classes[0])
    classes = np.array([of.classes.index(table.get(name, rest)) for name in _LAND], np.uint8)[land]
    if "car" in table:
        classes[cars] = of.classes.index(table["car"])
    return classes


def _add_things(
    of: Description,
    image: NDArray[np.uint8],
    land: NDArray[np.uint8],
    cars: NDArray[np.bool_],
    classes: NDArray[np.uint8],
    rng: np.random.Generator,
) -> None:
    """What only one set names: painted over its image and its classes."""
    names = tuple(name for name in of.classes if name in THINGS)
    if names:
        found = scatter(names, image, land, ~cars, rng)
        indices = np.array([0, *(of.classes.index(name) for name in names)], np.uint8)
        classes[found > 0] = indices[found[found > 0]]
    if "Bridge" in of.classes:
        classes[(land == ROAD) & (classes == 0) & _between(land == WATER, 50)] = of.classes.index("Bridge")
    if "wall" in of.classes:  # the side of a building that a slanting view shows
        building = land == BUILDING
        wall = building & ~np.roll(building, -_WALL, axis=0)
        wall[-_WALL:] = False
        classes[wall] = of.classes.index("wall")
        image[wall] = image[wall] * 0.62


def _between(there: NDArray[np.bool_], far: int) -> NDArray[np.bool_]:
    """Where something is on both sides, `far` pixels away in any of four directions."""
    found = np.zeros_like(there)
    for dy, dx in ((0, 1), (1, 1), (1, 0), (1, -1)):
        shift = (far * dy, far * dx)
        found |= np.roll(there, shift, (0, 1)) & np.roll(there, (-shift[0], -shift[1]), (0, 1))
    return found


def _forget(of: Description, number: int, image: NDArray[np.uint8], values: NDArray[np.uint8]) -> None:
    """Takes labels off, as the real set does."""
    height, width = values.shape
    if of.encoding == "palette" and of.reduce_zero_label:  # the ISPRS sets: borders between classes
        wide = Image.fromarray(values)
        values[
            np.asarray(wide.filter(ImageFilter.MaxFilter(5))) != np.asarray(wide.filter(ImageFilter.MinFilter(5)))
        ] = 0
    elif number == 0 and of.name in ("loveda", "openearthmap"):
        beyond = np.add.outer(np.arange(height) / 3, np.arange(width)) > 1.2 * width
        values[beyond] = 0
        if of.name == "loveda":
            image[beyond] = 0
    elif of.name == "iSAID" and number == 1:  # stray colours
        values[height // 2, 10:40:3] = of.ignore
