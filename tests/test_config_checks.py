"""What configs and changes of them may hold: told before data or weights are looked for."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest
from mmdata import CONFIGS

from segearth import cli
from segearth.clips import resolving, upsamplers
from segearth.config_files import ConfigChanges
from segearth.errors import UserError
from segearth.models import attention
from segearth.openmmlab.checks import DEFAULTS
from segearth.openmmlab.config import load_config, read_config
from segearth.openmmlab.keys import CONFIG, MODEL, problems
from segearth.openmmlab.model_weights import model_weights
from segearth.openmmlab.segmentor import SegEarthSegmentation

OURS = CONFIGS / "cfg_loveda.py"
DATASET = "test_dataloader.dataset"
WRONG = {
    f"{DATASET}.data_prefix=3": "expected a dictionary",
    f"{DATASET}.data_prefix.img_path=3": "expected a path on this computer",
    f"{DATASET}.data_prefix.seg_map_path=None": "expected a path on this computer",
    f"{DATASET}.data_prefix.img_path=s3://images/val": "expected a path on this computer",
    f"{DATASET}.data_root=3": "expected a path",
    f"{DATASET}.ann_file=3": "expected a path",
    f"{DATASET}.type=3": "expected the name of a class",
    f"{DATASET}.img_suffix=3": "expected the end of file names, such as .png",
    f"{DATASET}.seg_map_suffix=": "expected the end of file names, such as .png",
    f"{DATASET}.indices=()": "expected a number of images, or a list of indices",
    f"{DATASET}.type=..": "expected the name of a class",
    f"{DATASET}.reduce_zero_label=3": "expected True or False",
    f"{DATASET}.metainfo=3": "expected a dictionary",
    f"{DATASET}.metainfo.classes=3": "expected a list of class names",
    f"{DATASET}.metainfo.palette=[(0,0)]": "palette.0 is (0, 0): expected three numbers",
    f"{DATASET}.indices=a": "expected a number of images",
    f"{DATASET}.pipeline=3": "expected a list of steps",
    f"{DATASET}.pipeline=[]": "expected a list of steps",
    f"{DATASET}.pipeline.0=3": "an element of test_dataloader.dataset.pipeline is no value",
    f"{DATASET}.pipeline.9.type=a": "has the elements 0 to 3, and no 9",
    f"{DATASET}.pipeline.a.type=a": "has the elements 0 to 3, and no a",
    f"{DATASET}.pipeline.1.scale=a": "expected a side in pixels",
    f"{DATASET}.pipeline.1.scale=(0,0)": "scale.0 is 0: expected a whole number of pixels, 1 or more",
    f"{DATASET}.pipeline.1.scale.0=64": "pipeline.1.scale is (448, 448), which has no '0' in it",
    f"{DATASET}.pipeline.3.type=DefaultFormatBundle": "PackSegInputs is not its last step",
    f"{DATASET}.pipeline.1.type=RandomCrop": "RandomCrop would not be undone",
    f"{DATASET}.pipeline.0.type=LoadAnnotations": "Resize comes after LoadAnnotations",
    f"{DATASET}.pipeline.1.interpolation=foo": "expected one of nearest, bilinear, bicubic, area, lanczos",
    f"{DATASET}.pipeline.0.imdecode_backend=foo": "expected one of cv2, pillow",
    f"{DATASET}.pipeline.0.color_type=foo": "expected one of color, ",
    f"{DATASET}.pipeline.0.to_float32=foo": "expected True or False",
    f"{DATASET}.pipeline.0.backend_args.backend=foo": "expected one of local",
    f"{DATASET}.pipeline.2.reduce_zero_label=3": "expected True or False",
    f"{DATASET}.pipeline.3.meta_keys=3": "expected a list of texts",
    f"{DATASET}.backend_args.backend=petrel": "expected one of local",
    f"{DATASET}.datasets=[a]": "evaluate each of them with a config of its own",
    f"{DATASET}.img_dir=img": "expected data_prefix.img_path in its place",
    "test_dataloader=[]": "expected a dictionary",
    "test_dataloader.dataset=3": "expected a dictionary",
    "test_dataloader.batch_size=0": "expected a whole number of images, 1 or more",
    "test_dataloader.batch_size=True": "expected a whole number of images",
    "test_dataloader.batch_size=1.5": "expected a whole number of images",
    "test_dataloader.num_workers=-1": "expected a whole number of processes, 0 or more",
    "test_dataloader.num_workers=a": "expected a whole number of processes",
    "test_dataloader.prefetch_factor=-1": "expected a whole number of batches, 1 or more, or None",
    "test_dataloader.pin_memory=a": "expected True or False",
    "test_dataloader.timeout=-1": "expected a number of seconds, 0 or more",
    "test_dataloader.collate_fn.type=Foo": "expected pseudo_collate",
    "test_dataloader.num_worker=3": "did you mean num_workers?",
    "test_evaluator=1": "expected one IoUMetric",
    "test_evaluator=[]": "expected one IoUMetric",
    "test_evaluator=None": "expected one IoUMetric",
    "test_evaluator.type=CityscapesMetric": "expected IoUMetric",
    "test_evaluator.iou_metrics=3": "expected a list of mIoU, mDice, mFscore",
    "test_evaluator.iou_metrics=[mFoo]": "iou_metrics.0 is 'mFoo': expected one of mIoU, mDice, mFscore",
    "test_evaluator.ignore_index=a": "expected a whole number, 0 or more",
    "test_evaluator.ignore_indx=0": "did you mean ignore_index?",
    "test_evaluator.nan_to_num=a": "expected a number, or None",
    "test_cfg=3": "expected a dictionary",
    "test_cfg.type=Foo": "expected TestLoop",
    "model=3": "expected a dictionary",
    "model=": "expected a dictionary",
    "model.name_path=3": "expected the path of a class file",
    "model.name_path=": "expected the path of a class file",
    "model.slide_crop=a": "expected a whole number of pixels, 0 or more",
    "model.slide_crop=-224": "expected a whole number of pixels, 0 or more",
    "model.slide_stride=-112": "expected a whole number of pixels, 1 or more",
    "model.slide_stride=225": "model.slide_crop 224 with model.slide_stride 225 leaves pixels out",
    "model.prob_thd=nan": "expected a number from 0 to 1",
    "model.prob_thd=[0.1": "expected a number from 0 to 1",
    "model.logit_scale=inf": "expected a number above 0",
    f"model.logit_scale={'9' * 400}": "expected a number above 0",
    f"test_dataloader.num_workers={'9' * 400}": "expected a whole number of processes, 0 or more",
    "model.logit_scale=],[": "(its brackets are no pairs): expected key=value",
    "model.logit_scale=0": "expected a number above 0",
    "model.cls_token_lambda=nan": "expected a number",
    "model.bg_idx=roof": "expected a whole number, 0 or more",
    "model.feature_up=3": "expected True or False",
    "model.feature_up_cfg=3": "expected a dictionary",
    "model.feature_up_cfg.model_name=jbu_two": "expected one of jbu_one, jbu_stack, bilinear",
    "model.ignore_residual=a": "expected True or False",
    "model.tta=rotate": "expected one of flips, turns, all, or None",
    "model.cls_column_zero=1": "expected True or False",
    "model.cls_row_layers=(6,13)": "expected a whole number, from 1 to 12",
    "model.cls_row_layers=6": "expected the first and the last layer, (6, 9), or None",
    "model.model_type=ViT-B/16": "expected one of vanilla, MaskCLIP, SCLIP, GEM, ClearCLIP, SegEarth, NACLIP",
    "model.clip_type=openai": "clip_type='openai'",
    "model.model=3": "expected a text",
    "model.device=gpu": "expected cpu, cuda, cuda:N, mps or auto",
    "model.precision=3": "expected one of fp32, bf16, fp16, auto",
    "model.data_preprocessor=3": "expected a dictionary",
    "model.init_cfg=3": "expected a dictionary",
    "model.prob_thd.x=3": "model.prob_thd is 0.3, which has no 'x' in it",
    "data_preprocessor.mean=a": "expected three numbers, or None",
    "data_preprocessor.bgr_to_rgb=True": "data_preprocessor.type is missing: expected SegDataPreProcessor",
    "default_hooks=3": "expected a dictionary",
    "default_hooks.timer=3": "expected a dictionary, dict(...), or None",
    "custom_hooks=3": "expected a list of hooks",
    "custom_hooks=[3]": "custom_hooks.0 is 3: expected a dictionary",
    "custom_imports=3": "expected a dictionary",
    "custom_imports.imports=[nothing_such]": "set PYTHONPATH",
    "env_cfg=3": "expected a dictionary",
    "env_cfg.mp_cfg=3": "expected a dictionary",
    "env_cfg.mp_cfg.mp_start_method=foo": "expected one of fork, spawn, forkserver",
    "log_processor=3": "expected a dictionary",
    "work_dir=3": "expected a path",
    "load_from=segmentor.pth": "no trained segmentor",
    "a..b=1": "a key of 'a..b' is empty",
    "=1": "a key of '' is empty",
    "model.=1": "a key of 'model.' is empty",
    "prob_thd=0.3": "did you mean model.prob_thd?",
    "img_suffix=.tif": f"did you mean {DATASET}.img_suffix?",
    "batch_size=3": "did you mean test_dataloader.batch_size?",
    "val_dataloader.batch_size=2": "did you mean test_dataloader.batch_size?",
    "default_scope=mmdet": "the file's own lines have used it already",
    "modle.prob_thd=0.3": "did you mean model?",
}


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch) -> Path:
    """Neither data nor weights: what is wrong with a config comes first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return tmp_path


