"""Rendering of drawn maps as a photograph: texture, sunlight, haze, blur and sensor noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segearth.synthetic.canvas import BARELAND, CROPLAND, GRASS, SUPERSAMPLING, TREE, WATER, Canvas

# Contrast of the fine (2 px), middle (9 px) and coarse (70 px) texture per class, relative to the brightness.
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


def noise(rng: np.random.Generator, height: int, width: int, cell: float) -> NDArray[np.float32]:
    """Returns smooth value noise (height, width) of about unit variance, with features of ``cell`` pixels."""
    grid = rng.standard_normal((int(height / cell) + 4, int(width / cell) + 4)).astype(np.float32)
    extent = (1.0, 1.0, 1 + width / cell, 1 + height / cell)
    smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=extent)
    bumps: NDArray[np.float32] = np.asarray(smooth) * np.float32(1.4)  # compensates the variance lost by smoothing
    return bumps


def render_photograph(canvas: Canvas) -> NDArray[np.uint8]:
    """Renders the drawn maps as a photograph (H, W, 3) uint8, with texture, light, haze, blur and noise."""
    rng, (width, height) = canvas.rng, canvas.labels.size
    colours = np.asarray(canvas.colours.reduce(SUPERSAMPLING), dtype=np.float32)
    shadows = np.asarray(canvas.shadows.reduce(SUPERSAMPLING), dtype=np.float32)[..., None] / 255
    labels = np.asarray(canvas.labels)
    detail = np.ones((height, width), dtype=np.float32)
    for i, cell in enumerate((2, 9, 70)):
        detail += TEXTURE[labels, i] * noise(rng, height, width, cell)
    image = colours * detail[..., None]
    natural = np.isin(labels, (BARELAND, GRASS, TREE, CROPLAND))[..., None]  # vegetation and soil vary also in hue
    image += natural * noise(rng, height, width, 110)[..., None] * np.array([5, 0, -3], dtype=np.float32)
    water = Image.fromarray((labels == WATER).astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(14))
    depth = np.asarray(water, dtype=np.float32)[..., None] / 255
    image *= np.where((labels == WATER)[..., None], 1.3 - 0.45 * depth, 1)
    image *= 1 - shadows * np.array([0.60, 0.56, 0.48], dtype=np.float32)  # skylight is blue
    haze = rng.uniform(0.0, 0.12)
    light = rng.uniform(0.9, 1.12) * (1 + rng.normal(0, 0.02, 3))
    image = (1 - haze) * image * light + haze * np.array([205.0, 212, 222])
    blurred = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    grain = rng.standard_normal((height, width, 3), dtype=np.float32) * 2.2
    photograph: NDArray[np.uint8] = np.clip(np.asarray(blurred) + grain + 0.5, 0, 255).astype(np.uint8)
    return photograph
