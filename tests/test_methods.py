"""What methods see of a CLIP, those beyond the paper against plain loops, and methods of other packages."""

from __future__ import annotations

import sys

import make_golden
import numpy as np
import pytest
import reference
import torch
import torch.nn.functional as F
from test_golden import DENSE as CASES
from test_golden import assert_close, own, own_clip, tensor
from test_launches import Launches

from segearth.errors import UserError
from segearth.models import DenseCLIP
from segearth.models.attention import METHODS, find_method, last_block, method_names
from segearth.models.replay import Replay
from segearth.models.trunk import Options, Trunk, attend, scaled_layers

MIDDLE = (4, 5)  # the layers of seven that (6, 9) of twelve are


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def expected(method, name, **edits):
    """Features (B, D, h, w) and class vectors (B, D) by plain loops."""
    weights = make_golden.weights(own("mini_clip"))
    images = own("dense_features")[name].astype("float64")
    residual = edits.pop("ignore_residual", True)
    pairs = [reference.dense_clip(weights, make_golden.MINI, image, method, residual, **edits) for image in images]
    return np.stack([features for features, _ in pairs]), [cls for _, cls in pairs]


def compare(method, name, options, **edits):
    features, cls = DenseCLIP(own_clip(), method, **options)(tensor(own("dense_features")[name]))
    wanted, wanted_cls = expected(method, name, **edits)
    assert_close(features, wanted)
    if cls is not None:
        assert_close(cls, np.stack(wanted_cls))


# Beyond the paper.


@pytest.mark.parametrize("name", make_golden.DENSE)  # a square, a row of patches, and a grid that is neither
def test_naclip_is_a_plain_loop(name):
    compare("NACLIP", name, {})


def test_naclip_with_residual():
    compare("NACLIP", "rect", {"ignore_residual": False}, ignore_residual=False)


@pytest.mark.parametrize("method", METHODS)
def test_the_column_of_cls_is_zero(method):
    compare(method, "rect", {"cls_column_zero": True}, column_zero=True)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.has_cls])
def test_the_row_of_cls_is_that_of_middle_layers(method):
    compare(method, "rect", {"cls_row_layers": (6, 9)}, row_layers=MIDDLE)


def test_both_changes_together_and_with_residual():
    both = {"cls_row_layers": (6, 9), "cls_column_zero": True}
    compare("SegEarth", "square", both, row_layers=MIDDLE, column_zero=True)
    compare("SegEarth", "slim", both | {"ignore_residual": False}, row_layers=MIDDLE, column_zero=True,
            ignore_residual=False)  # fmt: skip


def test_each_change_is_seen():
    """Only where it should be: the column in the patches, the row in [CLS]."""
    image = tensor(own("dense_features")["square"])
    features, cls = DenseCLIP(own_clip())(image)
    column, same_cls = DenseCLIP(own_clip(), cls_column_zero=True)(image)
    same, row = DenseCLIP(own_clip(), cls_row_layers=(6, 9))(image)
    close(same_cls, cls)
    close(same, features)
    assert (column - features).abs().max() > 0.01
    assert (row - cls).abs().max() > 0.01


@pytest.mark.parametrize(
    ("layers", "depth", "used"),
    [
        ((6, 9), 12, [6, 7, 8, 9]),
        ((6, 9), 24, [12, 13, 14, 15, 16, 17, 18]),
        ((6, 9), 5, [3, 4]),
        ((6, 9), 7, [4, 5]),
        ((1, 12), 24, list(range(2, 25))),
        ((1, 1), 1, [1]),
        ((12, 12), 3, [3]),
    ],
)
def test_layers_are_scaled_by_depth(layers, depth, used):
    assert list(scaled_layers(layers, depth)) == used


@pytest.mark.parametrize("name", ["ignore_residual", "cls_column_zero"])
def test_what_is_yes_or_no_takes_no_words(name):
    with pytest.raises(UserError, match=f"{name} is 'no': expected True or False"):
        Options(**{name: "no"})


