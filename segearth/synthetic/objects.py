"""Objects on the land: houses, halls, trees and cars."""

from __future__ import annotations

import numpy as np

from segearth.synthetic.canvas import (
    BUILDING,
    GRASS,
    PAVEMENT,
    SQUARE,
    TREE,
    Block,
    Canvas,
    Colour,
    Points,
    box,
    ragged_disc,
    rectangle,
)

ROOFS = ((172, 92, 68), (150, 76, 62), (104, 100, 104), (126, 98, 82), (186, 120, 88), (84, 84, 92))
FLAT_ROOFS = ((206, 206, 204), (176, 180, 186), (150, 120, 112), (120, 140, 160))
CARS = ((232, 232, 232), (40, 42, 48), (150, 152, 158), (150, 40, 36), (50, 74, 120))


def draw_car(canvas: Canvas, centre: Points, rotated: bool) -> None:
    """Draws a car in the maps of colours and objects; the label below it is unchanged."""
    colour, body = canvas.pick_colour(CARS), canvas.to_image(box(centre, 17, 8, rotated))
    canvas.fill(body - canvas.sun * 3, np.array([54.0, 54, 60]))
    canvas.fill(body, colour)
    canvas.mark_object(body, "car")
    canvas.fill(canvas.to_image(box(centre, 9, 7, rotated)), np.array([50.0, 56, 64]))
    canvas.fill(canvas.to_image(box(centre, 5, 6.5, rotated)), colour)


def draw_roof(canvas: Canvas, corners: Points, colour: Colour) -> None:
    """Draws a gable or hip roof over four corners; facets towards the sun are brighter."""
    sides = np.hypot(*(corners - np.roll(corners, -1, axis=0)).T)
    if sides[0] < sides[1]:  # so that the ridge always goes from side 3-0 to side 1-2
        corners, sides = np.roll(corners, -1, axis=0), sides[1:]
    canvas.fill(corners, colour, BUILDING)
    ends = (corners[[3, 1]] + corners[[0, 2]]) / 2
    inset = 0.0 if canvas.rng.random() < 0.45 else 0.5 * sides[1] / sides[0]
    ridge = ends + inset * (ends[::-1] - ends)
    for i, top in enumerate((ridge[::-1], ridge[1:], ridge, ridge[:1])):
        eaves = corners[[i, (i + 1) % 4]]
        outward = eaves.mean(axis=0) - corners.mean(axis=0)
        light = float(outward @ canvas.sun / max(np.hypot(*outward), 1e-6))
        canvas.fill(np.vstack([eaves, top]), colour * (1.0 + 0.26 * light))
    canvas.line(ridge, colour * 1.25, 1.5)


def draw_house(canvas: Canvas, centre: Points, rotated: bool) -> None:
    """Draws a house with a pitched roof, some with a wing, unless it would touch water or a road."""
    rng = canvas.rng
    length, width = rng.uniform(68, 92), rng.uniform(46, 58)
    parts = [(centre, length, width, rotated)]
    if rng.random() < 0.4:
        shift = np.array([rng.choice([-1, 1]) * (length - width) / 2, rng.choice([-1, 1]) * width * 0.35])
        parts.insert(0, (centre + (shift[::-1] if rotated else shift), width * 1.25, width * 0.85, not rotated))
    outlines = [canvas.to_image(box(*part)) for part in parts]
    if not all(canvas.crosses_only(outline, (GRASS, PAVEMENT)) for outline in outlines):
        return
    for outline in outlines:
        canvas.cast_shadow(outline, 22)
    colour = canvas.pick_colour(ROOFS)
    for outline in outlines:
        draw_roof(canvas, outline, colour)
    chimney = centre + rng.uniform(-12, 12, 2)
    canvas.fill(canvas.to_image(box(chimney - 1.5, 7, 7)), colour * 0.5)
    canvas.fill(canvas.to_image(box(chimney, 5, 5)), np.array([150.0, 140, 134]))


def draw_hall(canvas: Canvas, centre: Points, length: float, width: float) -> None:
    """Draws a hall with a flat roof, a parapet and a few machines on top."""
    outline = canvas.to_image(box(centre, length, width))
    if not canvas.crosses_only(outline, (PAVEMENT,)):
        return
    canvas.cast_shadow(outline, 28)
    colour = canvas.pick_colour(FLAT_ROOFS)
    canvas.fill(outline, colour * 1.12, BUILDING)
    canvas.fill(canvas.to_image(box(centre, length - 6, width - 6)), colour)
    for offset in np.arange(-length / 2 + 16, length / 2 - 8, 18):
        seam = centre + np.array([(offset, -width / 2 + 4), (offset, width / 2 - 4)])
        canvas.line(canvas.to_image(seam), colour * 0.94, 1)
    for _ in range(int(length * width / 4000)):
        machine = centre + canvas.rng.uniform(-0.38, 0.38, 2) * (length, width)
        size = canvas.rng.uniform(8, 15, 2)
        canvas.fill(canvas.to_image(box(machine, *size)) - canvas.sun * 5, colour * 0.55)
        canvas.fill(canvas.to_image(box(machine, *size)), canvas.vary((158, 160, 166)))


