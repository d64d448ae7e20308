"""eval.py as a user runs it, on made-up data with a random tiny CLIP."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import torch
from conftest import load_script
from mmdata import CONFIGS, loveda, random_tiny, tiny  # noqa: F401 (fixtures)
from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from PIL import Image

from segearth import cli, weights
from segearth.cli.method_options import method_changes
from segearth.config_files import ConfigChanges
from segearth.errors import UserError
from segearth.metrics import confusion_matrix
from segearth.models import SegEarth
from segearth.openmmlab.evaluate import evaluate
from segearth.paper.comparison import compare

CONFIG = CONFIGS / "cfg_loveda.py"
SIZES = [(40, 60), (60, 60), (64, 48)]
pytestmark = pytest.mark.usefixtures("tiny", "here")

OFFICIAL_BASE = """
model = dict(
    type='SegEarthSegmentation',
    clip_type='CLIP',
    vit_type='ViT-B/16',
    model_type='SegEarth',
    ignore_residual=True,
    feature_up=True,
    feature_up_cfg=dict(
        model_name='jbu_one',
        model_path='simfeatup_dev/weights/xclip_jbu_one_million_aid.ckpt'),
    cls_token_lambda=-0.3,
    device='cuda',
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, alpha=1.0, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2000),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook', interval=1))
"""
OFFICIAL = """
_base_ = './base_config.py'
model = dict(name_path='./configs/cls_loveda.txt', prob_thd=0.3)
dataset_type = 'LoveDADataset'
data_root = ''
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(448, 448), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='data/LoveDA/img_dir/val', seg_map_path='data/LoveDA/ann_dir/val'),
        pipeline=test_pipeline))
