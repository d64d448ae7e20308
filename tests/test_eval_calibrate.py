"""`segearth calibrate --config`: another split of a config's set, on made-up data with a random tiny CLIP."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from mmdata import CONFIGS, loveda, random_tiny, tiny  # noqa: F401 (fixtures)

from segearth import cli
from segearth.cli.options import evaluation_changes
from segearth.config_files import ConfigChanges
from segearth.openmmlab.config import read_config
from segearth.openmmlab.evaluate import evaluate
from segearth.vocabulary import Vocabulary

SMALL = "test_dataloader.dataset.pipeline.1.scale=(64,64)"
pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """LoveDA's layout with six images in train and one in val."""
    monkeypatch.chdir(tmp_path)
    loveda(tmp_path / "train", [(32, 40)] * 6)
    loveda(tmp_path / "data", [(32, 40)])
    for kind in ("img_dir", "ann_dir"):
        shutil.move(f"train/LoveDA/{kind}/val", f"data/LoveDA/{kind}/train")
    return tmp_path


def calibrate(*arguments: str) -> int:
    return cli.main(["calibrate", "--model", "tiny", "--device", "cpu", "-o", "out.txt", *arguments])


@pytest.mark.usefixtures("data")
def test_evaluation_gives_with_the_file_what_is_printed(capsys):
    assert calibrate("--config", "loveda", "--limit", "5", "--data-root", "data", "--cfg-options", SMALL) == 0
    out, err = capsys.readouterr()
    assert "images of the split train: labels in" in err
    before, fitted = map(float, re.findall(r"(?:before|of them) (\d+\.\d\d)", out))
    assert fitted > before
    assert Vocabulary.from_file("out.txt").classes == Vocabulary.from_file(CONFIGS / "cls_loveda.txt").classes
    prefix = "test_dataloader.dataset.data_prefix"
    options = [
        f"{prefix}.{key}=data/LoveDA/{kind}/train"
        for key, kind in (("img_path", "img_dir"), ("seg_map_path", "ann_dir"))
    ]
    options += ["model.name_path=out.txt", SMALL]
    run, _ = evaluate(
        CONFIGS / "cfg_loveda.py", "work", changes=ConfigChanges(model="tiny", options=options), limit=5, quiet=True
    )
    assert run.miou == pytest.approx(fitted, abs=0.006)
    assert run.prompts.thresholds[0] == pytest.approx(0.3)  # prob_thd, of the background itself


@pytest.mark.parametrize(
    ("options", "device", "precision"),
    [
        ([], "cuda", "fp16"),
        (["--precision", "fp32"], "cuda", "fp32"),  # the default of other verbs: given, it counts
        (["--precision", "bf16", "--device", "auto"], "auto", "bf16"),
    ],
)
def test_options_that_are_given_override_the_config(options, device, precision):
    args = cli.verb_parser("calibrate").parse_args(["--config", "loveda", "-o", "out.txt", *options])
    own = ["model.device=cuda", "model.precision=fp16"]  # as the config has them
    model = read_config(CONFIGS / "cfg_loveda.py", [*own, *evaluation_changes(args).options]).model
    assert (model.device, model.precision) == (device, precision)


def link() -> None:
    for kind in ("img_dir", "ann_dir"):
        shutil.rmtree(f"data/LoveDA/{kind}/train")
        Path(f"data/LoveDA/{kind}/train").symlink_to("val")


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (None, ["--split", "val"], "--split val is a split that tables are made of"),
        (None, ["--split", "nowhere"], "img_dir/nowhere"),
        (link, [], "which the table is made of: expected images of another split"),
        (None, ["--limit", "4"], "4 labelled images: expected at least 5"),
        (None, ["--labels", "data"], "--labels is for images without a config: expected none here; leave it out"),
        (None, ["--cfg-options", "test_dataloader.dataset.ann_file=list.txt"], "that list.txt lists (ann_file)"),
        (
            None,
            ["--cfg-options", "test_dataloader.dataset.data_prefix.img_path=data/mine"],
            "data/mine (data_prefix.img_path) does not tell its split",
        ),
    ],
)
@pytest.mark.usefixtures("data")
def test_what_cannot_be_is_one_sentence(spoil, arguments, message, capsys):
    if spoil is not None:
        spoil()
    assert calibrate("--config", "loveda", "--data-root", "data", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not Path("out.txt").exists()
