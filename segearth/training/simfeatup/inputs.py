"""The inputs of a step beside images and weights: the jitters' matrices, and all random numbers.

All of it is made on the CPU before the step begins, so that it goes to a GPU in one copy. Only the dropout of single
elements, as large as a pixel map, is drawn where it is used.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segearth.models.simfeatup import JBU
from segearth.training.simfeatup.draws import Purpose, generator
from segearth.training.simfeatup.images import Batch
from segearth.training.simfeatup.jitter import Blocks, Jitter, blocks, blur_matrix, draw_jitter, fit_matrix, support
from segearth.training.simfeatup.kernels import Drops, draw_drops
from segearth.training.simfeatup.losses import draw_kept, draw_projection
from segearth.training.simfeatup.recipe import UpsamplerRecipe


class Matrices(NamedTuple):
    """The matrices of a jitter, each for rows and for columns.

    Attributes:
        image: of the image.
        hidden: of the upsampler's map, whose size may be larger.
        blurred: the same, and the blur after it.
        window: (top, bottom, left, right), the pixels of the upsampler's map that they read.
    """

    image: tuple[Blocks, Blocks]
    hidden: tuple[Blocks, Blocks]
    blurred: tuple[Blocks, Blocks]
    window: tuple[int, int, int, int]


class Drawn(NamedTuple):
    """The random numbers of B images in one jitter.

    Attributes:
        drops: channel dropout, or None.
        projection: (B, D, 30), P of each image.
        kept: (B, h, w), 1 or 0 for each patch.
        pixels: a generator of each image's element-wise dropout, on the device; empty without dropout.
    """

    drops: Drops | None
    projection: Tensor
    kept: Tensor
    pixels: list[torch.Generator]


class JitterInputs(NamedTuple):
    """The matrices of one jitter, and the random numbers of each part of the batch."""

    matrices: Matrices
    parts: list[Drawn]


def step_inputs(
    upsampler: JBU, batch: Batch, parts: list[slice], patch: int, recipe: UpsamplerRecipe, seed: int
) -> list[JitterInputs]:
    """Makes the inputs of every jitter of a step, on the CPU.

    Args:
        upsampler: the model.
        batch: the images; the element-wise dropout is drawn on their device.
        parts: the images that are worked on at once.
        patch: the CLIP's patch side.
        recipe: how many jitters there are, and whether channels and elements are dropped.
        seed: the run's.
    """
    crop, device = batch.images.shape[-1], batch.images.device
    doublings = len(upsampler.steps(patch))
    inputs = []
    with torch.device("cpu"):  # whatever the caller's default device is
        for number in range(recipe.jitters):
            jitter = draw_jitter(generator(seed, Purpose.JITTER, batch.step, number), crop)
            numbers = (seed, batch.step, number)
            drawn = [
                draw(upsampler, crop // patch, doublings, batch.samples[part], recipe.dropout, numbers, device)
                for part in parts
            ]
            inputs.append(JitterInputs(jitter_matrices(jitter, patch, crop, doublings), drawn))
    return inputs


def jitter_matrices(jitter: Jitter, patch: int, crop: int, doublings: int) -> Matrices:
    """The jitter of images of `crop` pixels a side, float64; see `Matrices`."""
    rows, columns = jitter.matrices(crop)
    image = blocks(rows, patch), blocks(columns, patch)
    size = crop // patch * 2**doublings
    if size != crop:
        fit = fit_matrix(size, crop)
        rows, columns = rows @ fit, columns @ fit
    blur = blur_matrix(crop)
    return Matrices(
        image,
        (blocks(rows, patch), blocks(columns, patch)),
        (blocks(blur @ rows, patch), blocks(blur @ columns, patch)),
        (*support(rows), *support(columns)),
    )


def draw(
    upsampler: JBU,
    patches: int,
    doublings: int,
    samples: list[int],
    dropout: bool,
    numbers: tuple[int, int, int],
    device: torch.device,
) -> Drawn:
    """Draws the random numbers of some images; each image has a generator of its own.

    Args:
        upsampler: the model.
        patches: along a side.
        doublings: steps of the upsampler.
        samples: number of each image in the step's batch.
        dropout: whether channels and elements are dropped.
        numbers: seed, step, jitter.
        device: of the element-wise dropout.
    """
    seed, step, jitter = numbers

    def generators(purpose: Purpose, device: torch.device | str = "cpu") -> list[torch.Generator]:
        return [generator(seed, purpose, step, sample, jitter, device=device) for sample in samples]

    width = upsampler.feat_dim
    assert width is not None  # what is trained has one
    kept = [draw_kept(patches * patches, source) for source in generators(Purpose.PATCHES)]
    return Drawn(
        draw_drops(upsampler, doublings, generators(Purpose.UPSAMPLER_DROPOUT)) if dropout else None,
        torch.stack([draw_projection(width, source) for source in generators(Purpose.PROJECTION)]),
        torch.stack(kept).view(-1, patches, patches),
        generators(Purpose.PIXEL_DROPOUT, device) if dropout else [],
    )
