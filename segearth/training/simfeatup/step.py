"""One training step: what is trained, and the gradients of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from segearth.clips.upsamplers import upsampler_class
from segearth.errors import UserError, option
from segearth.models import DenseCLIP
from segearth.models.bilateral import begin_as_bilateral_filter
from segearth.models.simfeatup import JBU, pointwise
from segearth.training.simfeatup import losses
from segearth.training.simfeatup.draws import Purpose, generator, key
from segearth.training.simfeatup.images import Batch
from segearth.training.simfeatup.inputs import Drawn, Matrices, step_inputs
from segearth.training.simfeatup.jitter import PAD, resample
from segearth.training.simfeatup.kernels import mix_channels, upsample
from segearth.training.simfeatup.recipe import UpsamplerRecipe
from segearth.training.simfeatup.upload import upload

IMAGE_WEIGHT = 0.1  # of the image reconstruction: SimFeatUp's training


class Features(nn.Module):
    """The frozen CLIP: images to the patch features that are upsampled."""

    def __init__(self, clip: nn.Module, at: str = "input") -> None:
        """Wraps a CLIP; its own precision is the one that is computed in.

        Args:
            clip: an `open_clip.CLIP`.
            at: "input" or "output" of the last block.
        """
        super().__init__()
        self.encoder = DenseCLIP(clip)
        self.at = at

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), normalised, to (B, D, h, w) float32."""
        features = self.encoder.input_features(images) if self.at == "input" else self.encoder(images)[0]
        return features.float()


class Trainee(nn.Module):
    """Everything with weights that learn: the upsampler, and what its loss needs."""

    def __init__(self, dim: int, patch: int, recipe: UpsamplerRecipe, seed: int = 0) -> None:
        """Draws initial weights.

        Args:
            dim: width of the features.
            patch: the CLIP's patch side in pixels.
            recipe: what to train.
            seed: of the weights; torch's own generators are left as they were, those of GPUs, too.
        """
        super().__init__()
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # where weights are the same on every machine
            torch.default_generator.manual_seed(key(seed, Purpose.INITIAL))
            build = upsampler_class(recipe.upsampler)
            self.upsampler: JBU = build(dim) if recipe.radius is None else build(dim, recipe.radius)
            if recipe.start == "bilateral":
                begin_as_bilateral_filter(self.upsampler, generator(seed, Purpose.INITIAL, 0))
            self.downsampler = losses.Downsampler(dim, patch)
            self.uncertainty = losses.Uncertainty(dim)
            self.crn = losses.ContentRetention(dim) if recipe.image_loss else None


def check_crop(crop: int, patch: int, upsampler: JBU) -> None:
    """Refuses crops that the model cannot be trained on.

    Raises:
        UserError: a side that is no multiple of the patch or too small, or an upsampler for other patches.
    """
    least = max(upsampler.min_patches * patch, PAD + 1)
    least = math.ceil(least / patch) * patch
    if crop % patch or crop < least:
        raise UserError(
            f"crops of {crop} pixels do not fit: this CLIP has patches of {patch} pixels, so the side must be a "
            f"multiple of {patch}, at least {least}; use {option('crop', max(least, round(crop / patch) * patch))}"
        )
    upsampler.steps(patch)


class Views(NamedTuple):
    """Images before and after a jitter, and their patch features.

    Attributes:
        images: (B, 3, crop, crop), the guidance.
        source: (B, h, w, D), the features of the images.
        jittered: (B, crop, crop, 3), the jittered images.
        target: (B, h, w, D), the features of the jittered images.
    """

    images: Tensor
    source: Tensor
    jittered: Tensor
    target: Tensor

    def part(self, images: slice) -> Views:
        """The views of some of the images."""
        return Views(*(view[images] for view in self))


def accumulate(
    trainee: Trainee, features: Callable[[Tensor], Tensor], batch: Batch, recipe: UpsamplerRecipe, seed: int
) -> Tensor:
    """Adds the gradients of a batch, or of this process's part of it, to the weights' `grad`.

    Args:
        trainee: what is trained.
        features: the frozen CLIP; see `Features`.
        batch: the images, on the device of the weights.
        recipe: how it is trained.
        seed: the run's.

    Returns:
        This part's shares of the two losses, (2,): reconstruction, and image reconstruction before its weight.
    """
    images = batch.images
    shares = images.new_zeros(2)
    at_once = recipe.at_once or (1 if images.device.type == "cpu" else len(images))
    pixels = images.permute(0, 2, 3, 1).contiguous()
    source = _channels_last(features(images))
    patch = images.shape[-1] // source.shape[1]
    parts = [slice(first, first + at_once) for first in range(0, len(images), at_once)]
    inputs = step_inputs(trainee.upsampler, batch, parts, patch, recipe, seed)
    for matrices, drawn in upload(inputs, images.device, images.dtype):
        jittered = resample(pixels, *matrices.image)  # J(x), channels last
        target = _channels_last(features(jittered.permute(0, 3, 1, 2).contiguous()))
        views = Views(images, source, jittered, target)
        for part, part_drawn in zip(parts, drawn, strict=True):
            pair = jitter_losses(trainee, views.part(part), matrices, part_drawn, recipe, batch.total)
            loss = (pair[0] + IMAGE_WEIGHT * pair[1]) / recipe.jitters
            loss.backward()
            shares += torch.stack(pair).detach() / recipe.jitters
    return shares


def _channels_last(features: Tensor) -> Tensor:
    """(B, D, h, w) to (B, h, w, D), in memory as well."""
    return features.permute(0, 2, 3, 1).contiguous()


def jitter_losses(
    trainee: Trainee, views: Views, matrices: Matrices, drawn: Drawn, recipe: UpsamplerRecipe, total: int
) -> tuple[Tensor, Tensor]:
    """The losses of one jitter of a batch, or of some of its images.

    Args:
        trainee: what is trained.
        views: of these images.
        matrices: the jitter, the same for all images.
        drawn: all that is random in the rest.
        recipe: how it is trained.
        total: images of the step in all processes.

    Returns:
        Reconstruction and image reconstruction (0 without it), this batch's shares.
    """
    images, source, jittered, target = views
    crop = images.shape[-1]
    h, _, dim = source.shape[1:]
    patch = crop // h
    mixed, shift = (recipe.scale * part for part in mix_channels(trainee.upsampler, source, drawn.drops))
    target = recipe.scale * target
    maps = [mixed]
    if trainee.crn is not None:
        weight, bias = pointwise(trainee.crn.first)
        maps.append(mixed @ weight.T)
        hidden_shift = shift @ weight.T + bias
    maps, corner = upsample(trainee.upsampler, maps, images, drawn.drops, matrices.window, recipe.recompute)
    blurring, showing = (
        [side.after(offset) for side, offset in zip(sides, corner, strict=True)]
        for sides in (matrices.blurred, matrices.hidden)
    )
    blurred = resample(maps.pop(0), *blurring)
    reconstructed = losses.reconstruction(
        blurred,
        shift,
        trainee.uncertainty(target),
        target,
        drawn.projection,
        drawn.kept,
        trainee.downsampler,
        total,
        (lambda _: torch.stack([losses.draw_pixels((patch, crop, dim), source) for source in drawn.pixels]))
        if recipe.dropout
        else None,
    )
    del blurred  # as large as anything here
    if trainee.crn is None:
        return reconstructed, reconstructed.new_zeros(())
    hidden = resample(maps.pop(), *showing)
    painted = losses.image_reconstruction(hidden, hidden_shift, jittered, trainee.crn, patch, total)
    return reconstructed, painted
