"""A CLIP of the user's own: mean, standard deviation, image size and upsampler by the files of its architecture."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
from open_clip import CLIPVisionCfg
from PIL import Image

from segearth import cli
from segearth.clips import STATISTICS, resolve
from segearth.errors import UserError
from segearth.loading import load_model
from segearth.weights import packaged

OPENAI = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1]}
GREY_LEVELS = ((127.5, 127.5, 127.5), (63.75, 127.5, 255.0))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The packaged small CLIP as a file of the user's."""
    monkeypatch.chdir(tmp_path)
    Path("mine.safetensors").symlink_to(packaged("tiny.safetensors"))
    return tmp_path


def write(name: str, preprocess: object = None, **vision: object) -> str:
    """An architecture like that of the small CLIP, as open_clip writes it for the hub."""
    model = json.loads(packaged("tiny.json").read_text())
    model["vision_cfg"] |= vision
    Path(name).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    return name


@pytest.mark.usefixtures("folder")
def test_the_file_of_the_architecture_tells_statistics_size_and_upsampler():
    spec = resolve("mine.safetensors", write("own.json", HALF, image_size=336, patch_size=14))
    assert (spec.own, spec.statistics, spec.window, spec.upsampler) == (True, GREY_LEVELS, 336, "bilinear")
    spec = resolve("mine.safetensors", write("own.json", OPENAI))  # to the bit
    assert (spec.statistics, spec.window, spec.upsampler) == (STATISTICS, 224, "bilateral")
    spec = resolve("mine.safetensors", str(packaged("tiny.json")))  # without preprocess_cfg
    assert (spec.statistics, spec.window, spec.upsampler) == (STATISTICS, 224, "bilateral")
    spec = resolve("hf://owner/name/w.safetensors", write("own.json", HALF, patch_size=32))
    assert (spec.statistics, spec.upsampler) == (GREY_LEVELS, "bilinear")


@pytest.mark.usefixtures("folder")
def test_the_file_beside_the_weights_tells_statistics():
    """Where that of the architecture does not; the size is always the architecture's, which the tensors must fit."""
    write("open_clip_config.json", HALF, image_size=336)
    spec = resolve("mine.safetensors", "ViT-B-16")
    assert (spec.statistics, spec.window) == (GREY_LEVELS, 224)
    assert resolve("mine.safetensors", write("own.json", OPENAI)).statistics == STATISTICS
    assert resolve("hf://owner/name/mine.safetensors", "ViT-B-16").statistics == STATISTICS
    assert resolve("tiny").statistics == STATISTICS


@pytest.mark.parametrize("content", ["", "[]", '{"preprocess_cfg": 3}', '{"preprocess_cfg": {"mean": [0, 0, 0]}}'])
@pytest.mark.usefixtures("folder")
def test_files_that_say_nothing(content):
    for name in ("open_clip_config.json", "own.json"):
        Path(name).write_text(content)
    for architecture in ("ViT-B-16", "own.json", "none.json"):
        spec = resolve("mine.safetensors", architecture)
        assert (spec.statistics, spec.window) == (STATISTICS, 224)


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (OPENAI | {"mean": [0.5, 0.5]}, r"the mean of preprocess_cfg in .*own.json is \[0.5, 0.5\]: expected three"),
        (OPENAI | {"mean": [122.7, 116.7, 104.0]}, "three numbers from 0 to 1, of red, green and blue; correct"),
        (OPENAI | {"std": [0, 0, 0]}, r"the std of .* is \[0, 0, 0\]: expected three numbers above 0"),
        (OPENAI | {"std": "0.5"}, 'the std of .* is "0.5"'),
        (OPENAI | {"mean": [True, 0.5, 0.5]}, "the mean of"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_statistics_that_cannot_be(preprocess, message):
    write("own.json", preprocess)
    with pytest.raises(UserError, match=message):
        resolve("mine.safetensors", "own.json")


def test_sizes_and_patches_of_open_clips_architectures(tmp_path):
    """Of every ViT that open_clip has, as it builds them."""
    (tmp_path / "mine.pt").touch()
    for name in open_clip.list_models():
        vision = open_clip.get_model_config(name)["vision_cfg"]
        if not name.startswith("ViT-") or "timm_model_name" in vision:
            continue
        config, spec = CLIPVisionCfg(**vision), resolve(tmp_path / "mine.pt", name)
        assert spec.window == config.image_size
        assert spec.upsampler == ("bilateral" if config.patch_size == 16 else "bilinear")


@pytest.mark.usefixtures("folder")
def test_a_map_with_them_says_so(photo, capsys):
    own = {"name": "mine.safetensors", "classes": "road; tree", "device": "cpu", "upsampler": "bilinear"}
    plain = load_model(**own, architecture=write("plain.json", OPENAI))
    other = load_model(**own, architecture=write("own.json", HALF))
    assert "mean" not in plain.settings
    assert (other.settings["mean"], other.settings["std"]) == tuple(list(values) for values in GREY_LEVELS)
    assert other.statistics == GREY_LEVELS
    first, second = (one.predict(photo, long_side=64).scores for one in (plain, other))
    assert abs(first - second).max() > 1e-3
    Image.fromarray(photo).save("photo.png")
    arguments = ["info", "photo.png", "--no-cost", "--model", "mine.safetensors", "--architecture", "own.json"]
    assert cli.main(arguments) == 0
    assert (
        "Model: own.json from mine.safetensors: mean 127.5, 127.5, 127.5; standard deviation 63.75, 127.5, 255; "
        "windows of 224 pixels; upsampler bilateral"
    ) in capsys.readouterr().out
