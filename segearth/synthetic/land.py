"""Land of a scene: blocks between roads, their land use, fields and the river."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from segearth.synthetic.canvas import (
    BARELAND,
    CROPLAND,
    GRASS,
    PAVEMENT,
    ROAD,
    TREE,
    WATER,
    Block,
    Canvas,
    rectangle,
)
from segearth.synthetic.objects import draw_car

BLOCK = 500.0  # longest side of a block of land, in pixels
# One round of land uses; every round is shuffled, so that ten blocks contain all classes.
LAND_USES = ("houses", "houses", "houses", "field", "field", "forest", "park", "yard", "yard", "bare")
CROPS = ((124, 146, 70), (92, 128, 62), (206, 186, 116), (186, 160, 104), (134, 108, 80), (160, 168, 84))


def split_land(rng: np.random.Generator, land: Block, depth: int = 0) -> tuple[list[Block], list[Block]]:
    """Splits land recursively into blocks and the roads between them; the first roads are the widest."""
    across = 0 if land.size[0] >= land.size[1] else 1
    if land.size[across] <= BLOCK:
        return [land], []
    cut = land[across] + land.size[across] * rng.uniform(0.4, 0.6)
    half = (23.0 if depth < 2 else 17.0) * rng.uniform(0.9, 1.1)
    bounds = [[*land], [*land], [*land]]  # of the first part, the second part, and the road
    bounds[0][across + 2] = bounds[2][across] = cut - half
    bounds[1][across] = bounds[2][across + 2] = cut + half
    first, second = (split_land(rng, Block(*b), depth + 1) for b in bounds[:2])
    return first[0] + second[0], [Block(*bounds[2]), *first[1], *second[1]]


def draw_field(canvas: Canvas, block: Block) -> None:
    """Draws parallel parcels of cropland with furrows."""
    rng, along = canvas.rng, int(canvas.rng.integers(2))
    edges = np.linspace(block[1 - along], block[3 - along], 1 + max(1, round(block.size[1 - along] / 170)))
    for low, high in pairwise(edges):
        bounds = [*block.shrunk(5)]
        bounds[1 - along], bounds[3 - along] = low + 3, high - 3
        parcel, colour = Block(*bounds), canvas.pick_colour(CROPS)
        canvas.fill(canvas.to_image(rectangle(parcel)), colour, CROPLAND)
        spacing, contrast = rng.uniform(8, 15), rng.uniform(0.80, 0.92)
        for across in np.arange(parcel[1 - along] + spacing / 2, parcel[3 - along], spacing):
            ends = np.linspace(parcel[along], parcel[along + 2], 12)
            row = np.stack([ends, np.full(12, across)], axis=1)
            row = canvas.to_image(row if along == 0 else row[:, ::-1])
            canvas.line(row, colour * contrast * rng.uniform(0.96, 1.04), spacing * 0.45)


def draw_ground(canvas: Canvas, block: Block, use: str) -> None:
    """Draws the ground of a block, without objects."""
    outline = canvas.to_image(rectangle(block))
    canvas.fill(outline, canvas.vary(canvas.grass, 5), GRASS)
    if use == "field":
        draw_field(canvas, block)
    elif use == "forest":
        canvas.fill(outline, canvas.leaves * 0.7, TREE)
    elif use == "bare":
        sand = np.array([188.0, 164, 132]) if canvas.rng.random() < 0.6 else np.array([168.0, 138, 112])
        canvas.fill(outline, canvas.vary(sand), BARELAND)
    elif use == "yard":
        inner = canvas.to_image(rectangle(block.shrunk(8)))
        canvas.fill(inner, canvas.vary((164, 162, 160)), PAVEMENT)


def draw_river(canvas: Canvas, reach: float) -> None:
    """Draws a meandering river across the plan, with a sandy bank."""
    rng = canvas.rng
    along = np.linspace(-reach, reach, 160)
    swing = rng.uniform(50, 90) * np.sin(along / rng.uniform(110, 160) + rng.uniform(0, 6))
    middle = rng.uniform(-0.3, 0.3) * reach + swing
    half = 62 + 14 * np.sin(along / 83 + rng.uniform(0, 6)) + rng.uniform(-6, 10)
    water = canvas.vary((66, 92, 98)) if rng.random() < 0.6 else canvas.vary((84, 98, 84))
    flip = rng.random() < 0.5
    for rim, colour, label in ((5, canvas.vary((150, 140, 112), 5), GRASS), (0, water, WATER)):
        banks = [np.stack([along, middle - half - rim], 1), np.stack([along, middle + half + rim], 1)[::-1]]
        polygon = np.vstack(banks)
        canvas.fill(canvas.to_image(polygon[:, ::-1] if flip else polygon), colour, label)


def draw_roads(canvas: Canvas, roads: list[Block]) -> None:
    """Draws asphalt roads with light kerbs; wide roads get a dashed centre line and cars."""
    asphalt = canvas.vary((104, 104, 108), 7)
    for rim, colour in ((2.0, np.array([170.0, 168, 162])), (0.0, asphalt)):
        for road in roads:  # each road is extended over the kerb of the road that it meets
            wider = road.shrunk(-4, -rim) if road.size[0] > road.size[1] else road.shrunk(-rim, -4)
            canvas.fill(canvas.to_image(rectangle(wider)), colour, ROAD)
    for road in roads:
        along = int(road.size[1] > road.size[0])
        if road.size[1 - along] > 40:
            for start in np.arange(road[along], road[along + 2] - 16, 36):
                dash = np.full((2, 2), (road[1 - along] + road[3 - along]) / 2)
                dash[:, along] = start, start + 16
                canvas.line(canvas.to_image(dash), np.array([228.0, 226, 214]), 1.5)
            for _ in range(int(road.size[along] / 170)):
                lane = canvas.rng.choice([-0.25, 0.25]) * road.size[1 - along]
                centre = np.array([(road[0] + road[2]) / 2, (road[1] + road[3]) / 2])
                centre[along] = canvas.rng.uniform(road[along], road[along + 2])
                centre[1 - along] += lane
                draw_car(canvas, centre, along == 1)
