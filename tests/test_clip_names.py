"""A CLIP's weights under whatever names they were published with: the same tensors, under open_clip's."""

from __future__ import annotations

import pytest
import torch
from conftest import MINI, mini_clip
from torch import Tensor

from segearth.clip_names import open_clip_names, sizes_of, without_prefixes


def transformers_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an `open_clip.CLIP` as Hugging Face's `CLIPModel` has them, with the buffers of older versions."""
    named = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T.contiguous(),
        "text_projection.weight": state["text_projection"].T.contiguous(),
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_model.embeddings.position_ids": torch.arange(77)[None],
    }
    for kind in ("weight", "bias"):
        named[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        named[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        named[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
        for theirs, ours, layers in (("vision", "visual.", 7), ("text", "", 2)):
            for i in range(layers):
                layer, block = f"{theirs}_model.encoder.layers.{i}", f"{ours}transformer.resblocks.{i}"
                for one, part in zip("qkv", state[f"{block}.attn.in_proj_{kind}"].chunk(3), strict=True):
                    named[f"{layer}.self_attn.{one}_proj.{kind}"] = part.clone()
                for their_part, our_part in (
                    ("self_attn.out_proj", "attn.out_proj"),
                    ("layer_norm1", "ln_1"),
                    ("layer_norm2", "ln_2"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ):
                    named[f"{layer}.{their_part}.{kind}"] = state[f"{block}.{our_part}.{kind}"]
    return named


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A CLIP in which no two tensors are equal."""
    return {name: torch.randn_like(value) for name, value in mini_clip().state_dict().items()}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_own_names_stay(state):
    assert same(open_clip_names(state), state)


def test_names_of_hugging_face(state):
    theirs = transformers_names(state)
    assert len(theirs) == 2 + len(state) + 2 * 2 * (7 + 2)  # two buffers; q, k, v apart, weights and biases
    assert same(open_clip_names(theirs), state)
    shuffled = dict(sorted(theirs.items(), reverse=True))  # as in a file whose names are in another order
    assert same(open_clip_names(shuffled), state)


@pytest.mark.parametrize("prefix", ["module.", "model.", "clip.", "_orig_mod.", "module._orig_mod.", "model.clip."])
def test_prefixes(state, prefix):
    for named in (state, transformers_names(state)):
        assert same(open_clip_names({prefix + name: value for name, value in named.items()}), state)


def test_a_prefix_of_some_names_stays():
    assert list(without_prefixes({"model.a": torch.ones(1), "b": torch.ones(1)})) == ["model.a", "b"]
    assert without_prefixes({}) == {}
    assert list(without_prefixes({"module.": torch.ones(1)})) == [""]


def test_what_is_no_weight_is_passed_over(state):
    beside = {
        "attn_mask": torch.full((77, 77), -torch.inf),
        "logit_bias": torch.tensor(-10.0),
        "input_resolution": torch.tensor(224),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    assert same(open_clip_names({**state, **beside}), state)
    prefixed = {f"module.{name}": value for name, value in state.items()}
    averaged = {"n_averaged": torch.tensor(3)}  # of torch.optim.swa_utils.AveragedModel
    assert same(open_clip_names({**averaged, **prefixed, **beside}), state)
    assert same(open_clip_names({**state, "logit_scale": state["logit_scale"][None]}), state)  # a list of one


def test_a_text_tower_of_its_own(state):
    """As open_clip's CustomTextCLIP has it."""
    apart = {
        name if name.startswith("visual.") or name == "logit_scale" else f"text.{name}": value
        for name, value in state.items()
    }
    assert same(open_clip_names({**apart, "text.attn_mask": torch.zeros(77, 77)}), state)


@pytest.mark.parametrize("odd", [None, torch.tensor(1.0), torch.rand(3, 16), torch.rand(16)])
def test_queries_keys_and_values_that_do_not_fit_keep_their_names(state, odd):
    """Strict loading then tells them."""
    name = "text_model.encoder.layers.1.self_attn.k_proj.weight"
    theirs = {**transformers_names(state), name: odd}
    if odd is None:
        del theirs[name]
    found = open_clip_names(theirs)
    assert "transformer.resblocks.1.attn.in_proj_weight" not in found
    assert name.replace("k_proj", "q_proj") in found


def test_unknown_names_stay(state):
    for name in ("vision_model.head.probe", "vision_model.encoder.layers.0.mlp.fc3.weight", "\x1b[31m"):
        assert open_clip_names({**transformers_names(state), name: torch.ones(2)}).keys() - state.keys()


def test_sizes(state):
    found = sizes_of(state)
    assert found._asdict() == {
        "embed_dim": MINI["embed_dim"],
        "width": 32,
        "layers": 7,
        "patch_size": 16,
        "image_size": 64,
        "text_width": 16,
        "text_layers": 2,
        "context_length": 77,
        "vocab_size": 49408,
    }
    assert found.grid == 4
    for name, odd in (
        ("visual.positional_embedding", torch.rand(16, 32)),  # no square and one
        ("visual.positional_embedding", torch.rand(0, 32)),
        ("visual.conv1.weight", torch.tensor(1.0)),
        ("visual.proj", torch.rand(3)),
    ):
        assert sizes_of({**state, name: odd}) is None
    assert sizes_of({}) is None
