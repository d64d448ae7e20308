"""Canvas of a scene: maps of colours, shadows, labels and objects that are filled together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segearth.vocabulary import LAND_COVER

CLASSES = LAND_COVER
BARELAND, GRASS, PAVEMENT, ROAD, TREE, WATER, CROPLAND, BUILDING = range(len(CLASSES))
OBJECTS = ("car",)  # objects on the land covers, in a separate map

Points = NDArray[np.float64]  # (N, 2) as (x, y), in pixels
Colour = NDArray[np.float64]  # (3,) RGB in [0, 255]

SUPERSAMPLING = 2  # colours and shadows are drawn at twice the size, for smooth edges
SQUARE: Points = np.array([(-1.0, -1), (1, -1), (1, 1), (-1, 1)])


class Block(NamedTuple):
    """A rectangle (u0, v0) to (u1, v1) of the plan, in pixels before rotating and bending."""

    u0: float
    v0: float
    u1: float
    v1: float

    @property
    def size(self) -> tuple[float, float]:
        """Lengths along u and v."""
        return self.u1 - self.u0, self.v1 - self.v0

    def shrunk(self, along_u: float, along_v: float | None = None) -> Block:
        """Returns the block without a margin on each side, never inverted; a negative margin enlarges it."""
        du = min(along_u, self.size[0] / 2)
        dv = min(along_u if along_v is None else along_v, self.size[1] / 2)
        return Block(self.u0 + du, self.v0 + dv, self.u1 - du, self.v1 - dv)


class Canvas:
    """The maps of one scene, and the transform from the plan to the image."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        fine = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self.rng = rng
        self.colours = Image.new("RGB", fine)
        self.shadows = Image.new("L", fine)
        self.labels = Image.new("L", (width, height), GRASS)
        self.objects = Image.new("L", (width, height))
        maps = (self.colours, self.shadows, self.labels, self.objects)
        self._draw = tuple(ImageDraw.Draw(map_) for map_ in maps)
        turn = rng.uniform(0, 2 * np.pi)
        self._rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        self._centre = np.array([width / 2, height / 2])
        self._phase = rng.uniform(0, 2 * np.pi, 2)
        azimuth = rng.uniform(0, 2 * np.pi)
        self.sun = np.array([np.cos(azimuth), np.sin(azimuth)])  # unit vector towards the sun, in the image
        self.shadow_length = rng.uniform(0.5, 1.1)  # of an object one pixel high
        dry = rng.uniform(0, 1)
        self.grass = (1 - dry) * np.array([104.0, 128, 68]) + dry * np.array([148.0, 144, 92])
        self.leaves = (1 - dry) * np.array([56.0, 84, 46]) + dry * np.array([78.0, 88, 46])

    def to_image(self, points: Points) -> Points:
        """Converts plan points (N, 2) to the image: rotates and slightly bends the plan."""
        bend = 24 * np.sin(points[:, ::-1] * (2 * np.pi / 1100) + self._phase)
        turned: Points = (points + bend) @ self._rotation + self._centre
        return turned

    def fill(self, polygon: Points, colour: Colour, label: int | None = None) -> None:
        """Fills an image polygon in all maps and removes shadows from it; without a label only in the colours."""
        rgb = tuple(int(c) for c in np.clip(colour, 0, 255))
        fine = [tuple(p) for p in polygon * SUPERSAMPLING - 0.5]
        self._draw[0].polygon(fine, fill=rgb)
        if label is not None:
            self._draw[1].polygon(fine, fill=0)
            for draw, value in zip(self._draw[2:], (label, 0), strict=True):
                draw.polygon([tuple(p) for p in polygon - 0.5], fill=value)

    def mark_object(self, polygon: Points, name: str) -> None:
        """Fills an image polygon in the map of objects."""
        self._draw[3].polygon([tuple(p) for p in polygon - 0.5], fill=OBJECTS.index(name) + 1)

    def cast_shadow(self, polygon: Points, height: float) -> None:
        """Draws the shadow of an upright prism over the polygon, ``height`` pixels high."""
        moved = polygon - self.sun * self.shadow_length * height
        for i in range(len(polygon)):
            side = np.stack([polygon[i - 1], polygon[i], moved[i], moved[i - 1]])
            self._draw[1].polygon([tuple(p) for p in side * SUPERSAMPLING - 0.5], fill=255)
        self._draw[1].polygon([tuple(p) for p in moved * SUPERSAMPLING - 0.5], fill=255)

    def line(self, polyline: Points, colour: Colour, width: float) -> None:
        """Draws a line in the map of colours only."""
        rgb = tuple(int(c) for c in np.clip(colour, 0, 255))
        fine = [tuple(p) for p in polyline * SUPERSAMPLING - 0.5]
        self._draw[0].line(fine, fill=rgb, width=max(1, round(width * SUPERSAMPLING)))

    def crosses_only(self, polygon: Points, allowed: tuple[int, ...]) -> bool:
        """Whether the outline of a polygon, inside the image, crosses only allowed labels."""
        after = np.roll(polygon, -1, axis=0)
        outline = np.vstack([polygon + part * (after - polygon) for part in (0, 0.2, 0.4, 0.6, 0.8)])
        width, height = self.labels.size
        inside = [(int(x), int(y)) for x, y in outline if 0 <= x < width and 0 <= y < height]
        return {self.labels.getpixel(xy) for xy in inside} <= set(allowed)

    def vary(self, colour: Colour | tuple[int, ...], amount: float = 8.0) -> Colour:
        """Returns a colour with random brightness and tint."""
        return np.asarray(colour) + self.rng.normal(0, amount) + self.rng.normal(0, amount / 3, 3)

    def pick_colour(self, colours: tuple[tuple[int, ...], ...]) -> Colour:
        """Returns a random colour of a palette, varied by `vary`."""
        return self.vary(colours[self.rng.integers(len(colours))])


def rectangle(block: Block, step: float = 40.0) -> Points:
    """Returns the outline of a block, with a point at least every ``step`` pixels so that it can bend."""
    u0, v0, u1, v1 = block
    corners = np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])
    counts = [int(side // step) + 1 for side in (*block.size, *block.size)]
    sides = [np.linspace(corners[i], corners[(i + 1) % 4], n, endpoint=False) for i, n in enumerate(counts)]
    return np.vstack(sides)


def box(centre: Points, length: float, width: float, rotated: bool = False) -> Points:
    """Returns the corners of a rectangle around a plan point; its length is along u, or along v if ``rotated``."""
    half: Points = np.array([width, length] if rotated else [length, width]) / 2
    return centre + half * SQUARE


def ragged_disc(rng: np.random.Generator, centre: Points, radius: float, corners: int) -> Points:
    """Returns a polygon (corners, 2) around an image point, at about ``radius`` with random variation."""
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    rim: Points = radius * rng.uniform(0.85, 1.1, (corners, 1)) * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return centre + rim
