import open_clip
import pytest
import torch
from conftest import mini_clip
from torch.testing import assert_close

from segearth.errors import UserError
from segearth.models import DenseCLIP
from segearth.models.attention import METHODS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ignore_residual", [True, False])
def test_cardinality_and_batches(clip, method, ignore_residual):
    encoder = DenseCLIP(clip, method, ignore_residual)
    images = torch.randn(3, 3, 48, 80, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features, cls = encoder(images)
        singles = [encoder(image[None]) for image in images]
    assert features.shape == (3, 16, 3, 5)
    assert_close(features, torch.cat([f for f, _ in singles]), atol=1e-5, rtol=0)
    if method == "GEM":
        assert cls is None
    else:
        assert cls.shape == (3, 16)
        assert_close(cls, torch.cat([c for _, c in singles]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("patch_size", [8, 14, 16, 32])
def test_any_patch_size_and_grid(patch_size):
    encoder = DenseCLIP(mini_clip(patch_size=patch_size, image_size=4 * patch_size))
    assert encoder.patch_size == patch_size
    for h, w in ((4, 4), (2, 8), (1, 1), (3, 7)):
        features, _ = encoder(torch.zeros(1, 3, h * patch_size, w * patch_size))
        assert features.shape == (1, 16, h, w)


def test_vanilla_with_residual_is_clip_itself(clip):
    """With q-k attention, residual and FFN nothing is modified: [CLS] is CLIP's own image embedding."""
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    _, cls = DenseCLIP(clip, "vanilla", ignore_residual=False)(image)
    assert_close(cls, clip.encode_image(image), atol=1e-5, rtol=0)


def test_with_embedding_is_both_readouts(clip):
    image = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    encoder = DenseCLIP(clip)
    features, cls, embedding = encoder.with_embedding(image, [2, 0])
    assert_close((features, cls), encoder(image), atol=1e-6, rtol=0)
    assert_close(embedding, clip.encode_image(image[[2, 0]]), atol=1e-5, rtol=0)


def test_the_clip_is_not_changed(clip):
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    image = torch.randn(1, 3, 64, 64)
    own = clip.encode_image(image)
    DenseCLIP(clip, "SegEarth")(image)
    assert_close(clip.encode_image(image), own, atol=0, rtol=0)
    assert all(torch.equal(before[name], value) for name, value in clip.state_dict().items())


def test_reads_only_documented_parts_of_the_attention(clip):
    """A future attention class need not be torch's, as long as it has these four attributes."""

    class OtherAttention(torch.nn.Module):
        def __init__(self, attn):
            super().__init__()
            self.in_proj_weight, self.in_proj_bias = attn.in_proj_weight, attn.in_proj_bias
            self.out_proj, self.num_heads = attn.out_proj, attn.num_heads

    image = torch.randn(1, 3, 64, 64)
    expected, _ = DenseCLIP(clip)(image)
    other = mini_clip()
    last = other.visual.transformer.resblocks[-1]
    last.attn = OtherAttention(last.attn)
    features, _ = DenseCLIP(other)(image)
    assert_close(features, expected)


def test_exceptions(clip):
    with pytest.raises(UserError, match=r"unknown method 'Foo'.*SegEarth"):
        DenseCLIP(clip, "Foo")
    resnet = open_clip.CLIP(
        8,
        {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
        {"vocab_size": 8, "width": 8, "heads": 1, "layers": 1},
    )
    with pytest.raises(UserError, match="no ViT"):
        DenseCLIP(resnet)


def test_smaller_than_a_patch(clip):
    with pytest.raises(ValueError, match="no patch of 16"):
        DenseCLIP(clip)(torch.zeros(1, 3, 16, 15))