@pytest.mark.parametrize("layers", [(0, 3), (9, 6), (6, 13), (6,), "69", (6.0, 9), (True, 9), 6])
def test_layers_that_cannot_be(layers):
    with pytest.raises(UserError, match=r"cls_row_layers is .*counted from 1 .*\(6, 9\)"):
        DenseCLIP(own_clip(), cls_row_layers=layers)


def test_options_that_a_method_does_not_follow():
    with pytest.raises(UserError, match=r"cls_row_layers is \(6, 9\), .*GEM does not follow: .*SegEarth, NACLIP"):
        DenseCLIP(own_clip(), "GEM", cls_row_layers=[6, 9])


def test_a_graph_of_one_method_is_none_of_another(monkeypatch):
    """What a GPU replays depends on all options."""
    seen = []
    monkeypatch.setattr("segearth.models.replay._capture", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: 0)

    class Image:
        is_cuda, shape, dtype, device = True, (1, 3, 16, 16), torch.float16, "cuda"

        def __len__(self):
            return 1

    with torch.no_grad():
        for options in ({}, {"cls_column_zero": True}, {"cls_row_layers": (6, 9)}):
            encoder = DenseCLIP(own_clip(), **options).eval()
            encoder.forward = lambda _: (None, None)
            monkeypatch.setattr(encoder.visual.conv1.weight, "data", encoder.visual.conv1.weight.data.half())
            replay = Replay()
            replay(encoder, Image())
            seen += list(replay.seen)
    assert len(set(seen)) == 3


# The trunk.


def trunk_of(clip, image, **more):
    return Trunk(clip.visual, image, **more)


def test_hidden_states_are_those_of_the_blocks(clip):
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    states = []
    hooks = [
        block.register_forward_hook(lambda *call: states.append(call[2])) for block in clip.visual.transformer.resblocks
    ]
    own_embedding = clip.encode_image(image)
    for hook in hooks:
        hook.remove()
    trunk = trunk_of(clip, image)
    for layer, state in enumerate(states, start=1):
        close(trunk.hidden(layer), state)
    close(trunk.projected(trunk.hidden(trunk.depth))[1], own_embedding)


def test_attention_of_any_layer(clip):
    """CLIP's own: with it, its values give what the block adds."""
    image = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))
    trunk = trunk_of(clip, image)
    for layer in (1, 3, 7):
        attention, heads = trunk.attention(layer), trunk.heads(layer)
        assert attention.shape == (2, 2, 16, 16)
        close(attention.sum(dim=-1), torch.ones(2, 2, 16))
        close(trunk.attention(layer, slice(1)), attention[:, :, :1])
        normed = trunk.normed(layer)
        added = clip.visual.transformer.resblocks[layer - 1].attn(normed, normed, normed, need_weights=False)[0]
        close(trunk.joined(layer, attention @ heads.v), added)
        close(attend(heads.q, heads.k, heads.v, heads.scale), attention @ heads.v)


def test_nothing_is_computed_before_it_is_asked_for_and_nothing_twice(clip):
    image = torch.zeros(1, 3, 64, 64)
    calls = []
    blocks = clip.visual.transformer.resblocks
    hooks = [block.register_forward_hook(lambda *_, i=i: calls.append(i)) for i, block in enumerate(blocks, start=1)]
    trunk = trunk_of(clip, image)
    assert trunk.grid == (4, 4)
    assert not calls
    trunk.heads(4)
    assert calls == [1, 2, 3]
    trunk.attention(4)
    trunk.hidden(5)
    assert calls == [1, 2, 3, 4, 5]
    trunk.hidden(2)  # back: anew
    assert calls == [1, 2, 3, 4, 5, 1, 2]
    calls.clear()
    DenseCLIP(clip)(image)
    assert calls == [1, 2, 3, 4, 5, 6]
    for hook in hooks:
        hook.remove()