"""


@pytest.fixture(scope="module")
def program():
    return load_script("eval.py")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(program, capfd):
    """Runs eval.py; gives exit code, stdout and stderr."""

    def go(*arguments: object) -> tuple[int, str, str]:
        code = program.main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return go


def rows(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())


def test_the_bound_of_memory_is_an_option(run, here):
    loveda(here / "data", SIZES[:1])
    assert run("--config", CONFIG, "--model", "tiny", "--work-dir", "out", "--max-memory", 50)[0] == 0
    row = rows(Path("out"))[-1]
    assert row["settings"]["max_memory_mb"] == 50
    assert row["options"] == ["model.max_memory_mb=50.0"]
    code, _, err = run("--config", CONFIG, "--max-memory", 0)
    assert (code, "--max-memory 0.0: expected a number of megabytes" in err) == (2, True)


def test_the_config_is_written_without_a_cache_that_processes_share(run, here, monkeypatch):
    for name in ("yapf", "yapf.yapflib.yapf_api"):  # it keeps one, and others see it before it is whole
        monkeypatch.setitem(sys.modules, name, None)
    loveda(here / "data", SIZES[:1])
    assert run("--config", CONFIG, "--model", "tiny", "--work-dir", "out")[0] == 0
    written = Config.fromfile(here / "out/logs/cfg_loveda.py").to_dict()
    assert written["test_dataloader"]["dataset"]["type"] == "LoveDADataset"
    assert written["model"]["prob_thd"] == 0.3


def test_a_run(run, here):
    loveda(here / "data", SIZES)
    shown = here / "shown"
    code, out, err = run("--config", CONFIG, "--model", "tiny", "--work-dir", "out", "--show-dir", shown)
    assert code == 0
    assert "images: 100%" in err
    assert sorted(path.name for path in (here / "out").iterdir()) == ["logs", "results.json", "results.xlsx"]
    assert sorted(path.name for path in here.iterdir()) == ["data", "out", "shown"]

    (row,) = rows(here / "out")
    assert row["CLIP"] == "tiny (not OpenAI's CLIP)"
    assert "NOT OpenAI's CLIP" in row["about"]
    assert (row["VIT"], row["MODEL"], row["Dataset"]) == ("tiny", "SegEarth", "LoveDADataset")
    assert (row["images"], row["limit"], row["IoU_fg"]) == (3, None, None)
    assert (row["upsampler"], row["device"]) == ("jbu_one (tiny_simfeatup.safetensors)", "cpu")
    assert row["settings"]["prob_thd"] == 0.3
    assert row["prompts"]["classes"][1] == "building,roof,house"
    assert row["versions"]["torch"] == torch.__version__
    assert row["date"].endswith("+00:00")
    ious = [entry["IoU"] for entry in row["per_class"]]
    assert row["mIoU"] == pytest.approx(np.mean(ious), abs=0.006)
    for entry in row["per_class"]:
        assert f"{entry['name']:<12}  {entry['IoU']:>5.2f}" in out
        assert entry["union"] == entry["prediction_pixels"] + entry["label_pixels"] - entry["intersection"]
    labels = [np.asarray(Image.open(here / f"data/LoveDA/ann_dir/val/{i}.png")) for i in range(3)]
    assert [entry["label_pixels"] for entry in row["per_class"]] == [
        sum(int((label == k).sum()) for label in labels) for k in range(1, 8)
    ]
    assert sorted(path.name for path in shown.iterdir()) == ["0.png", "1.png", "2.png"]
    with Image.open(shown / "0.png") as picture:  # three panels of 40 × 60 pixels six times as large, and a legend
        assert picture.width == 3 * 360 + 2 * 12
        assert picture.height > 240


def test_thresholds_and_scales_of_classes_mark_the_row_and_stay_out_of_the_zero_shot_tables(run, here):
    loveda(here / "data", SIZES[:1])
    names = (CONFIGS / "cls_loveda.txt").read_text().split("\n")
    lines = [f"{line} | threshold=0.2 | scale={1 + i / 4:g}" for i, line in enumerate(names) if line]
    (here / "tuned.txt").write_text("\n".join(lines))
    folder = here / "out/segearth-ov/loveda"
    small = ("--cfg-options", "test_dataloader.dataset.pipeline.1.scale=(64,64)")
    arguments = ("--config", CONFIG, "--model", "tiny", "--work-dir", folder, *small)
    assert run(*arguments)[0] == 0
    tuned = f"model.name_path={here / 'tuned.txt'}"
    code, out, _ = run(*arguments, tuned)
    assert code == 0
    assert "warning: " in out
    assert f"{here / 'tuned.txt'} sets thresholds and scales of classes" in out
    plain, row = rows(folder)
    assert not {"thresholds", "scales"} & set(plain["prompts"])
    assert row["prompts"]["thresholds"] == [0.2] * 7
    assert row["prompts"]["scales"] == [1, 1.25, 1.5, 1.75, 2, 2.25, 2.5]
    assert row["fingerprint"] != plain["fingerprint"]
    assert row["aAcc"] != plain["aAcc"]
    remarks = [line[12].value for line in openpyxl.load_workbook(folder / "results.xlsx")["runs"].iter_rows(min_row=2)]
    assert "not a zero-shot result" not in str(remarks[0])
    assert "not a zero-shot result" in remarks[1]

    (line,) = compare(here / "out").results
    assert (line.column.title, line.result) == ("LoveDA", plain["mIoU"])
    assert "the newest row of" in line.notes[0]
    assert "is no zero-shot result" in line.notes[0]
    with pytest.raises(UserError, match="expected names alone for a table of zero-shot results"):
        evaluate(CONFIG, folder, changes=ConfigChanges(model="tiny", options=[tuned]), zero_shot=True)


def test_another_method_and_test_time_averaging(run, here):
    """As options or as keys of the config; the row says which, and which layers of this CLIP."""
    loveda(here / "data", SIZES[:1])
    common = ("--config", CONFIG, "--model", "tiny", "--work-dir", "out", "--method", "NACLIP", "--tta", "flips")
    assert run(*common, "--cfg-options", "model.cls_row_layers=(6,9)", "model.cls_column_zero=True")[0] == 0
    (row,) = rows(here / "out")
    assert row["MODEL"] == "NACLIP"
    beyond = {"tta": "flips", "cls_row_layers": [1, 2], "cls_column_zero": True}  # of two blocks
    assert row["settings"].items() >= beyond.items()
    assert row["options"][:2] == ["model.tta=flips", "model.model_type=NACLIP"]
    given = Namespace(method="GEM", tta=None)  # which has no [CLS]
    assert method_changes(given) == ["model.model_type=GEM", "model.cls_token_lambda=0.0"]


def test_the_verb_takes_a_name_and_is_quiet(here, capfd):
    loveda(here / "elsewhere", SIZES[:1])
    assert cli.main(["eval", "loveda", "--model", "tiny", "--data-root", "elsewhere", "-o", "out", "--quiet"]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    assert "written to out: results.json, results.xlsx" in captured.out
    assert rows(here / "out")[0]["config"].endswith("cfg_loveda.py")


def test_counts_equal_those_of_saved_predictions(run, here, monkeypatch):
    loveda(here / "data", SIZES[:2])
    seen = []
    labels = SegEarth.labels
    monkeypatch.setattr(SegEarth, "labels", lambda self, scores: seen.append(labels(self, scores)) or seen[-1])
    options = ["model.prob_thd=0.15", "test_dataloader.batch_size=2"]
    assert run("--config", CONFIG, "--model", "tiny", "--work-dir", "out", "--cfg-options", *options)[0] == 0
    matrix = np.zeros((7, 7), np.int64)
    for i, prediction in enumerate(seen):
        raw = np.asarray(Image.open(here / f"data/LoveDA/ann_dir/val/{i}.png")).astype(np.int64)
        matrix += confusion_matrix(prediction[0].numpy(), np.where(raw == 0, 255, raw - 1), 7)
    (row,) = rows(here / "out")
    assert [entry["intersection"] for entry in row["per_class"]] == np.diag(matrix).tolist()
    assert [entry["prediction_pixels"] for entry in row["per_class"]] == matrix.sum(axis=0).tolist()


def test_runs_are_appended_and_do_not_depend_on_workers_or_batches(run, here):
    loveda(here / "elsewhere", SIZES)
    common = ("--config", CONFIG, "--model", "tiny", "--data-root", "elsewhere", "--workdir", "out", "--cfg-options")
    thread_counts = torch.get_num_threads()
    assert run(*common, "model.prob_thd=0.15")[0] == 0
    options = ["test_dataloader.num_workers=2", "test_dataloader.persistent_workers=True"]
    assert run(*common, "model.prob_thd=0.15", "test_dataloader.batch_size=3", *options)[0] == 0
    assert torch.get_num_threads() == thread_counts
    first, second = rows(here / "out")
    for key in ("aAcc", "mIoU", "mAcc"):
        assert first[key] == pytest.approx(second[key], abs=0.02)
    book = openpyxl.load_workbook(here / "out/results.xlsx")
    assert book["runs"].max_row == 3
    assert book["classes"].max_row == 15


def test_official_style_config_runs_unchanged(run, here, tmp_path_factory):
    repository = tmp_path_factory.mktemp("repository")
    (repository / "configs").mkdir()
    (repository / "configs/base_config.py").write_text(OFFICIAL_BASE)
    (repository / "configs/cfg_loveda.py").write_text(OFFICIAL)
    (repository / "configs/cls_loveda.txt").write_text((CONFIGS / "cls_loveda.txt").read_text())
    loveda(repository / "data", SIZES[:2])
    code, out, err = run("--config", repository / "configs/cfg_loveda.py", "--model", "tiny", "--limit", 1)
    assert code == 0
    if not torch.cuda.is_available():
        assert err.count("there is no CUDA GPU here") == 1
    (row,) = rows(here / "work_dirs/cfg_loveda")
    assert (row["images"], row["limit"], row["model"]) == (1, 1, "tiny")
    assert "mIoU" in out


OWN = """
from mmengine.config import read_base
from mmengine.config import Config
from mmseg.evaluation import IoUMetric
with read_base():
    from .official import *
