"""Architectures that can be built, those that are refused by name, and the one that weights are of."""

import json

import open_clip
import pytest
import torch
from conftest import MINI, mini_clip
from safetensors.torch import save_file

from segearth.architectures import build_clip, clip_config, fitting_advice
from segearth.checkpoints import read_state_dict
from segearth.errors import UserError, called_as
from segearth.loading import load_clip, load_model


def vision(**changes):
    return {**MINI, "vision_cfg": {**MINI["vision_cfg"], **changes}}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (vision(timm_model_name="hf-hub:someone/model"), "timm's hf-hub:someone/model"),
        (vision(timm_model_name="local-dir:/tmp"), "timm's local-dir:/tmp"),
        (vision(timm_model_name="\x1b[31mred"), r"timm's \\x1b\[31mred"),
        (vision(layers=[3, 4, 6, 3]), "a ResNet"),
        (vision(layers=10**12), "its image tower has 1,000,000,000,000 layers"),
        ({**MINI, "text_cfg": {**MINI["text_cfg"], "layers": 1001}}, "its text tower has 1,001 layers"),
        (vision(attentional_pool=True), "an attentional pooler"),
        (vision(qk_norm=True), "an attention of their own"),
        (vision(block_type="custom"), "an attention of their own"),
        ({**MINI, "text_cfg": {"hf_model_name": "roberta-base"}}, "roberta-base of Hugging Face's transformers"),
        (clip_config("RN50"), "a ResNet"),
        (clip_config("ViT-B-16-SigLIP"), "timm's vit_base_patch16_siglip_224"),
        (clip_config("coca_ViT-B-32"), "an attentional pooler"),
        (clip_config("coca_base"), "CoCa's"),
        (clip_config("ViT-L-14-CLIPA"), "the tokenizer bert-base-uncased, not by CLIP's own, as of CLIPA"),
        (clip_config("ViT-H-14-worldwide"), "the tokenizer facebook/xlm-v-base, not by CLIP's own"),
        (clip_config("EVA02-B-16"), "timm's eva02_base_patch16_clip_224, which has other parts"),
        (vision(no_ln_pre=True), r"norms in another order \(no_ln_pre=True\)"),
        (vision(pool_type="avg"), r"norms in another order \(pool_type='avg'\)"),
        (clip_config("xlm-roberta-base-ViT-B-32"), "xlm-roberta-base of"),
    ],
)
def test_other_towers_are_refused_by_name(config, named, monkeypatch):
    """Nothing is built or looked up: timm would ask the hub for what such a name names."""
    monkeypatch.setattr(open_clip, "CLIP", None)
    with pytest.raises(UserError, match=f"architecture x cannot be used: .*{named}.*use the weights of such a CLIP"):
        build_clip(config, "x")


def test_every_vit_of_open_clip_is_built():
    names = ["ViT-B-16", "ViT-L-14-336-quickgelu", "ViT-bigG-14", "ViT-M-16-alt"]
    with torch.device("meta"):
        for name in names:
            state = build_clip(clip_config(name), name).state_dict()
            assert fitting_advice(state, clip_config(name), name) == ""


@pytest.mark.parametrize(
    ("weights", "chosen", "fits"),
    [
        ("ViT-L-14-336", "ViT-L-14-quickgelu", "ViT-L-14-336-quickgelu"),
        ("ViT-L-14-336-quickgelu", "ViT-L-14", "ViT-L-14-336"),  # the activation is not in the tensors
        ("ViT-B-16", "ViT-B-32", "ViT-B-16"),
    ],
)
def test_weights_tell_their_architecture(weights, chosen, fits):
    with torch.device("meta"):
        state = build_clip(clip_config(weights), weights).state_dict()
    with called_as("segearth predict"):
        assert fitting_advice(state, clip_config(chosen), chosen).endswith(f": use --architecture {fits}")


def test_a_position_embedding_of_another_grid(tmp_path):
    (tmp_path / "mini.json").write_text(json.dumps(MINI))
    save_file(mini_clip(image_size=80).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"positional_embedding is \[26, 32\], not \[17, 32\].*") as caught:
        load_clip(tmp_path / "w.safetensors", str(tmp_path / "mini.json"))
    assert "images of 80 pixels (5 × 5 patches): give architecture a JSON file with" in str(caught.value)
    (tmp_path / "mini.json").write_text(json.dumps(vision(image_size=80)))
    load_clip(tmp_path / "w.safetensors", str(tmp_path / "mini.json"))
    assert read_state_dict(tmp_path / "w.safetensors")["visual.positional_embedding"].shape == (26, 32)


@pytest.mark.parametrize("words", [60, 49407, 49409, 60000])
def test_another_tokenizer_is_refused(tmp_path, words):
    """open_clip's worldwide models know more words than CLIP's: they would get wrong ones silently."""
    config = {**MINI, "text_cfg": {**MINI["text_cfg"], "vocab_size": words}}
    (tmp_path / "w.json").write_text(json.dumps(config))
    save_file(open_clip.CLIP(**config).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=f"knows {words} tokens: expected the 49408 of CLIP's own tokenizer"):
        load_model(tmp_path / "w.safetensors", "road; tree", "cpu", architecture=str(tmp_path / "w.json"))


@pytest.mark.parametrize("name", ["width", "mlp_ratio"])
def test_sizes_that_only_a_file_claims_take_no_memory(tmp_path, name):
    """2**40 numbers and more: nobody has so much memory."""
    (tmp_path / "mini.json").write_text(json.dumps(vision(**{name: 2**20})))
    save_file(mini_clip().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"the weights of .* do not fit: .* is \[.*\], not \[.*"):
        load_clip(tmp_path / "w.safetensors", str(tmp_path / "mini.json"))
