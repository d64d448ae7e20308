"""The attention methods against loops over heads and tokens."""

import numpy as np
import pytest
import reference
import torch
from torch.testing import assert_close

from segearth.models import attention
from segearth.models.attention import METHODS
from segearth.models.trunk import Heads


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def self_self(z, v, t):
    z = unit(z)
    z = unit(softmax(t * z @ z.T) @ z)
    return softmax(t * z @ z.T) @ v


MIXES = {name: getattr(attention, name.lower()) for name in METHODS if name != "GEM"} | {"GEM": attention.self_self}
EXPECTED = {
    "vanilla": lambda q, k, v, s: softmax(q @ k.T * s) @ v,
    "MaskCLIP": lambda q, k, v, s: v,
    "SCLIP": lambda q, k, v, s: (softmax(q @ q.T * s) + softmax(k @ k.T * s)) @ v,
    "ClearCLIP": lambda q, k, v, s: softmax(q @ q.T * s) @ v,
    "SegEarth": lambda q, k, v, s: (softmax(q @ q.T * s) + softmax(k @ k.T * s) + softmax(v @ v.T * s)) @ v,
    "NACLIP": lambda q, k, v, s: softmax(k @ k.T * s + reference.neighbourhood(1, 4)) @ v,
    "GEM": lambda q, k, v, s: (self_self(v, v, s) + self_self(k, v, s) + self_self(q, v, s)) / 3,
}


@pytest.mark.parametrize("name", METHODS)
def test_equals_the_formula(name):
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 2, 3, 5, 4))  # (B, heads, N, head_dim)
    heads = Heads(*(torch.from_numpy(a) for a in (q, k, v)), 0.7, (1, 4))
    mixed = MIXES[name](heads, heads.v)
    for b in range(2):
        for head in range(3):
            expected = EXPECTED[name](q[b, head], k[b, head], v[b, head], 0.7)
            # the neighbourhood is computed in float32
            assert_close(mixed[b, head], torch.from_numpy(expected), atol=1e-6, rtol=0)


def test_every_method_is_covered():
    assert set(EXPECTED) == set(METHODS)


def test_a_temperature_for_each_image():
    q, k, v = torch.randn(3, 2, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([0.5, 2.0])[:, None, None, None]
    both = attention.self_self(Heads(q, k, v, scale, (2, 2)), v)
    for b, one in enumerate((0.5, 2.0)):
        alone = Heads(q[b : b + 1], k[b : b + 1], v[b : b + 1], one, (2, 2))
        assert_close(both[b : b + 1], attention.self_self(alone, alone.v))
