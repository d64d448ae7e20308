"""Losses and their gradients agree with a plain, slow implementation."""

import pytest
import simfeatup_reference as plain
import torch
from conftest import mini_clip
from torch.testing import assert_close

from segearth.models import DenseCLIP
from segearth.training.simfeatup import losses
from segearth.training.simfeatup.draws import Purpose, generator
from segearth.training.simfeatup.inputs import draw, jitter_matrices
from segearth.training.simfeatup.jitter import Jitter
from segearth.training.simfeatup.losses import ContentRetention, Downsampler, Uncertainty
from segearth.training.simfeatup.recipe import UpsamplerRecipe
from segearth.training.simfeatup.step import Trainee, Views, jitter_losses
from segearth.training.simfeatup.upload import upload

JITTERS = [Jitter(1.0, 0, 40, True), Jitter(1.0, 17, 5, False), Jitter(1.37, 30, 63, True), Jitter(1.99, 3, 110, False)]


def normal(*shape, seed=0, dtype=torch.double):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def enliven(module):
    """Weights away from their beginnings, where much is near zero."""
    for number, parameter in enumerate(module.parameters()):
        parameter.data = 0.3 * normal(*parameter.shape, seed=number) + (parameter.ndim == 0)
    return module.double()


def named(module):
    return dict(module.named_parameters())


@pytest.mark.parametrize("dropout", [False, True])
def test_reconstruction(dropout):
    downsampler = enliven(Downsampler(5, 4))
    maps, shift, target = normal(2, 5, 12, 8), normal(5, seed=1), normal(2, 5, 3, 2, seed=2)
    sigma, projection = normal(2, 3, 2, seed=3).exp(), normal(2, 5, 30, seed=4)
    kept = torch.tensor([[[1, 0], [1, 1], [0, 1]]] * 2).double()
    masks = [normal(2, 4, 8, 5, seed=10 + row) > -0.8 for row in range(3)]
    factors = torch.cat(masks, dim=1) / 0.8 if dropout else None
    whole = maps + shift[:, None, None]
    down = plain.downsampled(whole, named(downsampler), kept, factors, patch=4)
    expected = plain.reconstruction(down, target, sigma[:, None], projection)
    found = losses.reconstruction(
        plain.blurred(maps).permute(0, 2, 3, 1),
        shift,
        sigma,
        target.permute(0, 2, 3, 1),
        projection,
        kept,
        downsampler,
        total=2,
        pixels=masks.__getitem__ if dropout else None,
    )
    assert_close(found, expected, atol=1e-5, rtol=1e-5)  # dropout in 16 bits: 1 / 0.80000305


def test_image_reconstruction():
    crn = enliven(ContentRetention(5))
    maps, image = normal(2, 5, 8, 6), normal(2, 3, 8, 6, seed=1)
    hidden = torch.einsum("bdhw,cd->bhwc", maps, crn.first.weight[:, :, 0, 0])
    found = losses.image_reconstruction(hidden, crn.first.bias, image.permute(0, 2, 3, 1), crn, patch=2, total=2)
    assert_close(found, plain.image_reconstruction(maps, image, named(crn)), atol=1e-12, rtol=1e-12)


def test_uncertainty():
    module = enliven(Uncertainty(5))
    features = normal(2, 5, 3, 4)
    expected = plain.uncertainty(features, named(module))[:, 0]
    assert_close(module(features.permute(0, 2, 3, 1)), expected)
    assert module(-1e6 * features.abs().permute(0, 2, 3, 1) * module.conv.weight[0, :, 0, 0].sign()).min() == 1e-4


def test_initial_values():
    dims = Trainee(64, 16, UpsamplerRecipe())
    assert dims.upsampler.up.range_temp == 0
    assert dims.upsampler.up.sigma_spatial == 1
    assert dims.downsampler.weight.mean().item() == pytest.approx(1, abs=0.005)
    assert dims.downsampler.bias.std().item() == pytest.approx(0.01, rel=0.3)
    assert 0 < dims.uncertainty.conv.weight.abs().max() <= 0.1 / 8  # torch's bound is 1 / √64


def test_initial_values_touch_no_generator(monkeypatch):
    """Neither of the CPU nor of a GPU; and the caller's default device changes nothing."""
    expected = Trainee(8, 16, UpsamplerRecipe(start="bilateral"), seed=1).state_dict()
    before = torch.get_rng_state()
    monkeypatch.setattr(torch, "manual_seed", lambda _: pytest.fail("reseeds the generators of all devices"))
    with torch.device("meta"):
        found = Trainee(8, 16, UpsamplerRecipe(start="bilateral"), seed=1).state_dict()
    assert_close(found, expected, atol=0, rtol=0)
    assert torch.equal(torch.get_rng_state(), before)


def drawn_for(trainee, recipe, samples, numbers, dtype=torch.double, side=3):
    """For a step of `numbers` (seed, step, jitter), square images of `side` patches and four doublings."""
    cpu = torch.device("cpu")
    return upload(draw(trainee.upsampler, side, 4, samples, recipe.dropout, numbers, cpu), cpu, dtype)


