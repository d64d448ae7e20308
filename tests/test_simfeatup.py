import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from segearth.clips.upsamplers import TRAINED, UPSAMPLER_FILES, UPSAMPLERS, identify_upsampler, upsampler_class
from segearth.errors import UserError
from segearth.models import Bilinear, JBUOne, JBUStack, simfeatup
from segearth.models.simfeatup import adaptive_convolution, pool, pool_by_products


def random_like_trained(module):
    """Weights as small as trained ones, so that kernels are no mere noise."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.ndim:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return module.eval().requires_grad_(False)


def test_adaptive_convolution_is_a_loop_over_pixels_and_taps():
    rng = np.random.default_rng(0)
    padded, kernel = rng.normal(size=(2, 3, 8, 9)), rng.normal(size=(2, 25, 4, 5))
    out = adaptive_convolution(torch.from_numpy(padded), torch.from_numpy(kernel)).numpy()
    for b, c, y, x in np.ndindex(2, 3, 4, 5):
        expected = sum(
            kernel[b, 5 * dy + dx, y, x] * padded[b, c, y + dy, x + dx] for dy in range(5) for dx in range(5)
        )
        assert out[b, c, y, x] == pytest.approx(expected)


def test_adaptive_convolution_refuses_a_wrong_number_of_taps():
    with pytest.raises(ValueError, match="9 taps do not fit"):
        adaptive_convolution(torch.zeros(1, 1, 8, 8), torch.zeros(1, 9, 4, 4))


@pytest.mark.parametrize("patch", [8, 14, 16, 32])
def test_jbu_one_covers_any_patch(patch):
    upsampler = random_like_trained(JBUOne(4))
    assert len(upsampler.steps(patch)) == {8: 3, 14: 4, 16: 4, 32: 5}[patch]
    out = upsampler(torch.randn(2, 4, 3, 4), torch.randn(2, 3, 3 * patch, 4 * patch))
    assert out.shape == (2, 4, 3 * patch, 4 * patch)


def test_jbu_stack_takes_the_steps_that_a_patch_needs():
    """FeatUp's four for 16 pixels, and for 14, whose map is resized; the first ones for less, the last again for 32."""
    stack = JBUStack(4)
    one, two, three, four = stack.up1, stack.up2, stack.up3, stack.up4
    assert stack.steps(16) == stack.steps(14) == [one, two, three, four]
    assert stack.steps(8) == [one, two, three]
    assert stack.steps(32) == [one, two, three, four, four]


@pytest.mark.parametrize("kind", [JBUOne, JBUStack])
@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 5), (2, 2), (3, 1)])
def test_few_patches(kind, h, w):
    """Where a reflected border does not fit, zeros are added around and cut away again."""
    upsampler = random_like_trained(kind(4))
    source, guidance = torch.randn(1, 4, h, w), torch.randn(1, 3, 16 * h, 16 * w)
    out = upsampler(source, guidance)
    assert out.shape == (1, 4, 16 * h, 16 * w)
    assert out.isfinite().all()
    least = upsampler.min_patches
    top, left = max(0, least - h) // 2, max(0, least - w) // 2
    bottom, right = max(0, least - h) - top, max(0, least - w) - left
    by_hand = upsampler(
        torch.nn.functional.pad(source, [left, right, top, bottom]),
        torch.nn.functional.pad(guidance, [16 * n for n in (left, right, top, bottom)]),
    )
    assert_close(out, by_hand[:, :, 16 * top : 16 * (top + h), 16 * left : 16 * (left + w)])


@pytest.mark.parametrize("kind", [JBUOne, JBUStack, Bilinear])
def test_batches_equal_singles(kind):
    upsampler = kind() if kind is Bilinear else random_like_trained(kind(4))
    source, guidance = torch.randn(3, 4, 4, 3), torch.randn(3, 3, 64, 48)
    singles = [upsampler(s, g) for s, g in zip(source.split(1), guidance.split(1), strict=True)]
    assert_close(upsampler(source, guidance), torch.cat(singles), atol=1e-5, rtol=1e-4)