def by_hand(visual, image):
    """SegEarth's features, with no operation that is not needed."""
    x = visual.conv1(image).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    x = visual.ln_pre(x + visual.positional_embedding)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = block(x)
    qkv = F.linear(last.ln_1(x), last.attn.in_proj_weight, last.attn.in_proj_bias)
    q, k, v = qkv.unflatten(-1, (3, last.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    scale = q.shape[-1] ** -0.5
    parts = [F.scaled_dot_product_attention(one * scale, one, v, scale=1.0) for one in (q, k, v)]
    mixed = parts[0] + parts[1] + parts[2]
    return visual.ln_post(last.attn.out_proj(mixed.transpose(1, 2).flatten(2))) @ visual.proj


def test_weights_of_attention_cost_only_those_who_ask(clip):
    """SegEarth launches what it did before there was a trunk; its changes add a little."""
    counts = []
    for options in ({}, {"cls_column_zero": True}, {"cls_row_layers": (6, 9)}):
        encoder = DenseCLIP(clip, **options).requires_grad_(False)
        with torch.inference_mode(), Launches() as launches:
            encoder(torch.zeros(1, 3, 64, 64))
        counts.append(launches.count)
    with torch.inference_mode(), Launches() as launches:
        by_hand(clip.visual, torch.zeros(1, 3, 64, 64))
    assert counts[0] == launches.count
    assert 0 < counts[1] - counts[0] < 30
    assert 0 < counts[2] - counts[0] < 60


def test_layers_that_are_none(clip):
    trunk = trunk_of(clip, torch.zeros(1, 3, 16, 16))
    for wrong in (lambda: trunk.hidden(8), lambda: trunk.heads(0), lambda: trunk.attention(8)):
        with pytest.raises(ValueError, match="no layer"):
            wrong()


# Methods of other packages.


def residual_cross_attention(trunk):
    """The method of a user: half of it the mean attention of layers in the middle, half key-key attention."""
    layers = scaled_layers((6, 9), trunk.depth)
    middle = torch.stack([trunk.attention(layer) for layer in layers]).mean(dim=0)
    z = trunk.heads(trunk.depth)
    return trunk.finished(0.5 * (middle @ z.v + attend(z.k, z.k, z.v, z.scale)))


PLUGIN = """
from segearth.models.attention import replacing
from segearth.models.trunk import attend

def values(z, values):
    return attend(z.v, z.v, values, z.scale)

method = replacing(values)
broken = 3
"""
ENTRY_POINTS = "[segearth.methods]\nValueValue = {0}:method\nBroken = {0}:broken\nGone = {0}:gone\n"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package as pip installs it, with entry points."""
    name = "segearth_value_value"
    (tmp_path / f"{name}.py").write_text(PLUGIN)
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS.format(name))
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_a_method_from_outside_by_entry_point(clip, plugin):
    assert method_names() == [*METHODS, "Broken", "Gone", "ValueValue"]
    assert plugin not in sys.modules  # names alone import nothing
    image = torch.randn(1, 3, 48, 80, generator=torch.Generator().manual_seed(0))
    features, _ = DenseCLIP(clip, "ValueValue", cls_column_zero=True)(image)
    trunk = Trunk(clip.visual, image, Options(cls_column_zero=True))
    torch.testing.assert_close(features, last_block(lambda z, v: attend(z.v, z.v, v, z.scale))(trunk)[0])
    assert find_method("ValueValue") is METHODS["ValueValue"]
    with pytest.raises(UserError, match="'Broken' of another package is of type int, not segearth"):
        find_method("Broken")
    with pytest.raises(UserError, match="'Gone' of another package cannot be loaded .AttributeError"):
        find_method("Gone")


def test_the_goldens_of_the_paper_have_no_other_methods():
    assert {case.split("|")[0] for case in CASES} == set(METHODS) - {"NACLIP"}
