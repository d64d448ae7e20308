import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import MINI, mini_clip
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file

from segearth import weights
from segearth.architectures import clip_config
from segearth.clips import CLIPS
from segearth.compute import Compute, choose_device, choose_precision, memory_for
from segearth.errors import UserError
from segearth.loading import load_clip, load_model, load_upsampler
from segearth.models import Bilinear, JBUOne, JBUStack


@pytest.fixture
def mini(tmp_path, monkeypatch) -> str:
    """A model of the table whose weights are in a made-up cache: random, with a jbu_one."""
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path))
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setattr("segearth.architectures.clip_config", lambda name: MINI)
    save_file(mini_clip().state_dict(), tmp_path / "mini.safetensors")
    torch.manual_seed(0)
    state = {f"upsampler.{key}": value for key, value in JBUOne(16).state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "mini.ckpt")
    row = replace(
        CLIPS["clip-vit-b16"],
        name="mini",
        file=weights.File("mini.safetensors", url="http://127.0.0.1:9/mini.safetensors"),
        upsampler_file=weights.File("mini.ckpt", url="http://127.0.0.1:9/mini.ckpt"),
    )
    monkeypatch.setitem(CLIPS, "mini", row)
    return "mini"


def test_from_the_cache_to_a_map(mini, photo):
    predictor = load_model(mini, "road; tree,forest", device="cpu", slide_crop=64, slide_stride=32)
    assert isinstance(predictor.model.upsampler, JBUOne)
    assert predictor.predict(photo, long_side=80).scores.shape == (2, 90, 130)
    expected = mini_clip().state_dict()
    loaded = load_clip(mini).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_weights_that_are_not_there(mini, tmp_path):
    (tmp_path / "mini.safetensors").unlink()
    with pytest.raises(UserError, match='mini.safetensors.*model="tiny"'):
        load_model(mini, "road", device="cpu")


def test_openais_vit_b16_has_quick_gelu():
    """open_clip's name ViT-B-16 builds the exact GELU, for which OpenAI's weights were not trained."""
    row = CLIPS["clip-vit-b16"]
    assert row.architecture == "ViT-B-16-quickgelu"
    assert clip_config(row.architecture)["quick_gelu"] is True
    with torch.device("meta"):
        import open_clip

        clip = open_clip.CLIP(**clip_config(row.architecture))
    for tower in (clip.visual.transformer, clip.transformer):
        assert all(isinstance(block.mlp.gelu, QuickGELU) for block in tower.resblocks)
    assert (clip.visual.patch_size, clip.visual.output_dim) == ((16, 16), 512)


def test_options_reach_the_model():
    predictor = load_model(
        "tiny", "road; tree", device="cpu", method="GEM", ignore_residual=False, upsampler=None,
        cls_token_lambda=0, prob_thd=0.25, bg_idx=1, slide_crop=0, logit_scale=40.0,
    )  # fmt: skip
    model = predictor.model
    assert (model.encoder.method, model.encoder.options.ignore_residual, model.upsampler) == ("GEM", False, None)
    assert (model.prob_thd, model.bg_idx, model.slide_crop, model.logit_scale) == (0.25, 1, 0, 40.0)
    given = {"method": "GEM", "ignore_residual": False, "cls_token_lambda": 0, "slide_crop": 0, "logit_scale": 40.0}
    assert {key: predictor.settings[key] for key in given} == given


def test_background_of_the_vocabulary_is_the_default():
    from segearth.vocabulary import Vocabulary

    assert load_model("tiny", Vocabulary.from_string("road; tree", background=1), device="cpu").model.bg_idx == 1


class Marker:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


def bad_checkpoints(tmp_path):
    """Upsampler files that must be refused: name -> (path, part of the message)."""
    state = {f"upsampler.{key}": value for key, value in JBUOne(8).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "width.ckpt")
    (tmp_path / "damaged.ckpt").write_bytes((tmp_path / "width.ckpt").read_bytes()[:2000])
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "code.ckpt").write_bytes(pickle.dumps(Marker(tmp_path / "marker")))
    torch.save({"state_dict": state, "x": Marker(tmp_path / "marker")}, tmp_path / "hidden.ckpt")
    torch.save({"state_dict": {"conv.weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
    messages = {
        "width": "features of width 8",
        "damaged": "damaged",
        "empty": "not a file of weights at all",
        "code": "it holds more than tensors",
        "hidden": "would have to be run",
        "other": "no upsampler in this checkpoint",
    }
    return {name: (tmp_path / f"{name}.ckpt", message) for name, message in messages.items()}


@pytest.mark.parametrize("name", ["width", "damaged", "empty", "code", "hidden", "other"])
def test_bad_checkpoints(tmp_path, name):
    path, message = bad_checkpoints(tmp_path)[name]
    with pytest.raises(UserError, match=message) as caught:
        load_model("tiny", "road; tree", device="cpu", upsampler=path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "marker").exists()


def test_upsamplers_by_name(tmp_path, test_data, monkeypatch):
    assert isinstance(load_upsampler("bilinear"), Bilinear)
    assert load_upsampler(None) is None
    with pytest.raises(UserError, match="no upsampler 'nothing'.*bilinear, bilateral, simfeatup-kernels, xclip_jbu"):
        load_upsampler("nothing")
    stack = load_upsampler(test_data / "weights" / "clip_jbu_stack_cocostuff.ckpt")
    assert isinstance(stack, JBUStack)
    assert stack.feat_dim == 512
    (tmp_path / "clip_jbu_stack_cocostuff.ckpt").symlink_to(test_data / "weights" / "clip_jbu_stack_cocostuff.ckpt")
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path))
    assert isinstance(load_upsampler("clip_jbu_stack_cocostuff"), JBUStack)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "nothing"}, "nothing.*clip-vit-b16, .*tiny"),
        ({"method": "Foo"}, "unknown method 'Foo'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"device": "tpu9"}, "unknown device"),
        ({"device": "meta"}, "unknown device"),
        ({"classes": ""}, "no classes"),
        ({"classes": "road; road"}, "duplicate"),
        ({"prob_thd": 2.0}, "prob_thd"),
    ],
)
def test_exceptions(arguments, message):
    with pytest.raises(UserError, match=message):
        load_model(**{"name": "tiny", "classes": "road; tree", "device": "cpu", **arguments})