def refusal(path: str | Path, *changes: str) -> str:
    """What `load_config` says."""
    with pytest.raises(UserError) as caught:
        load_config(path, changes=ConfigChanges(options=changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("change", "expected"), WRONG.items())
def test_a_wrong_change_is_told_with_what_was_expected(change, expected):
    assert expected in refusal(OURS, "model.bg_idx=0", change)


@pytest.mark.parametrize("change", ["model.slide_crop=a", "custom_hooks=3", "test_dataloader.num_workers=-1", "a..b=1"])
def test_on_the_command_line_it_is_one_sentence_and_exit_code_2(nowhere, change, capfd):
    assert cli.main(["eval", str(OURS), "-o", "out", "--cfg-options", change]) == 2
    captured = capfd.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"error: --cfg-options {change}: ")
    assert list(nowhere.iterdir()) == []


def test_in_a_file_the_file_is_named():
    Path("mine.py").write_text(f"_base_ = {str(OURS)!r}\nmodel = dict(slide_crop='a')\n")
    assert refusal("mine.py").startswith("mine.py: model.slide_crop is 'a': expected a whole number of pixels")


@pytest.mark.parametrize("change", ["model.prob_thd=2", "model.foo=2", "model.type=Foo"])
def test_of_two_changes_of_a_key_the_last_is_named(change):
    assert change in refusal(OURS, f"{change.partition('=')[0]}=0", change)


