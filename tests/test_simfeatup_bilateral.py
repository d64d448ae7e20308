"""The bilateral start: a filter that keeps to its side of an edge."""

import copy

import pytest
import torch
from torch.testing import assert_close

from segearth.clips.upsamplers import upsampler_class
from segearth.models import Bilinear, bilateral
from segearth.training.simfeatup.recipe import UpsamplerRecipe
from segearth.training.simfeatup.step import Trainee

KINDS = ["jbu_one", "jbu_stack"]


@pytest.fixture(scope="module", params=KINDS)
def begun(request):
    """Upsamplers as training begins with them."""
    return Trainee(4, 16, UpsamplerRecipe(upsampler=request.param, start="bilateral")).upsampler.eval()


@pytest.fixture(scope="module")
def edge():
    """An image of two colours whose border is not one of patches, its patch features, and those of each pixel."""
    left = torch.arange(96).expand(96, 96) < 42
    image = torch.where(left, 1.0, -1.0).repeat(1, 3, 1, 1)
    pixels = torch.where(left, 1.0, 0.0).repeat(1, 4, 1, 1)
    return image, torch.nn.functional.avg_pool2d(pixels, 16), pixels


def test_an_edge_is_found(begun, edge):
    """Where the image has it, to the pixel, and as a step."""
    image, features, pixels = edge
    with torch.no_grad():
        ours, bilinear = (up(features, image) for up in (begun, Bilinear()))
    assert torch.equal(ours > 0.5, pixels > 0.5)
    assert not torch.equal(bilinear > 0.5, pixels > 0.5)
    jumps = [(found[..., 41] - found[..., 42]).mean() for found in (ours, bilinear)]
    assert jumps[0] > 3 * jumps[1]


def test_the_kernel_is_a_joint_bilateral_filter(begun):
    """Kopf et al., equation 3, written out: to 2e-2, for colours are squared with GELUs."""
    image = 1.2 * torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(0)).clamp(-1.5, 1.5)
    for step in bilateral.doublings(begun):
        r = step.radius
        with torch.no_grad():
            keys = torch.nn.functional.pad(step.keys(image), [r] * 4, mode="reflect")
            found = step.kernel(keys, image)[0]
        padded = torch.nn.functional.pad(image, [r] * 4, mode="reflect")[0]
        for y, x in ((0, 0), (4, 4), (3, 8)):
            wanted = [
                -(padded[:, y + r + dy, x + r + dx] - image[0, :, y, x]).square().sum()
                / (2 * bilateral.COLOUR_SIGMA**2)
                - (dx * dx + dy * dy) / (2 * bilateral.SPATIAL_SIGMA**2)
                for dy in range(-r, r + 1)
                for dx in range(-r, r + 1)
            ]
            assert_close(found[:, y, x], torch.stack(wanted).softmax(dim=0), atol=2e-2, rtol=0)


def test_steps_of_training_do_not_break_it(begun, edge):
    """NAdam moves all weights by about the learning rate a step, however small they are."""
    image, features, pixels = edge
    moved = copy.deepcopy(begun)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for step in bilateral.doublings(moved):
            for parameter in step.range_proj.parameters():
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
        assert torch.equal(moved(features, image) > 0.5, pixels > 0.5)


def test_corrections_begin_at_zero_and_learn(begun, edge):
    image, features, pixels = edge
    (begun(features, image) - pixels).pow(2).mean().backward()
    for step in bilateral.doublings(begun):
        last = step.fixup_proj[3]
        assert not last.weight.any()
        assert last.weight.grad.any()
    assert_close(begun(torch.ones_like(features), image), torch.ones_like(pixels), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_a_start(kind):
    one, same, other = (upsampler_class(kind)(4) for _ in range(3))
    for upsampler in (same, other):
        upsampler.load_state_dict(one.state_dict())
    for upsampler, seed in ((one, 3), (same, 3), (other, 4)):
        bilateral.begin_as_bilateral_filter(upsampler, torch.Generator().manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    keys = [bilateral.doublings(upsampler)[-1].range_proj[0].weight for upsampler in (one, other)]
    assert not torch.equal(*keys)
    assert all(parameter.grad is None for parameter in one.parameters())
    assert all(module.training for module in one.modules())
