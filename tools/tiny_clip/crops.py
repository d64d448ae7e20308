"""Crops to train on: turned, enlarged, and as if another camera had taken them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tiny_clip.sources import IGNORE

SIZE = 224  # of a crop, CLIP's input


def cut_crop(
    rng: np.random.Generator, image: Tensor, labels: Tensor, zoom: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """A crop at a random place, angle and zoom, mirrored half the time.

    Args:
        rng: of all choices.
        image: (3, H, W) uint8.
        labels: (H, W) uint8.
        zoom: least and greatest enlargement, drawn log-uniformly; an image too small for a crop at its zoom is
            enlarged as far as needed.

    Returns:
        (3, SIZE, SIZE) float in [0, 255], and labels (SIZE, SIZE) int64, IGNORE beyond the image's border.
    """
    height, width = labels.shape
    side = min(SIZE / float(np.exp(rng.uniform(*np.log(zoom)))), height, width)
    centre = [rng.uniform(side / 2, length - side / 2) for length in (height, width)]
    turn = float(rng.integers(4)) * np.pi / 2
    if rng.random() < 0.5:
        turn += float(rng.uniform(-np.pi / 4, np.pi / 4))
    reach = side / 2 * (abs(np.cos(turn)) + abs(np.sin(turn))) + 2
    top, left = (max(0, int(c - reach)) for c in centre)
    bottom, right = (min(int(c + reach) + 1, length) for c, length in zip(centre, (height, width), strict=True))
    rgb, names = image[:, top:bottom, left:right].float(), labels[top:bottom, left:right].float()
    # From crop to window coordinates in [-1, 1], as grid_sample has them.
    scale_x, scale_y = side / (right - left), side / (bottom - top)
    shift_x = (2 * centre[1] - left - right) / (right - left)
    shift_y = (2 * centre[0] - top - bottom) / (bottom - top)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    theta = [
        [mirror * cos * scale_x, -sin * scale_x, shift_x],
        [mirror * sin * scale_y, cos * scale_y, shift_y],
    ]
    grid = F.affine_grid(torch.tensor([theta]), [1, 1, SIZE, SIZE], align_corners=False)
    rgb = F.grid_sample(rgb[None], grid, padding_mode="reflection", align_corners=False)[0]
    # One more than the label, so that the zeros beyond the border stand for IGNORE.
    names = F.grid_sample(names[None, None] + 1, grid, mode="nearest", align_corners=False)[0, 0].long() - 1
    return rgb, torch.where(names < 0, IGNORE, names)


def jitter(rng: np.random.Generator, image: Tensor) -> Tensor:
    """Another camera, season and air: saturation, contrast, colour balance, gamma, haze, blur, noise.

    Args:
        rng: of all choices.
        image: (3, H, W) float in [0, 255].

    Returns:
        The same shape and range.
    """
    grey, mean = image.mean(dim=0), image.mean()
    image = grey + rng.uniform(0.7, 1.3) * (image - grey)
    image = mean + rng.uniform(0.8, 1.2) * (image - mean)
    balance = torch.from_numpy(rng.uniform(0.94, 1.06, (3, 1, 1))).float()
    image = (image * rng.uniform(0.85, 1.15) * balance / 255).clamp(0, 1) ** rng.uniform(0.85, 1.2) * 255
    if rng.random() < 0.3:
        haze = rng.uniform(0, 0.15)
        image = (1 - haze) * image + haze * torch.tensor([205.0, 212.0, 222.0])[:, None, None]
    if rng.random() < 0.3:
        image = F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), mode="reflect"), 3, 1)[0]
    noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    return (image + rng.uniform(0, 6) * noise).clamp(0, 255)
