"""Objects that are classes of some sets and that drawn scenes lack: ships, courts, tanks, planes, people, fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from segearth.synthetic.canvas import BARELAND, CROPLAND, GRASS, PAVEMENT, ROAD, WATER

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FINE = 4  # things are drawn at four times the size, for smooth edges
_TRIES = 150
_OPEN, _FIRM = (GRASS, BARELAND, CROPLAND, PAVEMENT), (BARELAND, PAVEMENT)
_WHITE, _LAWN, _CLAY = (232, 232, 228), (96, 140, 74), (176, 120, 84)
_SHRUB, _FIR = (98, 110, 62), (30, 64, 42)

Shape = tuple[str, tuple[float, ...], tuple[int, int, int]]  # "box", "disc" or "poly"; x, y, ...; RGB


@dataclass(frozen=True)
class Thing:
    """An object that is painted on a scene at random places.

    Attributes:
        on: the land covers on which the whole object has to be.
        size: (length, width) in pixels of the scene.
        count: the largest number of such objects.
        shapes: painted in their order, x along and y across the object, both from -1 to 1.
    """

    on: tuple[int, ...]
    size: tuple[int, int]
    count: int
    shapes: tuple[Shape, ...]


def _lined(field: tuple[int, int, int], around: tuple[int, int, int]) -> tuple[Shape, ...]:
    """A court: its surface with white lines, a middle line, and the ground around it."""
    return (
        ("box", (-1, -1, 1, 1), around),
        ("box", (-0.84, -0.76, 0.84, 0.76), _WHITE),
        ("box", (-0.80, -0.69, -0.02, 0.69), field),
        ("box", (0.02, -0.69, 0.80, 0.69), field),
    )


def _rows(ground: tuple[int, int, int], row: tuple[int, int, int], number: int) -> tuple[Shape, ...]:
    """A field of rows along its length."""
    edges = [-1 + 2 * (i + 0.25) / number for i in range(number)]
    return (("box", (-1, -1, 1, 1), ground), *(("box", (-1, y, 1, y + 1 / number), row) for y in edges))


THINGS: dict[str, Thing] = {
    "ship": Thing(
        (WATER,),
        (46, 15),
        5,
        (
            ("poly", (-1, -0.8, 0.5, -1, 1, 0, 0.5, 1, -1, 0.8), (196, 198, 200)),
            ("box", (-0.7, -0.45, 0.0, 0.45), (236, 236, 234)),
            ("box", (0.15, -0.3, 0.4, 0.3), (120, 70, 60)),
        ),
    ),
    "store_tank": Thing(
        _FIRM,
        (30, 30),
        6,
        (("disc", (-1, -1, 1, 1), (150, 152, 154)), ("disc", (-0.86, -0.86, 0.98, 0.98), (226, 226, 222))),
    ),
    "baseball_diamond": Thing(
        _OPEN,
        (84, 84),
        1,
        (
            ("poly", (-1, -0.2, -0.6, -0.8, 0.2, -1, 0.8, -0.6, 1, 0.1, -0.7, 1), _CLAY),
            ("poly", (-0.55, 0.55, -0.5, -0.1, 0.05, -0.15, 0.1, 0.35), _LAWN),
        ),
    ),
    "tennis_court": Thing((GRASS, PAVEMENT), (64, 34), 3, _lined((70, 104, 142), (70, 122, 88))),
    "basketball_court": Thing((GRASS, PAVEMENT), (50, 30), 2, _lined((186, 116, 76), (128, 132, 130))),
    "Ground_Track_Field": Thing(
        _OPEN,
        (170, 88),
        1,
        (
            ("disc", (-1, -1, 0.0, 1), _CLAY),
            ("disc", (0.0, -1, 1, 1), _CLAY),
            ("box", (-0.5, -1, 0.5, 1), _CLAY),
            ("disc", (-0.84, -0.7, -0.16, 0.7), _LAWN),
            ("disc", (0.16, -0.7, 0.84, 0.7), _LAWN),
            ("box", (-0.5, -0.7, 0.5, 0.7), _LAWN),
        ),
    ),
    "Large_Vehicle": Thing(
        (ROAD, PAVEMENT),
        (36, 11),
        6,
        (("box", (-1, -1, 0.55, 1), (222, 222, 218)), ("box", (0.62, -0.9, 1, 0.9), (150, 48, 40))),
    ),
    "Helicopter": Thing(
        _FIRM,
        (38, 34),
        2,
        (
            ("poly", (-1, -0.06, 0.3, -0.24, 0.7, 0, 0.3, 0.24, -1, 0.06), (66, 74, 62)),
            ("box", (-1, -0.25, -0.88, 0.25), (66, 74, 62)),
            ("box", (0.18, -1, 0.26, 1), (44, 46, 48)),
            ("box", (-0.6, -0.06, 1.0, 0.06), (44, 46, 48)),
        ),
    ),
    "Swimming_pool": Thing(
        (GRASS,),
        (30, 17),
        5,
        (("box", (-1, -1, 1, 1), (226, 222, 210)), ("box", (-0.8, -0.7, 0.8, 0.7), (84, 180, 206))),
    ),
    "Roundabout": Thing(
        (ROAD,), (34, 34), 1, (("disc", (-1, -1, 1, 1), (176, 174, 168)), ("disc", (-0.8, -0.8, 0.8, 0.8), _LAWN))
    ),
    "Soccer_ball_field": Thing(_OPEN, (130, 80), 1, _lined((92, 142, 72), (84, 130, 68))),
    "plane": Thing(
        _FIRM,
        (62, 58),
        3,
        (
            ("poly", (-0.1, -1, 0.15, -1, 0.35, 0, 0.15, 1, -0.1, 1, 0.0, 0), (206, 208, 212)),
            ("poly", (-1, -0.4, -0.85, -0.4, -0.7, 0, -0.85, 0.4, -1, 0.4), (206, 208, 212)),
            ("poly", (-1, -0.07, 0.8, -0.11, 1, 0, 0.8, 0.11, -1, 0.07), _WHITE),
        ),
    ),
    "Harbor": Thing(
        (WATER,),
        (64, 44),
        2,
        (
            ("box", (-1, -1, 1, -0.72), (150, 142, 128)),
            ("box", (-0.9, -0.72, -0.7, 1), (160, 152, 138)),
            ("box", (-0.1, -0.72, 0.1, 1), (160, 152, 138)),
            ("box", (0.7, -0.72, 0.9, 1), (160, 152, 138)),
        ),
    ),
    "coniferous": Thing(
        _OPEN, (34, 34), 5, (("disc", (-1, -1, 1, 1), _FIR), ("disc", (-0.5, -0.6, 0.5, 0.4), (46, 88, 58)))
    ),
    "brushwood": Thing(
        _OPEN,
        (40, 30),
        5,
        (
            ("disc", (-1, -0.7, 0.1, 0.7), _SHRUB),
            ("disc", (-0.4, -1, 0.6, 0.5), _SHRUB),
            ("disc", (0, -0.5, 1, 1), _SHRUB),
        ),
    ),
    "vineyard": Thing(_OPEN, (64, 44), 2, _rows((158, 128, 92), (84, 112, 60), 6)),
    "plowed land": Thing(_OPEN, (66, 46), 2, _rows((124, 90, 64), (100, 72, 52), 8)),
    "human": Thing(
        (PAVEMENT, GRASS, ROAD),
        (4, 3),
        24,
        (("disc", (-1, -1, 1, 1), (52, 58, 92)), ("disc", (-0.4, -0.5, 0.5, 0.5), (206, 160, 132))),
    ),
}


def scatter(
    names: tuple[str, ...],
    image: NDArray[np.uint8],
    ground: NDArray[np.uint8],
    free: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Paints objects over an image where there is room for them.

    Args:
        names: keys of `THINGS`.
        image: (H, W, 3) uint8, changed in place.
        ground: (H, W) land covers.
        free: (H, W) bool, where something may be painted; changed in place.
        rng: chooses places and directions.

    Returns:
        (H, W) uint8: 0 for nothing, else one more than the index into `names`.
    """
    found = np.zeros(ground.shape, np.uint8)
    for i in sorted(range(len(names)), key=lambda i: -max(THINGS[names[i]].size)):  # while there is room for large ones
        thing = THINGS[names[i]]
        for _ in range(thing.count):
            colours, cover = _stamp(thing, rng.uniform(0, 360))
            h, w = cover.shape
            body = cover > 0.5
            for _ in range(_TRIES if h <= ground.shape[0] and w <= ground.shape[1] else 0):
                top, left = (int(rng.integers(0, n - m + 1)) for n, m in zip(ground.shape, (h, w), strict=True))
                part = slice(top, top + h), slice(left, left + w)
                if (free[part] & np.isin(ground[part], thing.on))[body].all():
                    mixed = image[part] * (1 - cover[..., None]) + colours * cover[..., None]
                    image[part] = np.clip(mixed + rng.normal(0, 3, (h, w, 1)) * cover[..., None], 0, 255)
                    found[part][body] = i + 1
                    free[part][cover > 0] = False
                    break
    return found


def _stamp(thing: Thing, degrees: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draws an object turned by an angle: colours (h, w, 3), and coverage (h, w) in [0, 1]."""
    reach = int(np.ceil(np.hypot(*thing.size) / 2)) + 1
    side = 2 * reach * _FINE
    picture = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(picture)
    half = np.array(thing.size) * _FINE / 2
    for kind, numbers, colour in thing.shapes:
        points = [tuple(p) for p in np.array(numbers).reshape(-1, 2) * half + side / 2]
        {"box": draw.rectangle, "disc": draw.ellipse, "poly": draw.polygon}[kind](points, fill=(*colour, 255))
    pixels = np.asarray(picture.rotate(degrees).convert("RGBa").reduce(_FINE), np.float64)  # premultiplied: clean edges
    rows, columns = (np.flatnonzero(pixels[..., 3].any(axis=axis)) for axis in (1, 0))
    pixels = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cover = pixels[..., 3] / 255
    return pixels[..., :3] / np.maximum(cover, 1e-6)[..., None], cover