test_dataloader.dataset.pipeline[1].scale = 64
test_dataloader.dataset.data_root = None
test_dataloader.dataset.data_prefix = dict(img_path="data/LoveDA/img_dir/val", seg_map_path="data/LoveDA/ann_dir/val")
test_dataloader.sampler = dict(type="InfiniteSampler", shuffle=True)
test_dataloader.num_workers = 0
test_dataloader.multiprocessing_context = "fork"
test_evaluator = [dict(type=IoUMetric, iou_metrics=["mIoU"])]
"""


def test_configs_as_others_write_them_run(run, here):
    """Classes as types, a list with one metric, a scale of one number, a sampler of training."""
    loveda(here / "data", SIZES[:2])
    official = OFFICIAL.replace("_base_ = './base_config.py'", "env_cfg = None")
    Path("official.py").write_text(official.replace("model = dict(", "model = dict(type='SegEarthSegmentation', "))
    Path("cls_loveda.txt").write_text((CONFIGS / "cls_loveda.txt").read_text())
    Path("mine.py").write_text(OWN)
    assert run("--config", "mine.py", "--model", "tiny", "--work-dir", "out")[0] == 0
    (row,) = rows(here / "out")
    assert (row["images"], row["scale"], row["Dataset"]) == (2, [64, 64], "LoveDADataset")
    Path("hooked.py").write_text("_base_ = 'official.py'\ncustom_hooks = [dict(type='NoSuchHook')]\n")
    code, _, err = run("--config", "hooked.py", "--model", "tiny", "--work-dir", "out")
    assert (code, "mmengine cannot use the config's hooks" in err, "NoSuchHook" in err) == (2, True, True)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--config", "nothing.py"], ["no config at nothing.py"]),
        (["--model", "huge"], ["unknown model 'huge'", "tiny"]),
        (
            ["--model", "tiny", "--cfg-options", "model.feature_up_cfg.model_path=mine.safetensors"],
            ["model tiny brings its own upsampler", "give --upsampler FILE instead"],
        ),
        (["--limit", "0"], ["--limit 0", "at least 1"]),
        (["--cfg-options", "prob_thd"], ["--cfg-options prob_thd", "key=value"]),
        (["--cfg-options", "model.foo=3"], ["unknown key 'foo'"]),
        (["--cfg-options", "model.prob_thd.x=3"], ["--cfg-options model.prob_thd.x=3", "model.prob_thd is 0.3"]),
        (["--cfg-options", "model.model_type=Foo"], ["model.model_type=Foo", "ClearCLIP, SegEarth"]),
        (["--cfg-options", "model.type=Foo"], ["model.type=Foo", "SegEarthSegmentation"]),
        (["--cfg-options", "model.name_path=nothing.txt"], ["no class file nothing.txt"]),
        (["--cfg-options", "test_evaluator.type=Foo"], ["test_evaluator.type=Foo", "expected IoUMetric"]),
        (["--cfg-options", "test_dataloader.dataset.type=LoveDataset"], ["'LoveDataset'", "LoveDADataset"]),
        (["--cfg-options", "test_dataloader.dataset.indices=[7]"], ["indices has 7", "expected 0 to 0"]),
        (["--cfg-options", "test_dataloader.dataset.type=MyFields"], ["'MyFields'", "or BaseSegDataset for a set of"]),
        (["--cfg-options", "test_dataloader.dataset.type=ConcatDataset"], ["ConcatDataset", "with its own config"]),
        (["--cfg-options", "test_dataloader.dataset.pipeline.0.type=Foo"], ["cannot be opened", "Foo"]),
        (["--cfg-options", "test_dataloader.dataset.img_suffix=.tif"], ["no images in", ".tif", ".png"]),
        (["--launcher", "pytorch"], ["launcher pytorch", "torchrun"]),
        (["--data-root", "nowhere"], ["--data-root nowhere"]),
        (["--data-root", "other"], ["LoveDA/img_dir/val", "--data-root other"]),
        (["--work-dir", "file"], ["--work-dir file is a file"]),
        (["--work-dir", "file/below"], ["cannot write to the output folder file/below"]),
    ],
)
def test_mistakes_get_one_sentence(run, here, monkeypatch, arguments, parts):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    loveda(here / "data", SIZES[:1])
    (here / "other").mkdir()
    (here / "file").touch()
    given = ["--config", CONFIG, "--model", "tiny", "--work-dir", "out", *arguments]
    code, out, err = run(*given)
    assert code == 2
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert lines[0] == err.splitlines()[-1]
    for part in parts:
        assert part in lines[0]
    assert not (here / "out").exists() or not list((here / "out").iterdir())


def test_missing_data_says_where_it_looked(run, here):
    code, _, err = run("--config", CONFIG, "--model", "tiny")
    assert code == 2
    assert f"no data at data/LoveDA/img_dir/val (data_prefix.img_path of {CONFIG})" in err
    assert str(here) in err
    assert "--data-root" in err


def test_missing_labels_are_found_before_the_run(run, here):
    loveda(here / "data", SIZES)
    for i in (1, 2):
        (here / f"data/LoveDA/ann_dir/val/{i}.png").unlink()
    code, _, err = run("--config", CONFIG, "--model", "tiny", "--work-dir", "out")
    assert code == 2
    assert "2 files" in err
    assert "ann_dir/val/1.png" in err
    assert "images:" not in err
    assert run("--config", CONFIG, "--model", "tiny", "--work-dir", "out", "--limit", 1)[0] == 0


def test_class_count_that_differs(run, here):
    loveda(here / "data", SIZES[:1])
    option = f"model.name_path={CONFIGS / 'cls_openearthmap.txt'}"
    code, _, err = run("--config", CONFIG, "--model", "tiny", "--cfg-options", option)
    assert code == 2
    assert "cls_openearthmap.txt has 9 classes" in err
    assert "LoveDADataset has 7" in err


def test_missing_weights_are_never_replaced(run, here, monkeypatch):
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setenv("SEGEARTH_HOME", str(here / "cache"))
    monkeypatch.setenv("HF_HOME", str(here / "hub"))
    loveda(here / "data", SIZES[:1])
    code, out, err = run("--config", CONFIG, "--work-dir", "out")
    assert (code, out) == (2, "")
    assert "xclip_jbu_one_million_aid.ckpt" in err
    assert "--model tiny" in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1


def test_data_are_checked_before_weights_are_downloaded(run, here, monkeypatch):
    monkeypatch.setattr(weights, "fetch", lambda *_, **__: pytest.fail("weights were looked for"))
    given = ("--config", CONFIG, "--work-dir", "out")
    assert "no data at data/LoveDA/img_dir/val" in run(*given)[2]
    loveda(here / "data", SIZES[:1])
    label = here / "data/LoveDA/ann_dir/val/0.png"
    label.unlink()
    assert "1 files of the 1 images" in run(*given)[2]
    option = f"model.name_path={CONFIGS / 'cls_openearthmap.txt'}"
    Image.fromarray(np.ones(SIZES[0], np.uint8)).save(label)
    assert "has 9 classes" in run(*given, "--cfg-options", option)[2]
    code, _, err = run(*given, "--cfg-options", "model.foo=1")
    assert (code, "unknown key 'foo'" in err) == (2, True)


@pytest.mark.parametrize("workers", [0, 1])
def test_wrong_label_values_and_damaged_files(run, here, workers):
    loveda(here / "data", SIZES[:1])
    label = here / "data/LoveDA/ann_dir/val/0.png"
    given = ("--config", CONFIG, "--model", "tiny", "--work-dir", "out", "--cfg-options")
    Image.fromarray(np.full(SIZES[0], 9, np.uint8)).save(label)
    code, _, err = run(*given, f"test_dataloader.num_workers={workers}")
    assert code == 2
    assert "ann_dir/val/0.png has the label values 8 after reduce_zero_label" in err
    label.write_bytes(b"no picture")
    code, _, err = run(*given, f"test_dataloader.num_workers={workers}")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: the label map ")
    assert not (here / "out/results.json").exists()


def test_damaged_results_stop_the_run_at_its_start(run, here):
    loveda(here / "data", SIZES[:1])
    (here / "out").mkdir()
    (here / "out/results.json").write_text("[{")
    code, _, err = run("--config", CONFIG, "--model", "tiny", "--work-dir", "out")
    assert code == 2
    assert "results.json is damaged" in err
    assert (here / "out/results.json").read_text() == "[{"


def test_interrupt(run, here, monkeypatch):
    loveda(here / "data", SIZES)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(SegEarth, "labels", interrupted)
    code, out, _ = run("--config", CONFIG, "--model", "tiny", "--work-dir", "out", "--show-dir", "shown")
    assert (code, out) == (130, "")
    assert sorted(path.name for path in (here / "out").iterdir()) == ["logs", "progress"]
    assert not list((here / "out/progress").glob("*/ledger"))  # nothing was finished
    assert not list((here / "shown").iterdir())


@pytest.fixture
def killed_after(monkeypatch):
    """Makes a run end as by a kill when it has predicted so many images; gives the number predicted so far."""
    predicted = [0]
    labels = SegEarth.labels

    def go(images: int) -> list[int]:
        predicted[0] = 0

        def counting(self, scores):
            if predicted[0] == images:
                raise KeyboardInterrupt
            predicted[0] += len(scores)
            return labels(self, scores)

        monkeypatch.setattr(SegEarth, "labels", counting)
        return predicted

    return go


FIVE = [(40, 60), (60, 60), (64, 48), (30, 50), (52, 44)]


@pytest.mark.parametrize("batch", [1, 2])
def test_a_killed_run_goes_on_and_counts_the_same(run, here, killed_after, batch):
    loveda(here / "data", FIVE)
    given = ("--config", CONFIG, "--model", "tiny", "--show-dir", "shown", "--cfg-options")
    given = (*given, "model.prob_thd=0.15", f"test_dataloader.batch_size={batch}")
    assert run(*given, "--work-dir", "whole")[0] == 0
    shutil.rmtree("shown")
    left = []
    for images in (2, 0, 2, 9):
        predicted = killed_after(images)
        code, _, _ = run(*given, "--work-dir", "parts")
        left.append(predicted[0])
        assert code == (0 if images == 9 else 130)
    assert left == [2, 0, 2, 1]
    (whole,), (parts,) = rows(here / "whole"), rows(here / "parts")
    assert (whole["resumed"], parts["resumed"]) == (0, 4)
    for key in ("per_class", "aAcc", "mIoU", "mAcc", "images", "fingerprint", "listing"):
        assert parts[key] == whole[key]
    assert len(list((here / "shown").iterdir())) == 5
    assert sorted(path.name for path in (here / "parts").iterdir()) == ["logs", "results.json", "results.xlsx"]


def test_pictures_of_another_run_are_drawn_again(run, here, killed_after):
    loveda(here / "data", FIVE[:3])
    given = ("--config", CONFIG, "--model", "tiny", "--work-dir", "out")
    assert run(*given, "--show-dir", "shown", "--cfg-options", "model.prob_thd=0.9")[0] == 0
    other = [path.read_bytes() for path in sorted((here / "shown").iterdir())]
    killed_after(2)
    assert run(*given)[0] == 130
    predicted = killed_after(9)
    assert run(*given, "--show-dir", "shown")[0] == 0
    assert predicted == [3]
    assert run(*given, "--show-dir", "fresh")[0] == 0
    shown, fresh = ([path.read_bytes() for path in sorted((here / name).iterdir())] for name in ("shown", "fresh"))
    assert shown == fresh
    assert all(one != another for one, another in zip(shown, other, strict=True))


def test_what_was_counted_otherwise_is_counted_again(run, here, killed_after):
    loveda(here / "data", FIVE[:3])
    (here / "names.txt").write_text((CONFIGS / "cls_loveda.txt").read_text())
    given = ["--config", CONFIG, "--model", "tiny", "--work-dir", "out", "--cfg-options", "model.name_path=names.txt"]

    def predicts(*more: object) -> int:
        """How many images a run predicts that is killed at its last one."""
        predicted = killed_after(2)
        assert run(*given, *more)[0] == 130
        return predicted[0]

    assert predicts() == 2
    assert killed_after(1) == [0]
    assert run(*given, "model.prob_thd=0.2")[0] == 130  # another setting
    assert predicts("model.cls_token_lambda=0") == 2
    (here / "names.txt").write_text((CONFIGS / "cls_loveda.txt").read_text().replace("road", "street"))
    assert predicts() == 2  # other prompts
    Image.fromarray(np.ones(FIVE[0], np.uint8)).save(here / "data/LoveDA/ann_dir/val/0.png")
    predicted = killed_after(9)
    assert run(*given)[0] == 0
    assert predicted == [2]  # another label, and the one that was left
    assert rows(here / "out")[0]["resumed"] == 1
    predicted = killed_after(9)
    assert run(*given)[0] == 0
    assert predicted == [3]  # a run that ended is no part of another


@pytest.mark.parametrize("found", [True, False], ids=["predicted", "nowhere"])
def test_a_class_without_labels(run, here, monkeypatch, found):
    """Predicted, its IoU is 0; if it is nowhere, the means leave it out. Both as mmsegmentation's nanmean does."""
    loveda(here / "data", SIZES[:2])
    truth = []
    for i in range(2):
        path = here / f"data/LoveDA/ann_dir/val/{i}.png"
        raw = np.asarray(Image.open(path)).astype(np.int64)
        raw[raw > 5] = 0
        Image.fromarray(raw.astype(np.uint8)).save(path)
        truth.append(torch.from_numpy(np.where(raw == 0, 255, raw - 1)))
    seen = []
    labels = SegEarth.labels
    monkeypatch.setattr(SegEarth, "labels", lambda self, scores: seen.append(labels(self, scores)) or seen[-1])
    threshold = 0 if found else 1  # no score is above 1: everything is background
    given = ("--work-dir", "out", "--cfg-options", f"model.prob_thd={threshold}")
    assert run("--config", CONFIG, "--model", "tiny", *given)[0] == 0
    areas = [IoUMetric.intersect_and_union(one[0], true, 7, 255) for one, true in zip(seen, truth, strict=True)]
    total = [sum(kind).double() for kind in zip(*areas, strict=True)]
    paper = IoUMetric.total_area_to_metrics(*total, ["mIoU"])

    (row,) = rows(here / "out")
    for k, entry in enumerate(row["per_class"]):
        for key in ("IoU", "Acc"):
            value = paper[key][k]
            assert entry[key] == (None if np.isnan(value) else pytest.approx(100 * value, abs=1e-4))
    assert [entry["label_pixels"] for entry in row["per_class"][5:]] == [0, 0]
    assert [entry["Acc"] for entry in row["per_class"][5:]] == [None, None]
    assert [entry["IoU"] for entry in row["per_class"][5:]].count(None) == (0 if found else 2)
    assert row["mIoU"] == round(100 * np.nanmean(paper["IoU"]), 2)
    assert row["mAcc"] == round(100 * np.nanmean(paper["Acc"]), 2)
    background = (truth[0] == 0).sum() + (truth[1] == 0).sum()
    known = (truth[0] != 255).sum() + (truth[1] != 255).sum()
    if not found:  # by hand: one class has an IoU, four have 0, two have none
        assert row["mIoU"] == round(100 * float(background / known) / 5, 2)


def test_help_and_checks_need_no_torch():
    code = (
        "import sys; sys.argv = ['eval.py', '--config', 'nothing.py']\n"
        "import runpy\n"
        f"try: runpy.run_path({str(CONFIGS.parent / 'eval.py')!r}, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 2\n"
        "assert not {'torch', 'numpy', 'mmengine', 'mmseg'} & set(sys.modules), sorted(sys.modules)\n"
    )
    path = str(CONFIGS.parent)
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path}, timeout=60)


def test_real_pairs(run, here, test_data):
    samples = test_data / "samples"
    if not (samples / "LoveDA").is_dir():
        pytest.skip(f"{samples} has no LoveDA")
    assert run("--config", CONFIG, "--model", "tiny", "--data-root", samples, "--work-dir", "out")[0] == 0
    assert rows(here / "out")[0]["images"] == 2