def test_channels_are_treated_alike():
    """The interpolation is linear and the same for all channels: what the factored path stands on."""
    upsampler = random_like_trained(JBUOne(4))
    source, guidance = torch.randn(1, 4, 3, 3), torch.randn(1, 3, 48, 48)
    mix = torch.randn(6, 4)
    mixed_before = upsampler.interpolate(torch.einsum("bchw,dc->bdhw", source, mix), guidance)
    mixed_after = torch.einsum("bchw,dc->bdhw", upsampler.interpolate(source, guidance), mix)
    assert_close(mixed_before, mixed_after, atol=1e-5, rtol=1e-5)


def test_memory_is_bounded():
    """A map of 512 channels on 128 × 128 pixels has 34 MB; an unfold of it would have 4 GB."""
    program = """
import resource, torch
from segearth.models import JBUOne
upsampler = JBUOne(512).eval()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with torch.inference_mode():
    upsampler(torch.randn(1, 512, 3, 3), torch.randn(1, 3, 48, 48))
    before = peak()
    upsampler(torch.randn(1, 512, 8, 8), torch.randn(1, 3, 128, 128))
print(peak() - before)
"""
    grown_mb = float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert grown_mb < 300


def test_bilinear_is_torchs():
    source = torch.randn(1, 4, 3, 5)
    expected = torch.nn.functional.interpolate(source, size=(48, 80), mode="bilinear", align_corners=False)
    assert_close(Bilinear()(source, torch.zeros(1, 3, 48, 80)), expected)


def test_width_mismatch():
    with pytest.raises(UserError, match="width 4, this CLIP gives 8"):
        JBUOne(4)(torch.zeros(1, 8, 3, 3), torch.zeros(1, 3, 48, 48))


@pytest.mark.parametrize("name", TRAINED)
def test_checkpoints_are_identified(name):
    """By the row of the table alone, from which everything else is read, too."""
    build = upsampler_class(name)
    state = build(4).state_dict()
    saved = {f"upsampler.{key}": value for key, value in state.items()} | {"downsampler.weight": torch.zeros(1)}
    for form in (state, saved):
        found, inner = identify_upsampler(form)
        assert found == name
        build(4).load_state_dict(inner)
    assert set(UPSAMPLERS[name].files) <= set(UPSAMPLER_FILES)
    with pytest.raises(UserError, match="no upsampler in this checkpoint"):
        identify_upsampler({"conv.weight": torch.zeros(1)})


def test_gradcheck():
    """SimFeatUp is trained with this very code."""
    step = simfeatup.JBUStep(1).double().eval()
    source = torch.randn(1, 2, 2, 2, dtype=torch.double, requires_grad=True)
    guidance = torch.randn(1, 3, 4, 4, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda s: step(s, guidance), (source,))
    step(source, guidance).sum().backward()
    assert all(p.grad is not None for p in step.parameters())


def test_half_precision():
    upsampler = random_like_trained(JBUStack(4))
    source, guidance = torch.randn(1, 4, 3, 3), torch.randn(1, 3, 48, 48)
    expected = upsampler(source, guidance)
    half = upsampler.bfloat16()(source.bfloat16(), guidance.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize(("before", "after"), [((224, 98), (256, 112)), ((13, 20), (5, 20)), ((6, 8), (24, 3))])
def test_pooling_where_an_apple_gpu_has_none(before, after, monkeypatch):
    guidance = torch.randn(2, 3, *before, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.adaptive_avg_pool2d(guidance, after)
    assert torch.equal(pool(guidance, after), expected)
    monkeypatch.setattr(torch.nn.functional, "adaptive_avg_pool2d", None)
    assert_close(pool_by_products(guidance, after), expected, atol=1e-6, rtol=0)
    assert_close(pool_by_products(guidance[0], after), expected[0], atol=1e-6, rtol=0)


def test_an_apple_gpu_is_asked_for_what_it_has(monkeypatch):
    """It pools only to sizes that divide the image's."""
    asked = []
    monkeypatch.setattr(torch.nn.functional, "adaptive_avg_pool2d", lambda _, size: asked.append(size))
    monkeypatch.setattr(simfeatup, "pool_by_products", lambda *_: "products")
    apple = SimpleNamespace(device=torch.device("mps"), shape=(1, 3, 224, 224))
    pool(apple, (112, 112))
    assert asked == [(112, 112)]
    assert pool(apple, (256, 256)) == pool(apple, (128, 128)) == pool(apple, (224, 128)) == "products"