def test_what_configs_hold_fits():
    right = {
        "model": {
            "type": "mmseg.SegEarthSegmentation",
            "name_path": Path("cls.txt"),
            "device": "cuda:1",
            "prob_thd": 0,
            "slide_crop": 0,
            "feature_up_cfg": None,
            "data_preprocessor": {"type": "SegDataPreProcessor", "mean": (1, 2, 3), "std": [1, 2, 3.5]},
            "init_cfg": None,
            "_scope_": "mmseg",
        },
        "test_dataloader": {
            "batch_size": 2,
            "sampler": {"type": "InfiniteSampler", "shuffle": True},
            "dataset": {
                "type": SegEarthSegmentation,  # a class, as in configs with read_base()
                "data_root": None,
                "data_prefix": {"img_path": "a", "seg_map_path": Path("b")},
                "pipeline": [{"type": "Resize", "scale": 448}, {"type": "Resize", "scale": [4, 5]}],
            },
        },
        "test_evaluator": [{"type": "IoUMetric", "iou_metrics": ("mIoU", "mFscore")}],
        "test_cfg": None,
        "default_hooks": {"logger": None, "timer": {"type": "IterTimerHook"}},
        "load_from": None,
        "anything": 3,
    }
    assert list(problems(right, CONFIG)) == []


def test_the_table_has_the_segmentor_keys_and_its_defaults():
    own = inspect.signature(SegEarthSegmentation).parameters
    assert set(MODEL.keys) == {"type", *own}
    assert {name: own[name].default for name in DEFAULTS} == DEFAULTS
    assert set(MODEL.required) == {"type", *(name for name, one in own.items() if one.default is one.empty)}


# ---- configs of other projects --------------------------------------------------------------------------


def foreign(model: str, more: str = "") -> str:
    """A config with another model on our data set."""
    Path("theirs.py").write_text(f"_base_ = {str(OURS)!r}\nmodel = dict(_delete_=True, {model})\n{more}")
    return refusal("theirs.py")


def test_a_config_of_clearclip_would_be_upsampled():
    said = foreign("type='ClearCLIPSegmentation', vit_type='ViT-B/16', model_type='ClearCLIP', name_path='a.txt'")
    assert said.startswith("theirs.py is for ClearCLIPSegmentation: expected SegEarthSegmentation")
    assert "a run of SegEarth" in said
    assert "name_path='a.txt' (the class file)" in said
    assert "model_type='ClearCLIP' (the attention of the last block" in said
    assert "what is left out would be ignore_residual=True, feature_up=True, cls_token_lambda=0.0" in said
    assert "model.model_type=ClearCLIP model.feature_up=False model.cls_token_lambda=0" in said


