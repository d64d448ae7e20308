"""One training step: what is trained, and the gradients of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segearth.clips.upsamplers import upsampler_class
from segearth.errors import UserError, option
from segearth.models import DenseCLIP
from segearth.models.bilateral import begin_as_bilateral_filter
from segearth.models.simfeatup import JBU, pointwise
from segearth.training.simfeatup import losses
from segearth.training.simfeatup.draws import Purpose, generator, key
from segearth.training.simfeatup.inputs import Drawn, Matrices, step_inputs
from segearth.training.simfeatup.jitter import PAD, resample
from segearth.training.simfeatup.kernels import mix_channels, upsample
from segearth.training.simfeatup.upload import upload

IMAGE_WEIGHT = 0.1  # of the image reconstruction: SimFeatUp's training

FEATURES = ("input", "output")
STARTS = ("random", "bilateral")


@dataclass(frozen=True)
class Recipe:
    """What is trained and how; the defaults are those of the published SimFeatUp.

    Attributes:
        upsampler: "jbu_one" (one shared step) or "jbu_stack" (four, as in FeatUp).
        radius: of the kernels; None for 5 with jbu_one and 3 with jbu_stack.
        start: initial weights of the upsampler: "random" as published, or those of a "bilateral" filter.
        features: of the last block's "input", or of its modified "output", which inference upsamples.
        image_loss: whether the image is reconstructed as well.
        jitters: jittered copies a step.
        dropout: whether channels and features are dropped. Off, the downsampler still passes over a fifth of the
            patches' logits, which it does as published in evaluation as well.
        recompute: whether kernels are computed twice instead of being kept.
        at_once: images whose pixel maps are in memory at the same time; None for one on a CPU, where that is fastest,
            and the whole batch on a GPU. Results are the same.
        scale: factor of the features in the losses. Those of OpenAI's CLIP have a root mean square of about 0.4, for
            which the recipe was made: where they are many times larger, the uncertainty's logarithm swings out.
    """

    upsampler: str = "jbu_one"
    radius: int | None = None
    start: str = "random"
    features: str = "input"
    image_loss: bool = True
    jitters: int = 5
    dropout: bool = True
    recompute: bool = False
    at_once: int | None = None
    scale: float = 1.0


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
        found = self.encoder.input_features(images) if self.at == "input" else self.encoder(images)[0]
        return found.float()


class Trainee(nn.Module):
    """Everything with weights that learn: the upsampler, and what its loss needs."""

    def __init__(self, dim: int, patch: int, recipe: Recipe, seed: int = 0) -> None:
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


def accumulate(
    trainee: Trainee,
    features: Callable[[Tensor], Tensor],
    images: Tensor,
    samples: list[int],
    recipe: Recipe,
    seed: int,
    step: int,
    total: int,
) -> Tensor:
    """Adds the gradients of a batch, or of this process's part of it, to the weights' `grad`.

    Args:
        trainee: what is trained.
        features: the frozen CLIP; see `Features`.
        images: (B, 3, crop, crop), normalised.
        samples: the number of each image in the step's batch, by which its random draws are keyed.
        recipe: how.
        seed: the run's.
        step: number of the step.
        total: images of the step in all processes; losses are means over all of them.

    Returns:
        This part's shares of the two losses, (2,): reconstruction, and image reconstruction before its weight.
    """
    found = images.new_zeros(2)
    at_once = recipe.at_once or (1 if images.device.type == "cpu" else len(images))
    crop = images.shape[-1]
    pixels = images.permute(0, 2, 3, 1).contiguous()
    source = _channels_last(features(images))
    patch = crop // source.shape[1]
    parts = [slice(first, first + at_once) for first in range(0, len(images), at_once)]
    inputs = step_inputs(
        trainee.upsampler,
        crop,
        patch,
        [samples[part] for part in parts],
        recipe.jitters,
        recipe.dropout,
        seed,
        step,
        images.device,
    )
    for matrices, drawn in upload(inputs, images.device, images.dtype):
        seen = resample(pixels, *matrices.image)  # J(x), channels last
        target = _channels_last(features(seen.permute(0, 3, 1, 2).contiguous()))
        for part, own in zip(parts, drawn, strict=True):
            pair = jitter_losses(
                trainee, images[part], source[part], seen[part], target[part], matrices, own, recipe, total
            )
            loss = (pair[0] + IMAGE_WEIGHT * pair[1]) / recipe.jitters
            loss.backward()
            found += torch.stack(pair).detach() / recipe.jitters
    return found


def _channels_last(features: Tensor) -> Tensor:
    """(B, D, h, w) to (B, h, w, D), in memory as well."""
    return features.permute(0, 2, 3, 1).contiguous()


def jitter_losses(
    trainee: Trainee,
    images: Tensor,
    source: Tensor,
    seen: Tensor,
    target: Tensor,
    matrices: Matrices,
    drawn: Drawn,
    recipe: Recipe,
    total: int,
) -> tuple[Tensor, Tensor]:
    """The losses of one jitter of a batch, or of some of its images.

    Args:
        trainee: what is trained.
        images: (B, 3, crop, crop), the guidance.
        source: (B, h, w, D), their features.
        seen: (B, crop, crop, 3), the jittered images.
        target: (B, h, w, D), their features.
        matrices: the jitter, the same for all images.
        drawn: all that is random in the rest.
        recipe: how.
        total: images of the step in all processes.

    Returns:
        Reconstruction and image reconstruction (0 without it), this batch's shares.
    """
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
        (lambda _: torch.stack([losses.draw_pixels((patch, crop, dim), one) for one in drawn.pixels]))
        if recipe.dropout
        else None,
    )
    del blurred  # as large as anything here
    if trainee.crn is None:
        return reconstructed, reconstructed.new_zeros(())
    hidden = resample(maps.pop(), *showing)
    painted = losses.image_reconstruction(hidden, hidden_shift, seen, trainee.crn, patch, total)
    return reconstructed, painted