def losses_of(trainee, recipe, jitter, images, source, seen, target, drawn):
    def last(maps):
        return maps.permute(0, 2, 3, 1).contiguous()

    crop = images.shape[-1]
    matrices = upload(jitter_matrices(jitter, crop // source.shape[-1], crop, 4), images.device, images.dtype)
    views = Views(images, last(source), last(seen), last(target))
    return jitter_losses(trainee, views, matrices, drawn, recipe, len(images))


@pytest.mark.parametrize("jitter", JITTERS)
@pytest.mark.parametrize(("kind", "patch"), [("jbu_one", 16), ("jbu_stack", 16), ("jbu_one", 14)])
def test_a_jitter_and_its_gradients(kind, patch, jitter, monkeypatch):
    """From patch features to losses, and back to every weight, dropout included."""
    recipe, crop = UpsamplerRecipe(upsampler=kind), 3 * patch
    trainee = enliven(Trainee(4, patch, recipe))
    images, source, target = normal(2, 3, crop, crop), normal(2, 4, 3, 3, seed=1), normal(2, 4, 3, 3, seed=2)
    seen = plain.jittered(images, *jitter)
    drawn = drawn_for(trainee, recipe, [3, 9], (0, 7, 1))
    ours = losses_of(trainee, recipe, jitter, images, source, seen, target, drawn)

    drops = drawn.drops
    factors = [one for pair in zip(drops.keys, drops.fixups, strict=True) for one in pair] + [drops.channels]
    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.Dropout2d, "forward", lambda _, x: x * factors.pop(0)[:, :, None, None])
        maps = plain.jittered(trainee.upsampler(source, images), *jitter)
    assert not factors
    generators = [generator(0, Purpose.PIXEL_DROPOUT, 7, sample, 1) for sample in (3, 9)]
    rows = [torch.stack([losses.draw_pixels((patch, crop, 4), one) for one in generators]) for _ in range(3)]
    down = plain.downsampled(
        maps, named(trainee.downsampler), drawn.kept, torch.cat(rows, dim=1) / (1 - 13107 / 2**16), patch
    )
    sigma = plain.uncertainty(target, named(trainee.uncertainty))
    expected = (
        plain.reconstruction(down, target, sigma, drawn.projection),
        plain.image_reconstruction(maps, seen, named(trainee.crn)),
    )
    for one, other in zip(ours, expected, strict=True):
        assert_close(one, other, atol=1e-9, rtol=1e-9)
    wanted = list(trainee.parameters())
    gradients = [torch.autograd.grad(pair[0] + 0.1 * pair[1], wanted) for pair in (ours, expected)]
    for (name, _), one, other in zip(trainee.named_parameters(), *gradients, strict=True):
        assert_close(one, other, atol=1e-8, rtol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


def test_single_precision():
    """In float32, in which training runs, the losses agree to 1e-5."""
    recipe, jitter = UpsamplerRecipe(dropout=False), JITTERS[2]
    trainee = enliven(Trainee(4, 16, recipe))
    images, source, target = normal(1, 3, 64, 64), normal(1, 4, 4, 4, seed=1), normal(1, 4, 4, 4, seed=2)
    inputs = [images, source, plain.jittered(images, *jitter), target]
    double = losses_of(trainee, recipe, jitter, *inputs, drawn_for(trainee, recipe, [0], (0, 0, 0), side=4))
    drawn = drawn_for(trainee, recipe, [0], (0, 0, 0), torch.float32, side=4)
    single = losses_of(trainee.float(), recipe, jitter, *(one.float() for one in inputs), drawn)
    for one, other in zip(single, double, strict=True):
        assert_close(one.double(), other, atol=1e-5, rtol=1e-5)


def test_without_image_loss():
    recipe = UpsamplerRecipe(image_loss=False, upsampler="jbu_one", radius=3)
    trainee = enliven(Trainee(4, 16, recipe))
    assert trainee.crn is None
    images, features = normal(1, 3, 48, 48), normal(1, 4, 3, 3, seed=1)
    drawn = drawn_for(trainee, recipe, [0], (0, 0, 0))
    pair = losses_of(trainee, recipe, JITTERS[0], images, features, images, features, drawn)
    assert pair[1] == 0
    sum(pair).backward()
    assert all(p.grad.abs().sum() > 0 for name, p in trainee.named_parameters() if name != "downsampler.attention.bias")


def test_scaled_features():
    """A scale is as if the CLIP gave smaller features; the upsampler's only constant term stays in the CLIP's units."""
    scale, trainee = 0.1, enliven(Trainee(4, 16, UpsamplerRecipe()))
    images, source, target = normal(1, 3, 48, 48), normal(1, 4, 3, 3, seed=1), normal(1, 4, 3, 3, seed=2)
    seen = plain.jittered(images, *JITTERS[2])
    inputs = images, source, seen, target
    scaled = losses_of(
        trainee,
        UpsamplerRecipe(scale=scale),
        JITTERS[2],
        *inputs,
        drawn_for(trainee, UpsamplerRecipe(), [0], (0, 0, 0)),
    )
    trainee.upsampler.fixup_proj[1].bias.data *= scale
    inputs = images, scale * source, seen, scale * target
    smaller = losses_of(
        trainee, UpsamplerRecipe(), JITTERS[2], *inputs, drawn_for(trainee, UpsamplerRecipe(), [0], (0, 0, 0))
    )
    for one, other in zip(scaled, smaller, strict=True):
        assert_close(one, other, atol=1e-9, rtol=1e-9)


def test_projection_and_dropout():
    generator = torch.Generator().manual_seed(0)
    assert_close(losses.draw_projection(7, generator).norm(dim=0), torch.ones(30))
    pixels = losses.draw_pixels((31, 100, 33), generator)
    assert pixels.dtype == torch.bool
    assert pixels.shape == (31, 100, 33)
    assert pixels.float().mean() == pytest.approx(0.8, abs=0.006)  # five sigma
    assert losses.draw_kept(10000, generator).mean() == pytest.approx(0.8, abs=0.02)


def test_input_features_are_those_of_the_last_block_but_one():
    clip = mini_clip()
    seen = []
    clip.visual.transformer.resblocks[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = normal(2, 3, 64, 64, dtype=torch.float)
    with torch.no_grad():
        clip.visual(images)
        expected = (clip.visual.ln_post(seen[0]) @ clip.visual.proj)[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
        assert_close(DenseCLIP(clip).input_features(images), expected)
