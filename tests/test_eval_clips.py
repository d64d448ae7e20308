"""Evaluation with the CLIPs of the table, by the pairs of official configs and by name, and with one's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdata import picture
from PIL import Image
from safetensors.torch import save_file
from standins import WIDTH, cache, put, save  # noqa: F401 (a fixture)
from test_clips import DIFFERENT
from test_eval import OFFICIAL_BASE

from segearth import cli
from segearth.clips import CLIPS, resolve
from segearth.config_files import ConfigChanges
from segearth.errors import UserError
from segearth.hashes import sha256_of
from segearth.models import JBUOne
from segearth.openmmlab.config import load_config
from segearth.openmmlab.evaluate import evaluate
from segearth.openmmlab.identity import run_settings
from segearth.openmmlab.segmentor import SegEarthSegmentation
from segearth.results.record import WeightFile

CONFIG = """
_base_ = './base_config.py'
model = dict(name_path='./cls.txt', clip_type={clip_type!r}, vit_type={vit_type!r}, slide_stride=112, slide_crop=224)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        metainfo=dict(classes=('road', 'tree', 'water'), palette=[[0, 0, 0], [9, 9, 9], [99, 9, 9]]),
        data_root='',
        img_suffix='.png',
        seg_map_suffix='.png',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(224, 224), keep_ratio=True),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, cache) -> Path:  # noqa: ARG001, F811
    """An image of 300 × 421 pixels with labels of three classes, an official base config, and stand-ins."""
    monkeypatch.chdir(tmp_path)
    for name in ("images", "labels"):
        Path(name).mkdir()
    Image.fromarray(picture(300, 421, 0)).save("images/0.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 3, (300, 421), dtype=np.uint8)).save("labels/0.png")
    Path("cls.txt").write_text("road\ntree,forest\nwater\n")
    Path("base_config.py").write_text(OFFICIAL_BASE.replace("device='cuda'", "device='cpu'"))
    return tmp_path


def write(clip_type: str, vit_type: str, more: str = "") -> Path:
    Path("cfg.py").write_text(CONFIG.format(clip_type=clip_type, vit_type=vit_type) + more)
    return Path("cfg.py")


# Of the seven families that are built: their towers, and the end of the architectures that the official code takes.
OFFICIAL = {
    "CLIP": (["ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336"], "-quickgelu"),
    "OpenCLIP": (["ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-H/14"], ""),
    "MetaCLIP": (["ViT-B/32", "ViT-B-16", "ViT-L/14", "ViT-H/14"], "-quickgelu"),
    "RemoteCLIP": (["ViT-B-32", "ViT-L-14"], ""),
    "GeoRSCLIP": (["ViT-B/32", "ViT-L-14", "ViT-L-14-336", "ViT-H/14"], ""),
    "SkyCLIP": (["ViT-B/32", "ViT-L/14"], ""),
    "ALIP": (["ViT-B/32"], ""),
}
PAIRS = [
    (family, tower, tower.replace("/", "-").replace("@", "-") + activation)
    for family, (towers, activation) in OFFICIAL.items()
    for tower in towers
]


def test_all_pairs_of_the_table_are_here():
    built = {row.name for row in CLIPS.values() if row.family in OFFICIAL}
    assert {resolve((family, tower)).name for family, tower, _ in PAIRS} == built


@pytest.mark.parametrize(("clip_type", "vit_type", "architecture"), PAIRS)
def test_official_configs_of_every_family(folder, cache, monkeypatch, clip_type, vit_type, architecture):  # noqa: F811
    """Their pair, their upsampler and their data; the row says what was computed, and how a name would differ."""
    row = resolve((clip_type, vit_type))
    path = put(CLIPS[row.name], cache, monkeypatch)
    run, _ = evaluate(write(clip_type, vit_type), folder / "out", quiet=True)
    assert (run.clip, run.model, run.architecture) == (clip_type, row.name, architecture)
    assert run.weights.clip == WeightFile(file=path.name, sha256=sha256_of(path))
    assert run.upsampler == "jbu_one (xclip_jbu_one_million_aid.ckpt)"
    assert (run.images, len(run.per_class)) == (1, 3)
    assert sum(result.label_pixels for result in run.per_class) == 300 * 421
    says = f"the name {row.name} takes what it was trained with"
    assert (says in (run.about or "")) == (row.name in DIFFERENT)


@pytest.mark.usefixtures("folder")
def test_ones_own_clip_from_the_command_line(capfd):
    """By path, with its architecture and an upsampler of its own; what does not fit together is a sentence."""
    save(CLIPS["remoteclip-vit-l14"], Path("mine.pt"))
    torch.manual_seed(3)
    save_file(JBUOne(WIDTH, radius=1).state_dict(), "up.safetensors")
    own = ["--model", "mine.pt", "--architecture", "ViT-L-14"]
    config = str(write("CLIP", "ViT-B/16"))
    assert cli.main(["eval", config, *own, "--upsampler", "up.safetensors", "-o", "out", "-q"]) == 0
    (row,) = json.loads(Path("out/results.json").read_text())
    assert (row["CLIP"], row["VIT"], row["model"], row["architecture"]) == (
        "mine.pt",
        "ViT-L-14",
        "mine.pt",
        "ViT-L-14",
    )
    assert row["upsampler"] == "jbu_one (up.safetensors)"
    assert row["weights"]["clip"] == {"file": "mine.pt", "sha256": sha256_of(Path("mine.pt"))}
    assert row["weights"]["upsampler"] == {"file": "up.safetensors", "sha256": sha256_of(Path("up.safetensors"))}
    assert row["options"] == ["model.upsampler=up.safetensors"]
    capfd.readouterr()
    for arguments, message in (
        (own[:2], "tell its --architecture, too"),
        (own[2:], "--architecture ViT-L-14 is for weights of your own"),
        (["--model", "tiny", *own[2:]], "the model tiny has its own"),
        (["--upsampler", "up.safetensors", "--cfg-options", "model.feature_up=False"], "up.safetensors is not used"),
        (["--upsampler", "none.ckpt"], "no upsampler 'none.ckpt'"),
    ):  # fmt: skip
        assert cli.main(["eval", config, *arguments, "-o", "other", "-q"]) == 2
        assert message in capfd.readouterr().err


def test_ones_own_clip_in_a_config(folder, monkeypatch):
    """Keys `model`, `architecture` and `upsampler`; paths are looked for as those of data are."""
    Path("lib").mkdir()
    save(CLIPS["clip-vit-b16"], Path("lib/mine.safetensors"))
    more = "model.update(model='lib/mine.safetensors', architecture='ViT-B-16-quickgelu', upsampler='bilinear')"
    config = write("CLIP", "ViT-B/16", more).absolute()
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    loaded = load_config(
        config, changes=ConfigChanges(options=[f"test_dataloader.dataset.data_prefix.img_path={folder}/images"])
    )
    assert loaded.model.model == str(folder / "lib/mine.safetensors")
    made = SegEarthSegmentation(**{key: value for key, value in loaded.model.items() if key != "type"})
    assert (made.source.name, made.upsampler) == ("mine.safetensors", "bilinear")
    with pytest.raises(UserError, match="architecture 'ViT-B-32' without model"):
        load_config(config, changes=ConfigChanges(options=["model.model=None", "model.architecture=ViT-B-32"]))


@pytest.mark.usefixtures("folder")
def test_a_name_and_a_pair_are_two_runs(cache, monkeypatch):  # noqa: F811
    """Another activation or mean is another result; where a file lies is none."""
    from segearth.openmmlab.datasets import open_dataset

    put(CLIPS["georsclip-vit-b32"], cache, monkeypatch)
    path = put(CLIPS["openclip-vit-l14"], cache, monkeypatch)
    dataset = open_dataset(load_config(write("CLIP", "ViT-B/16")).test_dataloader.dataset)
    shutil.copy(path, "copy.bin")
    shutil.copy(path, "lib.bin")

    def of(**keys: str) -> dict:
        config = load_config(write("CLIP", "ViT-B/16"))
        config.model.update(upsampler="bilinear", **keys)
        return run_settings(config, dataset)

    assert of(model="georsclip-vit-b32") != of(clip_type="GeoRSCLIP", vit_type="ViT-B/32")
    assert of(model="openclip-vit-l14") != of(clip_type="OpenCLIP", vit_type="ViT-L/14")
    assert of(clip_type="OpenCLIP", vit_type="ViT-L/14") == of(clip_type="openclip", vit_type="ViT-L-14")
    Path("other").mkdir()
    shutil.copy("copy.bin", "other/copy.bin")
    own = {"architecture": "ViT-L-14"}
    assert of(model="copy.bin", **own) == of(model="other/copy.bin", **own)
    assert of(model="copy.bin", **own) != of(model="copy.bin", architecture="ViT-L-14-quickgelu")


@pytest.mark.usefixtures("folder")
def test_eval_all_takes_ones_own(capfd):
    """All sets with it."""
    save(CLIPS["remoteclip-vit-b32"], Path("mine.pt"))
    Path("data/LoveDA/img_dir/val").mkdir(parents=True)
    shutil.copytree("labels", "data/LoveDA/ann_dir/val")
    shutil.copy("images/0.png", "data/LoveDA/img_dir/val")
    arguments = ["--model", "mine.pt", "--architecture", "ViT-B-32", "--upsampler", "xclip_jbu_one_million_aid"]
    arguments += ["--datasets", "loveda", "--data-root", "data", "-o", "all"]
    assert cli.main(["eval-all", *arguments, "--pictures", "0", "-q"]) == 0, capfd.readouterr().err
    (row,) = json.loads(Path("all/segearth-ov/loveda/results.json").read_text())
    assert (row["model"], row["architecture"]) == ("mine.pt", "ViT-B-32")
    assert row["upsampler"] == "jbu_one (xclip_jbu_one_million_aid.ckpt)"
