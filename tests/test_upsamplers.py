"""Upsamplers for any CLIP: the untrained filter, kernels of published ones, and upsamplers of other packages."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from segearth import plugins, weights
from segearth.clips import CLIPS, resolve, upsamplers
from segearth.errors import UserError
from segearth.loading import load_model, load_upsampler
from segearth.models.bilateral import COLOUR_SIGMA, SPATIAL_SIGMA, bilateral_filter
from segearth.models.factored import cosine_logits
from segearth.models.simfeatup import JBUOne, JBUStack, LinearUpsampler


class Nearest(nn.Module):
    """As a package of somebody else may have it."""

    def forward(self, source, guidance):
        return F.interpolate(source, size=guidance.shape[-2:], mode="nearest")


class Broken(nn.Module):
    """One that cannot be made."""

    def __init__(self):
        raise RuntimeError("no kernels")


@pytest.fixture
def saved(tmp_path):
    """Random upsamplers of width 24 in files, as they are trained."""

    def save(kind):
        torch.manual_seed(3)
        module = kind(24, radius=2)
        path = tmp_path / f"{kind.__name__}.safetensors"
        save_file(module.state_dict(), path)
        return path, module.eval()

    return save


def test_the_filter_is_the_joint_bilateral_one():
    """Kopf et al. 2007, equation 3, at one pixel of one doubling, by a plain sum."""
    step = bilateral_filter().up
    radius, centre = step.radius, 7
    torch.manual_seed(0)
    source, picture = torch.randn(1, 2, 8, 8), torch.rand(1, 3, 16, 16)
    found = step(source, picture)[0, :, centre, centre]
    enlarged = F.interpolate(source, size=(16, 16), mode="bicubic", align_corners=False)
    padded, guide = (F.pad(one, [radius] * 4, mode="reflect")[0].double() for one in (enlarged, picture))
    total, weighted = 0.0, torch.zeros(2, dtype=torch.double)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            y, x = centre + radius + dy, centre + radius + dx
            colours = (guide[:, y, x] - picture[0, :, centre, centre].double()).square().sum()
            weight = torch.exp(-colours / (2 * COLOUR_SIGMA**2) - (dy**2 + dx**2) / (2 * SPATIAL_SIGMA**2))
            total, weighted = total + weight, weighted + weight * padded[:, y, x]
    assert torch.allclose(found.double(), weighted / total, atol=0.03)  # its keys are fitted
    assert not torch.allclose(found.double(), enlarged[0, :, centre, centre].double(), atol=0.1)


def test_the_filter_is_always_the_same_and_leaves_the_callers_numbers_alone():
    torch.manual_seed(5)
    first = bilateral_filter().state_dict()
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, first[key]) for key, value in bilateral_filter().state_dict().items())


@pytest.mark.parametrize("patch", [14, 16, 32])
@pytest.mark.parametrize("kind", [JBUOne, JBUStack])
def test_kernels_serve_any_width_and_patch(saved, kind, patch):
    """As the whole one with a last convolution of zeros, which is that of another width left away."""
    path, module = saved(kind)
    kernels = load_upsampler(f"kernels:{path}")
    with torch.no_grad():
        for parameter in module.fixup_proj.parameters():
            parameter.zero_()
    torch.manual_seed(1)
    picture, queries = torch.randn(3, 5 * patch, 3 * patch), F.normalize(torch.randn(4, 24), dim=1)
    features = torch.randn(1, 24, 5, 3)
    expected = F.normalize(module(features, picture[None]), dim=1)
    found = cosine_logits(kernels, features, picture, [(0, 0)], queries, patch)
    assert torch.allclose(found, torch.einsum("ndhw,qd->nqhw", expected, queries), atol=1e-5)
    wide = cosine_logits(kernels, torch.randn(1, 40, 5, 3), picture, [(0, 0)], torch.eye(40)[:2], patch)
    assert wide.shape == (1, 2, 5 * patch, 3 * patch)


def test_another_width_is_refused_with_what_serves(saved, photo):
    path, _ = saved(JBUOne)
    with pytest.raises(UserError, match=r'width 24, this CLIP gives 128.*"kernels:" before its name or path'):
        load_model("tiny", "road; tree", "cpu", upsampler=path)
    found = load_model("tiny", "road; tree", "cpu", upsampler=f"kernels:{path}")
    assert found.settings["upsampler"] == f"kernels:{path.name}"
    assert len(found.settings["upsampler_sha256"]) == 64
    assert np.isfinite(found.predict(photo, long_side=112).scores).all()


def test_published_kernels_by_name(saved, monkeypatch):
    path, _ = saved(JBUOne)
    monkeypatch.setattr(weights, "fetch", lambda *_, **__: path)
    assert load_upsampler("simfeatup-kernels").feat_dim is None
    assert load_upsampler("kernels:xclip_jbu_one_million_aid").feat_dim is None
    assert load_upsampler("xclip_jbu_one_million_aid").feat_dim == 24
    assert weights.upsampler_kind("simfeatup-kernels") == "simfeatup-kernels"


def test_the_default_without_an_upsampler_of_its_own(tmp_path):
    """By the side of the patches, where it was measured; a pair of a config keeps what the official code has."""
    assert {row.upsampler for row in CLIPS.values() if row.patch != 16} == {"bilinear"}
    assert {row.upsampler for row in CLIPS.values() if row.patch == 16} == {"bilateral", "jbu_one"}
    assert resolve(("MetaCLIP", "ViT-B/16")).upsampler == "bilinear"
    assert resolve(("CLIP", "ViT-B/16")).upsampler == "jbu_one"
    (tmp_path / "mine.pt").touch()
    for architecture, expected in {
        "ViT-B-16": "bilateral",
        "ViT-B-16-quickgelu": "bilateral",
        "ViT-L-14": "bilinear",
        "ViT-L-14-336": "bilinear",
    }.items():
        assert resolve(tmp_path / "mine.pt", architecture).upsampler == expected


def test_an_upsampler_from_outside(monkeypatch, photo):
    monkeypatch.setattr(upsamplers, "REGISTRY", replace(upsamplers.REGISTRY, table=dict(upsamplers.UNTRAINED)))
    upsamplers.register_upsampler("nearest", Nearest)
    upsamplers.register_upsampler("nearest", Nearest)  # again: as well
    with pytest.raises(UserError, match="there is an upsampler 'bilinear' already"):
        upsamplers.register_upsampler("bilinear", Nearest)
    found = load_model("tiny", "road; tree", "cpu", upsampler="nearest", slide_crop=0)
    assert found.settings["upsampler"] == "nearest"
    scores = found.predict(photo[:80, :128], long_side=None).scores
    assert np.ptp(scores[:, :16, :16], axis=(1, 2)).max() < 1e-6  # one value a patch


class Sharp(LinearUpsampler):
    """One with kernels of its own, which do not depend on the features: the fast path serves it by what it declares."""

    def forward(self, source, guidance):
        return self.interpolate(source, guidance)

    def interpolate(self, source, guidance):
        weight = 1 + guidance.mean(dim=1, keepdim=True).sigmoid()
        return weight * F.interpolate(source, size=guidance.shape[-2:], mode="bicubic", align_corners=False)


def test_a_linear_one_from_outside_takes_the_fast_path(monkeypatch, photo):
    monkeypatch.setattr(upsamplers, "REGISTRY", replace(upsamplers.REGISTRY, table=dict(upsamplers.UNTRAINED)))
    upsamplers.register_upsampler("sharp", Sharp)
    predictor = load_model("tiny", "road; tree", "cpu", upsampler="sharp")
    expected = predictor.predict(photo, long_side=130).scores
    found = predictor.encode(photo, long_side=130).classify().scores  # which keeps norms
    assert np.abs(found - expected).max() < 1e-5
    monkeypatch.setattr(Sharp, "linear", False)
    plain = predictor.predict(photo, long_side=130).scores
    assert not np.array_equal(plain, expected)  # another way of rounding
    assert np.abs(plain - expected).max() < 1e-4


def test_an_upsampler_of_an_installed_package(monkeypatch):
    group = upsamplers.REGISTRY.group
    points = [EntryPoint(name, f"test_upsamplers:{name}", group) for name in ("Nearest", "Broken", "Gone")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: EntryPoints(p for p in points if p.group == group))
    assert isinstance(load_upsampler("Nearest"), Nearest)
    with pytest.raises(UserError, match=r"'Gone' of another package cannot be loaded .AttributeError: "):
        load_upsampler("Gone")
    with pytest.raises(UserError, match=r"'Broken' of another package cannot be made .RuntimeError: no kernels"):
        load_upsampler("Broken")
    with pytest.raises(UserError, match="use bilinear, bilateral, Broken, Gone, Nearest, simfeatup-kernels, "):
        load_upsampler("nearest")
