"""Drawn aerial scenes with exact labels: something to run on without a download.

A scene is drawn in three steps. Its plan cuts a rotated, gently bent plane into blocks by roads. Its painter
fills polygons into a colour map, a label map and a shadow map at once, so the labels are exact. At last the
colours get their texture, light, haze and sensor noise. One pixel stands for about 0.25 m.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from segearth.vocabulary import LAND_COVER

CLASSES = LAND_COVER
BARELAND, GRASS, PAVEMENT, ROAD, TREE, WATER, CROPLAND, BUILDING = range(len(CLASSES))
DEMO_SEED = 13  # the scene in segearth/data; not among those the small CLIP is trained on

Points = NDArray[np.float64]  # (N, 2) as (x, y), in pixels
Colour = NDArray[np.float64]  # (3,) RGB in [0, 255]

SUPERSAMPLING = 2  # colours and shadows are drawn at twice the size, for smooth edges
BLOCK = 500.0  # longest side of a block of land, in pixels
# One round of land uses; every round is shuffled, so that all classes are there once there are ten blocks.
LAND_USES = ("houses", "houses", "houses", "field", "field", "forest", "park", "yard", "yard", "bare")

ROOFS = ((172, 92, 68), (150, 76, 62), (104, 100, 104), (126, 98, 82), (186, 120, 88), (84, 84, 92))
FLAT_ROOFS = ((206, 206, 204), (176, 180, 186), (150, 120, 112), (120, 140, 160))
CROPS = ((124, 146, 70), (92, 128, 62), (206, 186, 116), (186, 160, 104), (134, 108, 80), (160, 168, 84))
CARS = ((232, 232, 232), (40, 42, 48), (150, 152, 158), (150, 40, 36), (50, 74, 120))
# Contrast of the fine (2 px), middle (9 px) and coarse (70 px) texture per class, in parts of the brightness.
TEXTURE = np.array(
    [
        (0.05, 0.06, 0.07),  # bareland
        (0.08, 0.07, 0.09),  # grass
        (0.03, 0.02, 0.04),  # pavement
        (0.03, 0.015, 0.04),  # road
        (0.12, 0.08, 0.06),  # tree
        (0.01, 0.03, 0.06),  # water
        (0.06, 0.05, 0.08),  # cropland
        (0.04, 0.02, 0.02),  # building
    ],
    dtype=np.float32,
)


SQUARE: Points = np.array([(-1.0, -1), (1, -1), (1, 1), (-1, 1)])


@dataclass(frozen=True)
class Scene:
    """A drawn aerial image and the class of each of its pixels.

    Attributes:
        image: (H, W, 3) uint8, RGB in [0, 255].
        labels: (H, W) uint8, indices into ``classes``.
        classes: names per class, the first is the main one and the others are synonyms.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    classes: tuple[tuple[str, ...], ...] = CLASSES


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
        """The block without a margin on each side, never inside out; a negative margin widens it."""
        du = min(along_u, self.size[0] / 2)
        dv = min(along_u if along_v is None else along_v, self.size[1] / 2)
        return Block(self.u0 + du, self.v0 + dv, self.u1 - du, self.v1 - dv)