def test_devices(monkeypatch):
    assert choose_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match='sees 0 CUDA devices.*device="cpu"'):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    with pytest.raises(UserError, match="cuda:1"):
        choose_device("cuda:1")


def test_tiny_is_described_by_its_config():
    assert clip_config("tiny") == json.loads(weights.packaged("tiny.json").read_text())


def test_an_unknown_option_names_the_near_one():
    for given, near in (("treshold", "threshold"), ("slide_crops", "slide_crop"), ("upsample", "upsampler")):
        with pytest.raises(UserError, match=rf"load_model has no option '{given}': did you mean '{near}'\?"):
            load_model("tiny", "road; tree", **{given: 1})
    with pytest.raises(UserError, match="expected one of cls_token_lambda"):
        load_model("tiny", "road; tree", zzz=1)
    with pytest.raises(UserError, match=r"threshold 2 is no score"):
        load_model("tiny", "road; tree", threshold=2)


def test_precision_auto_is_what_is_fast_here(monkeypatch):
    monkeypatch.setattr("segearth.compute.bf16_in_hardware", lambda device: True)
    assert choose_precision("auto", torch.device("cpu")) == "bf16"
    assert choose_precision("auto", torch.device("cuda")) == "fp16"
    assert choose_precision("auto", torch.device("mps")) == "fp32"
    assert load_model("tiny", "road; tree", "cpu", "auto").settings["precision"] == "bf16"
    monkeypatch.setattr("segearth.compute.bf16_in_hardware", lambda device: False)
    assert choose_precision("auto", torch.device("cpu")) == "fp32"
    with pytest.raises(UserError, match="expected one of auto, fp32"):
        choose_precision("int8", torch.device("cpu"))


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a\0b", "\x1b[31m", "https://a.org/b.pt"])
def test_names_that_can_be_no_file(name):
    for load in (lambda: load_clip(name), lambda: load_upsampler(name), lambda: load_clip(__file__, name)):
        with pytest.raises(
            UserError, match=r"cannot be opened|an address|unknown model|no upsampler|unknown arch"
        ) as caught:
            load()
        assert str(caught.value).isprintable()


def test_a_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("tiny.safetensors", "tiny.json", "tiny_simfeatup.safetensors"):
        shutil.copy(weights.packaged(name), tmp_path)
    given = {"name": "~/tiny.safetensors", "architecture": "~/tiny.json", "upsampler": "~/tiny_simfeatup.safetensors"}
    settings = load_model(classes="road; tree", device="cpu", **given).settings
    assert settings["weights_sha256"] == CLIPS["tiny"].file.sha256
    assert settings["architecture"].startswith("tiny.json ")


def test_numbers_that_are_not_finite():
    for option in ("cls_token_lambda", "logit_scale", "threshold"):
        for value in (float("nan"), float("inf"), -float("inf")):
            with pytest.raises(UserError, match=f"{option} (is )?-?(nan|inf)"):
                load_model("tiny", "road; tree", "cpu", **{option: value})


def test_wrong_kinds_of_options():
    for options, message in (
        ({"name": None}, "model None: expected a name"),
        ({"device": None}, "unknown device None"),
        ({"prob_thd": 0.5, "threshold": 0.2}, "two names of one option"),
    ):
        with pytest.raises(UserError, match=message):
            load_model(**{"name": "tiny", "classes": "road; tree", **options})


def test_memory_suits_the_device(monkeypatch):
    assert Compute.choose("cpu") == Compute(torch.device("cpu"), "fp32", 400)
    assert Compute.choose("cpu", max_memory_mb=150).max_memory_mb == 150
    cuda = torch.device("cuda")
    for free, expected in ((80e9, 2000), (3 * 2**30, 1536), (0.5e9, 400)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (int(free), int(80e9)))
        assert memory_for(cuda) == expected
