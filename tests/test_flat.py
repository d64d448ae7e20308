import os
import subprocess
import sys

import pytest
import torch
from processes import ROOT
from test_factored import plain, random_upsampler, unit
from test_tiles import random_step
from torch.testing import assert_close

from segearth.models import JBUOne, JBUStack, factored
from segearth.models import flat as flat_module
from segearth.models.factored import cosine_logits, pixel_norms, query_products
from segearth.models.flat import TorchOperations, Upsampled, make_plan
from segearth.models.simfeatup import pool_by_products
from segearth.models.tiles import upsample2x

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def flat(monkeypatch):
    """As on a GPU without Triton."""
    monkeypatch.setattr(factored, "operations_for", lambda *_: TorchOperations())


class OneStep(torch.nn.Module):
    """An upsampler of a single doubling."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def steps(self, _):
        return [self.step]


@pytest.mark.parametrize("radius", [3, 5])
@pytest.mark.parametrize(("h", "w"), [(3, 3), (3, 7), (14, 14), (5, 20), (28, 10)])
def test_a_step_is_that_of_the_banded_path(radius, h, w):
    step = random_step(radius)
    sources, windows = torch.randn(2, h, w, 5), torch.randn(2, 3, 2 * h, 2 * w)
    found = Upsampled(OneStep(step), sources, windows, (((0, 0),), ((0, 0),)), TorchOperations())
    pixels, shift = found.channels(slice(5)), torch.randn(2, 4)
    for i in range(2):
        (expected,) = upsample2x(step, [sources[i]], windows[i], [(0, 0)])
        assert_close(pixels[i], expected.permute(2, 0, 1), atol=2e-6, rtol=0)
        norms = torch.linalg.vector_norm(expected[..., :4] + shift[i], dim=-1)
        assert_close(found.norms(shift)[i, 0], norms, atol=2e-6, rtol=0)


@pytest.mark.parametrize("radius", [3, 5])
def test_windows_share_kernels_only_where_they_are_alike(radius):
    """Also at the windows' borders, which the windows of one column or row have in common."""
    step, size = random_step(radius), 48
    offsets = ((0, 0), (0, 16), (0, 32), (16, 0), (8, 24), (16, 32))
    pictures = torch.randn(2, 3, size + 16, size + 32)
    windows = torch.stack([p[:, y : y + size, x : x + size] for p in pictures for y, x in offsets])
    sources = torch.randn(12, size // 2, size // 2, 5)
    found = Upsampled(OneStep(step), sources, windows, (offsets, offsets), TorchOperations())
    alone = [step(s.permute(2, 0, 1)[None], w[None])[0] for s, w in zip(sources, windows, strict=True)]
    assert_close(found.channels(slice(5)), torch.stack(alone), atol=1e-5, rtol=0)
    assert len(found.plan.jobs) < 0.8 * len(found.plan.slots)


def test_what_is_not_made_of_tiles_is_not_shared():
    for size, doubled, radius, offset in ((28, 28, 5, 8), (32, 32, 5, 4), (36, 32, 5, 8), (32, 32, 6, 8)):
        plan = make_plan((((0, 0), (0, offset)),), (size, size), (doubled, doubled), radius, CPU)
        assert len(plan.jobs) == len(plan.slots) == 2 * plan.rows * plan.columns


@pytest.mark.parametrize("kind", [JBUOne, JBUStack])
@pytest.mark.parametrize("dim", [8, 80])  # below and above the number of patches + 1
@torch.inference_mode()
def test_logits_are_those_of_the_plain_path(kind, dim):
    upsampler, queries = random_upsampler(kind, dim), unit(3, dim)
    for offsets in ([(0, 0), (0, 48), (32, 0), (32, 48)], [(0, 0), (5, 16)]):
        picture = torch.randn(3, 96 + max(y for y, _ in offsets), 96 + max(x for _, x in offsets))
        features = torch.randn(len(offsets), dim, 6, 6)
        ours = cosine_logits(upsampler, features, picture, offsets, queries, 16)
        assert_close(ours, plain(upsampler, features, picture, offsets, queries, 16), atol=1e-5, rtol=0)
        norms = pixel_norms(upsampler, features, picture, offsets, 16)
        products = query_products(upsampler, features, picture, offsets, queries, 16)
        assert_close(products / norms, ours, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_a_window_too_large_is_banded(monkeypatch):
    upsampler, queries = random_upsampler(JBUOne, 8), unit(3, 8)
    features, picture = torch.randn(1, 8, 6, 6), torch.randn(3, 96, 96)
    expected = cosine_logits(upsampler, features, picture, [(0, 0)], queries, 16)
    monkeypatch.setattr(factored, "MOST_PIXELS", 96 * 96 - 1)
    monkeypatch.setattr(factored, "Upsampled", None)
    found = cosine_logits(upsampler, features, picture, [(0, 0)], queries, 16)
    assert_close(found, expected, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_features_of_16_bits_are_kept_in_float16():
    """Each window in its own scale: no number overflows, and none vanishes."""
    upsampler, queries = random_upsampler(JBUOne, 80), unit(3, 80)
    offsets, picture = [(0, 0), (0, 48)], torch.randn(3, 96, 144)
    features = (torch.randn(2, 80, 6, 6) * torch.tensor([5e3, 1e-2])[:, None, None, None]).half()
    expected = plain(upsampler, features.float(), picture, offsets, queries, 16)
    ours = cosine_logits(upsampler, features, picture, offsets, queries, 16)
    assert_close(ours, expected, atol=1e-3, rtol=0)
    products = query_products(upsampler, features, picture, offsets, queries, 16)
    assert_close(products / pixel_norms(upsampler, features, picture, offsets, 16), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("patch", [8, 14, 32])
@torch.inference_mode()
def test_any_patch_size(patch):
    upsampler, queries = random_upsampler(JBUOne, 40), unit(3, 40)
    features, picture = torch.randn(1, 40, 4, 3), torch.randn(3, 4 * patch, 3 * patch)
    ours = cosine_logits(upsampler, features, picture, [(0, 0)], queries, patch)
    assert_close(ours, plain(upsampler, features, picture, [(0, 0)], queries, patch), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_patches_of_14_pixels_on_an_apple_gpu(monkeypatch):
    monkeypatch.setattr(flat_module, "pool", pool_by_products)
    test_any_patch_size(14)


def in_tritons_interpreter(module):
    """Runs the function `interpreted` of a module of tests in a process of its own, where no GPU is needed."""
    pytest.importorskip("triton", minversion="3.8")  # older interpreters fail with numpy 2.4
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
    }
    command = [sys.executable, "-c", f"import {module}; {module}.interpreted()"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_kernels_in_tritons_interpreter():
    in_tritons_interpreter("test_flat")


def interpreted():
    """Triton's operations against PyTorch's: both radii, sides of whole tiles and others, shared kernels.

    The large radius in float32 is in `test_golden`.
    """
    from segearth.models.triton_kernels import TritonOperations, call_all

    with torch.inference_mode(), torch.device("meta"):  # whatever the caller has set
        call_all(CPU, torch.float16)
    for radius, h, w, offsets in ((3, 3, 4, ((0, 0),)), (3, 4, 8, ((0, 0), (0, 8))), (5, 5, 6, ((0, 0),))):
        torch.manual_seed(0)
        step, n = random_step(radius), len(offsets)
        pictures = torch.randn(2, 3, 2 * h, 2 * w + 8)
        windows = torch.stack([p[:, :, x : x + 2 * w] for p in pictures for _, x in offsets])
        sources, shift = torch.randn(2 * n, h, w, 21), torch.randn(2 * n, 21)
        places = (offsets, offsets)
        expected = Upsampled(OneStep(step), sources, windows, places, TorchOperations())
        for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 4e-3))[radius == 5 :]:
            found = Upsampled(OneStep(step), sources.to(dtype), windows, places, TritonOperations())
            assert_close(found.channels(slice(2, 19)), expected.channels(slice(2, 19)), atol=tolerance, rtol=0)
            assert_close(found.norms(shift), expected.norms(shift), atol=tolerance, rtol=0)