def draw_tree(canvas: Canvas, middle: Points, radius: float) -> None:
    """Draws a tree crown around an image point: an irregular disc with parts that are brighter towards the sun."""
    rng = canvas.rng
    crown, colour = ragged_disc(rng, middle, radius, 12), canvas.vary(canvas.leaves, 6)
    canvas.cast_shadow(crown, radius)
    canvas.fill(crown, colour * 0.8, TREE)
    for _ in range(int(3 + radius / 3)):
        offset = rng.uniform(-0.6, 0.6, 2)
        light = 1.0 + 0.42 * float(offset @ canvas.sun)
        lump = ragged_disc(rng, middle + offset * radius, radius * rng.uniform(0.22, 0.36), 7)
        canvas.fill(lump, colour * light)


def draw_grove(canvas: Canvas, block: Block, count: int, radius: tuple[float, float]) -> None:
    """Draws trees at random positions in a block, only on grass or trees."""
    for centre in canvas.rng.uniform(block[:2], block[2:], (count, 2)):
        middle = canvas.to_image(centre[None])[0]
        size = canvas.rng.uniform(*radius)
        if canvas.crosses_only(middle + size * 0.6 * SQUARE, (GRASS, TREE)):
            draw_tree(canvas, middle, size)


def draw_houses(canvas: Canvas, block: Block) -> None:
    """Draws rows of houses along u, each with a driveway and trees."""
    rng = canvas.rng
    inner = block.shrunk(14)
    rows, lots = max(1, round(inner.size[1] / 160)), max(1, round(inner.size[0] / 125))
    depth, pitch = inner.size[1] / rows, inner.size[0] / lots
    for row in range(rows):
        for lot in range(lots):
            centre = np.array([inner.u0 + (lot + 0.5) * pitch, inner.v0 + (row + 0.5) * depth])
            centre += rng.uniform(-8, 8, 2)
            edge = block.v0 if row < rows / 2 else block.v1
            drive = Block(centre[0] - 46, min(centre[1], edge), centre[0] - 20, max(centre[1], edge))
            outline = canvas.to_image(rectangle(drive))
            if rng.random() < 0.6 and canvas.crosses_only(outline[::3], (GRASS,)):
                canvas.fill(outline, canvas.vary((168, 164, 158)), PAVEMENT)
            draw_house(canvas, centre, bool(rng.random() < 0.3))
    draw_grove(canvas, inner, int(inner.size[0] * inner.size[1] / 7000), (13, 21))


def draw_yard(canvas: Canvas, block: Block) -> None:
    """Draws a hall on one half of a paved yard and rows of parked cars on the other."""
    rng, inner = canvas.rng, block.shrunk(30)
    length, width = inner.size
    middle = np.array([(inner.u0 + inner.u1) / 2, inner.v0 + width * 0.26])
    draw_hall(canvas, middle, length * rng.uniform(0.7, 1.0), width * 0.5)
    for v in np.arange(inner.v0 + width * 0.5 + 46, inner.v1 - 10, 56):
        for u in np.arange(inner.u0, inner.u1 - 12, 14):
            stall = np.array([(u, v), (u, v + 22)])
            outline = canvas.to_image(stall)
            if canvas.crosses_only(outline, (PAVEMENT,)):
                canvas.line(outline, np.array([222.0, 222, 216]), 1)
                if rng.random() < 0.45:
                    draw_car(canvas, np.array([u + 7, v + 11]), True)


def draw_objects(canvas: Canvas, block: Block, use: str) -> None:
    """Draws the objects of a block, depending on its land use."""
    area = block.size[0] * block.size[1]
    if use == "houses":
        draw_houses(canvas, block)
    elif use == "yard":
        draw_yard(canvas, block)
    elif use == "forest":
        draw_grove(canvas, block.shrunk(6), int(area / 240), (10, 19))
    elif use == "park":
        for _ in range(3):
            corner = canvas.rng.uniform(block[:2], block[2:])
            near = Block(*(corner - 70), *(corner + 70))
            cluster = Block(*np.maximum(near[:2], block[:2]), *np.minimum(near[2:], block[2:]))
            draw_grove(canvas, cluster.shrunk(8), 34, (12, 20))
