import pytest
import torch
from torch.testing import assert_close

from segearth.models import Bilinear, JBUOne, JBUStack
from segearth.models.factored import cosine_logits
from segearth.models.tile_kernels import axis


def random_upsampler(kind, dim):
    torch.manual_seed(0)
    upsampler = kind() if kind is Bilinear else kind(dim)
    for name, parameter in upsampler.named_parameters():
        spread = 0.3 if name.endswith(("range_temp", "sigma_spatial")) else 0.05
        parameter.data = parameter.data + spread * torch.randn(parameter.shape)
    return upsampler.eval().requires_grad_(False)


def plain(upsampler, features, picture, offsets, queries, patch):
    """The definition: each window's features upsampled in D channels, normalised, times the queries."""
    h, w = features.shape[-2:]
    guides = [picture[None, :, y : y + h * patch, x : x + w * patch] for y, x in offsets]
    pixels = torch.cat([upsampler(f[None], guide) for f, guide in zip(features, guides, strict=True)])
    return torch.einsum("ndhw,qd->nqhw", torch.nn.functional.normalize(pixels, dim=1), queries)


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(1)), dim=-1)


@pytest.mark.parametrize("kind", [JBUOne, JBUStack, Bilinear])
@pytest.mark.parametrize("dim", [8, 512])  # below and above the number of patches + 1
@torch.inference_mode()
def test_equals_the_plain_path(kind, dim):
    upsampler, queries = random_upsampler(kind, dim), unit(7, dim)
    features, picture = torch.randn(1, dim, 6, 4), torch.randn(3, 96, 64)
    ours = cosine_logits(upsampler, features, picture, [(0, 0)], queries, 16)
    assert_close(ours, plain(upsampler, features, picture, [(0, 0)], queries, 16), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [JBUOne, JBUStack, Bilinear])
@torch.inference_mode()
def test_windows_that_share_kernels(kind):
    """Offsets of which some steps can share all, some a part, some nothing."""
    upsampler, queries = random_upsampler(kind, 80), unit(3, 80)
    for offsets in ([(0, 0), (0, 48), (32, 0), (32, 48)], [(0, 0), (8, 16)], [(0, 0), (5, 16)]):
        picture = torch.randn(3, 96 + max(y for y, _ in offsets), 96 + max(x for _, x in offsets))
        features = torch.randn(len(offsets), 80, 6, 6)
        ours = cosine_logits(upsampler, features, picture, offsets, queries, 16)
        assert_close(ours, plain(upsampler, features, picture, offsets, queries, 16), atol=1e-5, rtol=0)


@pytest.mark.parametrize("patch", [8, 14, 16, 32])
@pytest.mark.parametrize(("h", "w"), [(4, 3), (1, 1), (2, 5)])
@torch.inference_mode()
def test_any_patch_size_and_few_patches(patch, h, w):
    upsampler, queries = random_upsampler(JBUOne, 40), unit(3, 40)
    features, picture = torch.randn(1, 40, h, w), torch.randn(3, h * patch, w * patch)
    ours = cosine_logits(upsampler, features, picture, [(0, 0)], queries, patch)
    assert_close(ours, plain(upsampler, features, picture, [(0, 0)], queries, patch), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_labels_are_equal_where_the_best_scores_differ():
    """One window with the patches of a ViT-B/16, 14 × 14, and so many channels that N + 1 < D."""
    upsampler, queries = random_upsampler(JBUOne, 256), unit(9, 256)
    features, picture = torch.randn(1, 256, 14, 14), torch.randn(3, 224, 224)
    ours = cosine_logits(upsampler, features, picture, [(0, 0)], queries, 16)
    expected = plain(upsampler, features, picture, [(0, 0)], queries, 16)
    assert_close(ours, expected, atol=1e-5, rtol=0)
    best = expected.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-4
    assert clear.float().mean() > 0.9
    assert torch.equal(ours.argmax(dim=1)[clear], expected.argmax(dim=1)[clear])


@pytest.mark.parametrize("kind", ["full", "rank 1", "nearly rank 1", "rank 20", "zeros", "tiny", "huge"])
@torch.inference_mode()
def test_features_of_any_rank(kind):
    """As exact as the plain upsampler itself, which is up to 1.5e-7 from its own result in float64."""
    upsampler, queries = random_upsampler(JBUOne, 512), unit(3, 512)
    full, vector = torch.randn(1, 512, 6, 6), torch.randn(1, 512, 1, 1)
    features = {
        "full": full,
        "rank 1": vector * torch.rand(1, 1, 6, 6),
        "nearly rank 1": vector + 1e-5 * full,
        "rank 20": (torch.randn(512, 20) @ torch.randn(20, 36)).view(1, 512, 6, 6),
        "zeros": 0 * full,
        "tiny": 1e-20 * full,
        "huge": 1e15 * full,
    }[kind].contiguous()
    picture = torch.randn(3, 96, 96)
    for bias in (1, 0):  # without it, zeros are zeros all through
        upsampler.fixup_proj[1].bias.mul_(bias)
        ours = cosine_logits(upsampler, features, picture, [(0, 0)], queries, 16)
        upsampler.double()
        exact = plain(upsampler, features.double(), picture.double(), [(0, 0)], queries.double(), 16)
        upsampler.float()
        assert_close(ours.double(), exact, atol=2e-7, rtol=0)


@torch.inference_mode()
def test_any_other_upsampler_is_called_as_it_is():
    class Nearest(torch.nn.Module):
        def forward(self, source, guidance):
            return torch.nn.functional.interpolate(source, size=guidance.shape[-2:])

    features, picture, queries = torch.randn(2, 6, 3, 3), torch.randn(3, 48, 64), unit(2, 6)
    ours = cosine_logits(Nearest(), features, picture, [(0, 0), (0, 16)], queries, 16)
    assert_close(ours, plain(Nearest(), features, picture, [(0, 0), (0, 16)], queries, 16), atol=1e-6, rtol=0)


def test_exceptions():
    with pytest.raises(ValueError, match="do not lie in a picture"):
        cosine_logits(Bilinear(), torch.zeros(1, 4, 3, 3), torch.zeros(3, 48, 50), [(0, 3)], unit(2, 4), 16)


def test_outside_inference_mode():
    """Tables that are kept between calls are ordinary tensors, whoever made them."""
    axis.cache_clear()
    upsampler, queries = random_upsampler(JBUOne, 8), unit(2, 8)
    picture = torch.randn(3, 11 * 16, 11 * 16)
    with torch.inference_mode():
        features = torch.randn(1, 8, 11, 11)
        expected = cosine_logits(upsampler, features, picture, [(0, 0)], queries, 16)
    ours = cosine_logits(upsampler.requires_grad_(), features.clone().requires_grad_(), picture, [(0, 0)], queries, 16)
    assert torch.equal(ours, expected)
    assert not ours.requires_grad
