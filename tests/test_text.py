import warnings

import open_clip
import pytest
import torch
from torch.testing import assert_close

from segearth.errors import UserNotice
from segearth.models import encode_text
from segearth.vocabulary import Vocabulary


def test_equals_the_definition(clip, tokenizer, vocabulary):
    features = encode_text(clip, tokenizer, vocabulary)
    assert features.shape == (6, 16)
    assert features.dtype == torch.float32
    for query, feature in zip(vocabulary.queries, features, strict=True):
        texts = tokenizer([template(query) for template in open_clip.OPENAI_IMAGENET_TEMPLATES])
        each = torch.nn.functional.normalize(clip.encode_text(texts), dim=-1)
        assert len(each) == 80
        mean = each.mean(dim=0)
        assert_close(feature, (mean / mean.norm()).detach(), atol=1e-6, rtol=0)


def test_does_not_depend_on_the_other_queries(clip, tokenizer):
    together = encode_text(clip, tokenizer, Vocabulary.from_string("a very long name of a class; road"))
    alone = encode_text(clip, tokenizer, Vocabulary.from_string("road"))
    assert_close(together[1:], alone, atol=1e-6, rtol=0)


def test_a_name_that_is_cut_is_told(clip, tokenizer):
    with pytest.warns(UserNotice, match="'tree tree .*77 tokens"):
        encode_text(clip, tokenizer, Vocabulary.from_list([["road"], ["tree " * 80]]))


def test_longest_name_that_fits_is_not(clip, tokenizer):
    longest = max(len(tokenizer.encode(template(""))) for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
    name = " ".join(["tree"] * (77 - 2 - longest))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserNotice)
        encode_text(clip, tokenizer, Vocabulary.from_string(name))
    with pytest.warns(UserNotice):
        encode_text(clip, tokenizer, Vocabulary.from_string(name + " tree"))


def test_features_are_ordinary_tensors(clip, tokenizer, vocabulary):
    """They go into models that are also used with gradients."""
    features = encode_text(clip, tokenizer, vocabulary)
    assert not features.is_inference()
    assert not features.requires_grad