class Painter:
    """Paints plan polygons into the colour, label and shadow maps of one scene."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        fine = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self.rng = rng
        self.colours = Image.new("RGB", fine)
        self.shadows = Image.new("L", fine)
        self.labels = Image.new("L", (width, height), GRASS)
        self._draw = ImageDraw.Draw(self.colours), ImageDraw.Draw(self.shadows), ImageDraw.Draw(self.labels)
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
        """Rotates and gently bends plan points (N, 2) into the image."""
        bend = 24 * np.sin(points[:, ::-1] * (2 * np.pi / 1100) + self._phase)
        turned: Points = (points + bend) @ self._rotation + self._centre
        return turned

    def fill(self, polygon: Points, colour: Colour, label: int | None = None) -> None:
        """Fills an image polygon; without a label only its colour. Whatever is filled is lit again."""
        rgb = tuple(int(c) for c in np.clip(colour, 0, 255))
        fine = [tuple(p) for p in polygon * SUPERSAMPLING - 0.5]
        self._draw[0].polygon(fine, fill=rgb)
        if label is not None:
            self._draw[1].polygon(fine, fill=0)
            self._draw[2].polygon([tuple(p) for p in polygon - 0.5], fill=label)

    def cast_shadow(self, polygon: Points, height: float) -> None:
        """Darkens what an upright prism over the polygon, ``height`` pixels high, keeps from the sun."""
        moved = polygon - self.sun * self.shadow_length * height
        for i in range(len(polygon)):
            side = np.stack([polygon[i - 1], polygon[i], moved[i], moved[i - 1]])
            self._draw[1].polygon([tuple(p) for p in side * SUPERSAMPLING - 0.5], fill=255)
        self._draw[1].polygon([tuple(p) for p in moved * SUPERSAMPLING - 0.5], fill=255)

    def line(self, polyline: Points, colour: Colour, width: float) -> None:
        """Draws a line in the colours only."""
        rgb = tuple(int(c) for c in np.clip(colour, 0, 255))
        fine = [tuple(p) for p in polyline * SUPERSAMPLING - 0.5]
        self._draw[0].line(fine, fill=rgb, width=max(1, round(width * SUPERSAMPLING)))

    def only_on(self, polygon: Points, allowed: tuple[int, ...]) -> bool:
        """Whether the outline, as far as it lies in the image, crosses only the allowed labels."""
        after = np.roll(polygon, -1, axis=0)
        outline = np.vstack([polygon + part * (after - polygon) for part in (0, 0.2, 0.4, 0.6, 0.8)])
        width, height = self.labels.size
        inside = [(int(x), int(y)) for x, y in outline if 0 <= x < width and 0 <= y < height]
        return {self.labels.getpixel(xy) for xy in inside} <= set(allowed)

    def vary(self, colour: Colour | tuple[int, ...], amount: float = 8.0) -> Colour:
        """The colour, a little brighter or darker and of another tint."""
        return np.asarray(colour) + self.rng.normal(0, amount) + self.rng.normal(0, amount / 3, 3)

    def choice(self, colours: tuple[tuple[int, ...], ...]) -> Colour:
        """A varied colour of a palette."""
        return self.vary(colours[self.rng.integers(len(colours))])


def rectangle(block: Block, step: float = 40.0) -> Points:
    """The outline of a block, with a point at least every ``step`` pixels so that it can bend."""
    u0, v0, u1, v1 = block
    corners = np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])
    counts = [int(side // step) + 1 for side in (*block.size, *block.size)]
    sides = [np.linspace(corners[i], corners[(i + 1) % 4], n, endpoint=False) for i, n in enumerate(counts)]
    return np.vstack(sides)


def box(centre: Points, length: float, width: float, turned: bool = False) -> Points:
    """The four corners of a rectangle around a plan point, its length along u, or along v if ``turned``."""
    half: Points = np.array([width, length] if turned else [length, width]) / 2
    return centre + half * SQUARE


def ragged_disc(rng: np.random.Generator, centre: Points, radius: float, corners: int) -> Points:
    """A polygon (corners, 2) around an image point, as far from it as ``radius`` or a little less or more."""
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    rim: Points = radius * rng.uniform(0.85, 1.1, (corners, 1)) * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return centre + rim


def lay_out(rng: np.random.Generator, land: Block, depth: int = 0) -> tuple[list[Block], list[Block]]:
    """Splits land into blocks and the roads between them, the first roads being the widest."""
    across = 0 if land.size[0] >= land.size[1] else 1
    if land.size[across] <= BLOCK:
        return [land], []
    cut = land[across] + land.size[across] * rng.uniform(0.4, 0.6)
    half = (23.0 if depth < 2 else 17.0) * rng.uniform(0.9, 1.1)
    bounds = [[*land], [*land], [*land]]  # of the first part, the second part, and the road
    bounds[0][across + 2] = bounds[2][across] = cut - half
    bounds[1][across] = bounds[2][across + 2] = cut + half
    first, second = (lay_out(rng, Block(*b), depth + 1) for b in bounds[:2])
    return first[0] + second[0], [Block(*bounds[2]), *first[1], *second[1]]


def draw_field(painter: Painter, block: Block) -> None:
    """Parcels of cropland side by side, with furrows along them."""
    rng, along = painter.rng, int(painter.rng.integers(2))
    edges = np.linspace(block[1 - along], block[3 - along], 1 + max(1, round(block.size[1 - along] / 170)))
    for low, high in pairwise(edges):
        bounds = [*block.shrunk(5)]
        bounds[1 - along], bounds[3 - along] = low + 3, high - 3
        parcel, colour = Block(*bounds), painter.choice(CROPS)
        painter.fill(painter.to_image(rectangle(parcel)), colour, CROPLAND)
        spacing, contrast = rng.uniform(8, 15), rng.uniform(0.80, 0.92)
        for across in np.arange(parcel[1 - along] + spacing / 2, parcel[3 - along], spacing):
            ends = np.linspace(parcel[along], parcel[along + 2], 12)
            row = np.stack([ends, np.full(12, across)], axis=1)
            row = painter.to_image(row if along == 0 else row[:, ::-1])
            painter.line(row, colour * contrast * rng.uniform(0.96, 1.04), spacing * 0.45)


def draw_ground(painter: Painter, block: Block, use: str) -> None:
    """The ground of a block, without what stands on it."""
    outline = painter.to_image(rectangle(block))
    painter.fill(outline, painter.vary(painter.grass, 5), GRASS)
    if use == "field":
        draw_field(painter, block)
    elif use == "forest":
        painter.fill(outline, painter.leaves * 0.7, TREE)
    elif use == "bare":
        sand = np.array([188.0, 164, 132]) if painter.rng.random() < 0.6 else np.array([168.0, 138, 112])
        painter.fill(outline, painter.vary(sand), BARELAND)
    elif use == "yard":
        inner = painter.to_image(rectangle(block.shrunk(8)))
        painter.fill(inner, painter.vary((164, 162, 160)), PAVEMENT)


def draw_river(painter: Painter, reach: float) -> None:
    """A meandering river across the plan, with a sandy rim."""
    rng = painter.rng
    along = np.linspace(-reach, reach, 160)
    swing = rng.uniform(50, 90) * np.sin(along / rng.uniform(110, 160) + rng.uniform(0, 6))
    middle = rng.uniform(-0.3, 0.3) * reach + swing
    half = 62 + 14 * np.sin(along / 83 + rng.uniform(0, 6)) + rng.uniform(-6, 10)
    water = painter.vary((66, 92, 98)) if rng.random() < 0.6 else painter.vary((84, 98, 84))
    flip = rng.random() < 0.5
    for rim, colour, label in ((5, painter.vary((150, 140, 112), 5), GRASS), (0, water, WATER)):
        banks = [np.stack([along, middle - half - rim], 1), np.stack([along, middle + half + rim], 1)[::-1]]
        polygon = np.vstack(banks)
        painter.fill(painter.to_image(polygon[:, ::-1] if flip else polygon), colour, label)


def draw_roads(painter: Painter, roads: list[Block]) -> None:
    """Asphalt with light kerbs; the wide roads have a dashed line in the middle."""
    asphalt = painter.vary((104, 104, 108), 7)
    for rim, colour in ((2.0, np.array([170.0, 168, 162])), (0.0, asphalt)):
        for road in roads:  # each runs on into the one it meets, over that one's kerb
            wider = road.shrunk(-4, -rim) if road.size[0] > road.size[1] else road.shrunk(-rim, -4)
            painter.fill(painter.to_image(rectangle(wider)), colour, ROAD)
    for road in roads:
        along = int(road.size[1] > road.size[0])
        if road.size[1 - along] > 40:
            for start in np.arange(road[along], road[along + 2] - 16, 36):
                dash = np.full((2, 2), (road[1 - along] + road[3 - along]) / 2)
                dash[:, along] = start, start + 16
                painter.line(painter.to_image(dash), np.array([228.0, 226, 214]), 1.5)
            for _ in range(int(road.size[along] / 170)):
                lane = painter.rng.choice([-0.25, 0.25]) * road.size[1 - along]
                place = np.array([(road[0] + road[2]) / 2, (road[1] + road[3]) / 2])
                place[along] = painter.rng.uniform(road[along], road[along + 2])
                place[1 - along] += lane
                draw_car(painter, place, along == 1)


def draw_car(painter: Painter, place: Points, turned: bool) -> None:
    """A parked or driving car; the label below it stays."""
    colour, body = painter.choice(CARS), painter.to_image(box(place, 17, 8, turned))
    painter.fill(body - painter.sun * 3, np.array([54.0, 54, 60]))
    painter.fill(body, colour)
    painter.fill(painter.to_image(box(place, 9, 7, turned)), np.array([50.0, 56, 64]))
    painter.fill(painter.to_image(box(place, 5, 6.5, turned)), colour)


def draw_roof(painter: Painter, corners: Points, colour: Colour) -> None:
    """A gable or hip roof over four corners: every facet as bright as it faces the sun."""
    sides = np.hypot(*(corners - np.roll(corners, -1, axis=0)).T)
    if sides[0] < sides[1]:  # so that the ridge always runs from the side 3-0 to the side 1-2
        corners, sides = np.roll(corners, -1, axis=0), sides[1:]
    painter.fill(corners, colour, BUILDING)
    ends = (corners[[3, 1]] + corners[[0, 2]]) / 2
    inset = 0.0 if painter.rng.random() < 0.45 else 0.5 * sides[1] / sides[0]
    ridge = ends + inset * (ends[::-1] - ends)
    for i, top in enumerate((ridge[::-1], ridge[1:], ridge, ridge[:1])):
        eaves = corners[[i, (i + 1) % 4]]
        outward = eaves.mean(axis=0) - corners.mean(axis=0)
        light = float(outward @ painter.sun / max(np.hypot(*outward), 1e-6))
        painter.fill(np.vstack([eaves, top]), colour * (1.0 + 0.26 * light))
    painter.line(ridge, colour * 1.25, 1.5)


def draw_house(painter: Painter, place: Points, turned: bool) -> None:
    """A house with a pitched roof, some with a wing, unless water or a road is in its way."""
    rng = painter.rng
    length, width = rng.uniform(68, 92), rng.uniform(46, 58)
    parts = [(place, length, width, turned)]
    if rng.random() < 0.4:
        shift = np.array([rng.choice([-1, 1]) * (length - width) / 2, rng.choice([-1, 1]) * width * 0.35])
        parts.insert(0, (place + (shift[::-1] if turned else shift), width * 1.25, width * 0.85, not turned))
    outlines = [painter.to_image(box(*part)) for part in parts]
    if not all(painter.only_on(outline, (GRASS, PAVEMENT)) for outline in outlines):
        return
    for outline in outlines:
        painter.cast_shadow(outline, 22)
    colour = painter.choice(ROOFS)
    for outline in outlines:
        draw_roof(painter, outline, colour)
    chimney = place + rng.uniform(-12, 12, 2)
    painter.fill(painter.to_image(box(chimney - 1.5, 7, 7)), colour * 0.5)
    painter.fill(painter.to_image(box(chimney, 5, 5)), np.array([150.0, 140, 134]))


def draw_hall(painter: Painter, place: Points, length: float, width: float) -> None:
    """A flat-roofed hall with a parapet and a few machines on top."""
    outline = painter.to_image(box(place, length, width))
    if not painter.only_on(outline, (PAVEMENT,)):
        return
    painter.cast_shadow(outline, 28)
    colour = painter.choice(FLAT_ROOFS)
    painter.fill(outline, colour * 1.12, BUILDING)
    painter.fill(painter.to_image(box(place, length - 6, width - 6)), colour)
    for offset in np.arange(-length / 2 + 16, length / 2 - 8, 18):
        seam = place + np.array([(offset, -width / 2 + 4), (offset, width / 2 - 4)])
        painter.line(painter.to_image(seam), colour * 0.94, 1)
    for _ in range(int(length * width / 4000)):
        machine = place + painter.rng.uniform(-0.38, 0.38, 2) * (length, width)
        size = painter.rng.uniform(8, 15, 2)
        painter.fill(painter.to_image(box(machine, *size)) - painter.sun * 5, colour * 0.55)
        painter.fill(painter.to_image(box(machine, *size)), painter.vary((158, 160, 166)))


def draw_tree(painter: Painter, middle: Points, radius: float) -> None:
    """A crown around an image point: a ragged disc with lumps that are brighter towards the sun."""
    rng = painter.rng
    crown, colour = ragged_disc(rng, middle, radius, 12), painter.vary(painter.leaves, 6)
    painter.cast_shadow(crown, radius)
    painter.fill(crown, colour * 0.8, TREE)
    for _ in range(int(3 + radius / 3)):
        offset = rng.uniform(-0.6, 0.6, 2)
        light = 1.0 + 0.42 * float(offset @ painter.sun)
        lump = ragged_disc(rng, middle + offset * radius, radius * rng.uniform(0.22, 0.36), 7)
        painter.fill(lump, colour * light)


def draw_grove(painter: Painter, block: Block, count: int, radius: tuple[float, float]) -> None:
    """Trees scattered over a block, on grass or among trees only."""
    for place in painter.rng.uniform(block[:2], block[2:], (count, 2)):
        middle = painter.to_image(place[None])[0]
        size = painter.rng.uniform(*radius)
        if painter.only_on(middle + size * 0.6 * SQUARE, (GRASS, TREE)):
            draw_tree(painter, middle, size)


def draw_houses(painter: Painter, block: Block) -> None:
    """One or two rows of houses along u, each in a yard with a driveway and trees."""
    rng = painter.rng
    inner = block.shrunk(14)
    rows, lots = max(1, round(inner.size[1] / 160)), max(1, round(inner.size[0] / 125))
    depth, pitch = inner.size[1] / rows, inner.size[0] / lots
    for row in range(rows):
        for lot in range(lots):
            place = np.array([inner.u0 + (lot + 0.5) * pitch, inner.v0 + (row + 0.5) * depth])
            place += rng.uniform(-8, 8, 2)
            edge = block.v0 if row < rows / 2 else block.v1
            drive = Block(place[0] - 46, min(place[1], edge), place[0] - 20, max(place[1], edge))
            outline = painter.to_image(rectangle(drive))
            if rng.random() < 0.6 and painter.only_on(outline[::3], (GRASS,)):
                painter.fill(outline, painter.vary((168, 164, 158)), PAVEMENT)
            draw_house(painter, place, bool(rng.random() < 0.3))
    draw_grove(painter, inner, int(inner.size[0] * inner.size[1] / 7000), (13, 21))


def draw_yard(painter: Painter, block: Block) -> None:
    """A hall on one half of a paved yard, rows of parked cars on the other."""
    rng, inner = painter.rng, block.shrunk(30)
    length, width = inner.size
    middle = np.array([(inner.u0 + inner.u1) / 2, inner.v0 + width * 0.26])
    draw_hall(painter, middle, length * rng.uniform(0.7, 1.0), width * 0.5)
    for v in np.arange(inner.v0 + width * 0.5 + 46, inner.v1 - 10, 56):
        for u in np.arange(inner.u0, inner.u1 - 12, 14):
            stall = np.array([(u, v), (u, v + 22)])
            outline = painter.to_image(stall)
            if painter.only_on(outline, (PAVEMENT,)):
                painter.line(outline, np.array([222.0, 222, 216]), 1)
                if rng.random() < 0.45:
                    draw_car(painter, np.array([u + 7, v + 11]), True)


def draw_objects(painter: Painter, block: Block, use: str) -> None:
    """What stands on a block: houses, halls, trees."""
    area = block.size[0] * block.size[1]
    if use == "houses":
        draw_houses(painter, block)
    elif use == "yard":
        draw_yard(painter, block)
    elif use == "forest":
        draw_grove(painter, block.shrunk(6), int(area / 240), (10, 19))
    elif use == "park":
        for _ in range(3):
            corner = painter.rng.uniform(block[:2], block[2:])
            near = Block(*(corner - 70), *(corner + 70))
            cluster = Block(*np.maximum(near[:2], block[:2]), *np.minimum(near[2:], block[2:]))
            draw_grove(painter, cluster.shrunk(8), 34, (12, 20))


def noise(rng: np.random.Generator, height: int, width: int, cell: float) -> NDArray[np.float32]:
    """Smooth value noise (height, width) of about unit variance with bumps of ``cell`` pixels."""
    grid = rng.standard_normal((int(height / cell) + 4, int(width / cell) + 4)).astype(np.float32)
    extent = (1.0, 1.0, 1 + width / cell, 1 + height / cell)
    smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=extent)
    bumps: NDArray[np.float32] = np.asarray(smooth) * np.float32(1.4)  # smoothing took variance
    return bumps


def develop(painter: Painter) -> NDArray[np.uint8]:
    """Turns the painted maps into a photograph: texture, sunlight, haze, blur and sensor noise."""
    rng, (width, height) = painter.rng, painter.labels.size
    colours = np.asarray(painter.colours.reduce(SUPERSAMPLING), dtype=np.float32)
    shadows = np.asarray(painter.shadows.reduce(SUPERSAMPLING), dtype=np.float32)[..., None] / 255
    labels = np.asarray(painter.labels)
    detail = np.ones((height, width), dtype=np.float32)
    for i, cell in enumerate((2, 9, 70)):
        detail += TEXTURE[labels, i] * noise(rng, height, width, cell)
    image = colours * detail[..., None]
    natural = np.isin(labels, (BARELAND, GRASS, TREE, CROPLAND))[..., None]  # varies in hue too
    image += natural * noise(rng, height, width, 110)[..., None] * np.array([5, 0, -3], dtype=np.float32)
    water = Image.fromarray((labels == WATER).astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(14))
    depth = np.asarray(water, dtype=np.float32)[..., None] / 255
    image *= np.where((labels == WATER)[..., None], 1.3 - 0.45 * depth, 1)
    image *= 1 - shadows * np.array([0.60, 0.56, 0.48], dtype=np.float32)  # the sky's light is blue
    haze = rng.uniform(0.0, 0.12)
    light = rng.uniform(0.9, 1.12) * (1 + rng.normal(0, 0.02, 3))
    image = (1 - haze) * image * light + haze * np.array([205.0, 212, 222])
    blurred = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    grain = rng.standard_normal((height, width, 3), dtype=np.float32) * 2.2
    photograph: NDArray[np.uint8] = np.clip(np.asarray(blurred) + grain + 0.5, 0, 255).astype(np.uint8)
    return photograph


def draw_scene(seed: int, height: int = 1024, width: int = 1024) -> Scene:
    """Draws a scene of fields, woods, houses, yards, roads and a river, at about 0.25 m per pixel.

    Args:
        seed: every seed is another scene, light and season; the same seed is always the same scene.
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
    painter = Painter(rng, height, width)
    reach = float(np.hypot(height, width)) / 2 + 40
    blocks, roads = lay_out(rng, Block(-reach, -reach, reach, reach))
    blocks.sort(key=lambda b: np.hypot(b.u0 + b.u1, b.v0 + b.v1))  # so that a round of uses is in the picture
    uses = [use for _ in range(1 + len(blocks) // len(LAND_USES)) for use in rng.permutation(LAND_USES)]
    for block, use in zip(blocks, uses, strict=False):
        draw_ground(painter, block, use)
    draw_river(painter, reach)
    draw_roads(painter, roads)
    for block, use in zip(blocks, uses, strict=False):
        draw_objects(painter, block, use)
    return Scene(develop(painter), np.array(painter.labels))


def save_scene(scene: Scene, folder: Path) -> None:
    """Writes ``scene.jpg`` and ``scene_labels.png`` (8 bits, one channel), as in segearth/data."""
    Image.fromarray(scene.image).save(folder / "scene.jpg", quality=92)
    Image.fromarray(scene.labels).save(folder / "scene_labels.png", optimize=True)