def test_a_config_of_sclip_has_keys_that_mean_nothing_here():
    said = foreign("type='CLIPForSegmentation', clip_path='ViT-B/16', pamr_steps=0, prob_thd=0.1, logit_scale=40")
    assert "it does not know clip_path, pamr_steps" in said
    assert "logit_scale=40 (the factor before the softmax)" in said
    assert "features as" not in said


def test_a_config_of_proxyclip_is_told_before_its_modules_are_imported():
    said = foreign(
        "type='ProxyCLIPSegmentation', clip_type='openai', vfm_model='dino', beta=1.2",
        "custom_imports = dict(imports=['proxyclip_segmentor'], allow_failed_imports=False)\n",
    )
    assert "theirs.py is for ProxyCLIPSegmentation" in said
    assert "it does not know vfm_model, beta" in said


THEIRS = """
from segearth.clips import resolve, register
from segearth.clips.upsamplers import register_upsampler
from segearth.models.attention import register_method, replacing
from dataclasses import replace

register_method("Values", replacing(lambda z, values: values))
register_upsampler("their_upsampler", lambda: None)
register(replace(resolve("clip-vit-b32"), name="their-clip", family="Theirs"))
"""


def test_what_custom_imports_register_can_be_named(tmp_path, monkeypatch):
    """A method, an upsampler and a CLIP of the config's own module, and nothing of them without it."""
    monkeypatch.syspath_prepend(tmp_path)
    for module in (attention, upsamplers, resolving):
        monkeypatch.setattr(module, "REGISTRY", replace(module.REGISTRY, table=dict(module.REGISTRY.table)))
    monkeypatch.setattr(resolving, "CLIPS", resolving.REGISTRY.table)
    (tmp_path / "their_parts.py").write_text(THEIRS)
    config = tmp_path / "cfg_theirs.py"
    text = f"_base_ = {str(OURS)!r}\n"
    text += "model = dict(model_type='Values', model='their-clip', upsampler='their_upsampler')\n"
    config.write_text(text)
    with pytest.raises(UserError, match="model.model_type is 'Values': expected one of vanilla, MaskCLIP"):
        read_config(config)
    config.write_text(f"{text}custom_imports = dict(imports=['their_parts'])\n")
    used = model_weights(read_config(config).model)
    assert (used.source.name, used.kind) == ("their-clip", "their_upsampler")


def test_a_config_of_mmsegmentation():
    said = foreign("type='EncoderDecoder', backbone=dict(type='ResNetV1c'), test_cfg=dict(mode='whole')")
    assert "theirs.py is for EncoderDecoder" in said
    assert "take the model of configs/base_config.py" in said


def test_a_foreign_key_gets_no_far_guess():
    said = refusal(OURS, "model.cls_variant=a")
    assert "unknown key 'cls_variant' in model: expected one of type, name_path, clip_type" in said
    assert "did you mean" not in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no `model` and no `test_dataloader`: expected a config of mmsegmentation"),
        ("model = dict(type='SegEarthSegmentation')", "has no `test_dataloader`"),
        ("model = dict(type='EncoderDecoder')\ndata = dict(test=dict(img_dir='a'))", "mmsegmentation 0.x"),
        ("model = {}\nval_dataloader = dict(batch_size=1)", "add the line test_dataloader = val_dataloader"),
        ("model = {}\ntest_dataloader = {}", "model.type is missing: expected the name of a class"),
        ("model = None\ntest_dataloader = {}", "model is None: expected a dictionary"),
    ],
)
def test_a_config_that_lacks_something(text, expected):
    Path("short.py").write_text(text)
    assert expected in refusal("short.py")


# ---- where data are -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data_prefix.img_path": "/home/alice/images"}, "no data at /home/alice/images (data_prefix.img_path of"),
        ({"data_root": "/home/alice"}, "no data at /home/alice/data/LoveDA/img_dir/val"),
        ({"data_prefix.img_path": "LoveDA/img_dir/val"}, "no data at LoveDA/img_dir/val"),
    ],
)
@pytest.mark.parametrize("root", [None, "elsewhere"])
def test_only_paths_below_data_are_advised_the_data_root(changes, expected, root):
    options = [f"{DATASET}.{key}={value}" for key, value in changes.items()]
    with pytest.raises(UserError) as caught:
        load_config(OURS, changes=ConfigChanges(options=options, data_root=root))
    if root is not None and "LoveDA/img_dir/val" in options[0]:
        assert "expected data/...; leave data_root out" in str(caught.value)
        return
    assert expected in str(caught.value)
    assert f'give the place of yours with options="{DATASET}.data_prefix.img_path=PATH"' in str(caught.value)
    assert ("data_root stands for the leading data/ of paths only" in str(caught.value)) == (root is not None)


def test_paths_below_data_are_advised_the_data_root():
    assert 'give data_root="DIR"' in refusal(OURS)
