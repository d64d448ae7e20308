"""The descriptions of the data sets, and what is made from them: configs, classes, the page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from preparing import CHECK, PREPARE, ROOT, SAMPLE

from dataset_files import CONFIGS, configs, files
from segearth.datasets import DATASETS, PAPER_DATASETS, describe, read_descriptions, sets
from segearth.errors import UserError
from segearth.vocabulary import Vocabulary


def test_names():
    assert [spec.paper_order for spec in DATASETS.values()] == [*range(1, 18), *[0] * (len(DATASETS) - 17)]
    assert tuple(DATASETS)[:17] == PAPER_DATASETS
    assert describe("cfg_ISAID.py") is describe("iSAID")
    assert describe("potsdam_journal") is DATASETS["potsdam"]
    for name in ("x", "loveda_journal"):
        with pytest.raises(UserError, match=f"unknown data set '{name}': expected one of openearthmap"):
            describe(name)


def test_files_are_current():
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is not current: run python tools/dataset_files.py"
    assert {path.name for path in CONFIGS.glob("cfg_*.py")} == {path.name for path in files() if path.parent == CONFIGS}


@pytest.mark.parametrize("name", DATASETS)
def test_configs_read_what_is_written(name):
    pytest.importorskip("mmengine")
    from mmengine.config import Config

    spec = DATASETS[name]
    config = Config.fromfile(ROOT / f"configs/cfg_{name}.py")
    dataset, model = config.test_dataloader.dataset, config.model
    assert dataset.data_prefix == {"img_path": f"data/{spec.out_images}", "seg_map_path": f"data/{spec.out_labels}"}
    assert dataset.type == spec.dataset_class
    assert (model.prob_thd, model.get("bg_idx", 0), model.cls_token_lambda) == (
        spec.prob_thd,
        spec.bg_idx,
        spec.cls_token_lambda,
    )
    assert Path(model.name_path).name == spec.prompts
    assert len(Vocabulary.from_file(ROOT / "configs" / spec.prompts)) == len(spec.classes)


@pytest.mark.parametrize("name", DATASETS)
def test_classes_are_registered(name, tmp_path):
    pytest.importorskip("mmengine")
    from segearth.openmmlab import require

    require()
    from mmengine.config import Config
    from mmseg.registry import DATASETS as REGISTRY

    from segearth import openmmlab
    from segearth.openmmlab import datasets

    spec = DATASETS[name]
    registered = REGISTRY.get(spec.dataset_class)
    assert tuple(registered.METAINFO["classes"]) == spec.classes
    assert [tuple(colour) for colour in registered.METAINFO["palette"]] == list(spec.palette)
    assert registered.__module__.startswith("mmseg.") == spec.in_mmseg
    if not spec.in_mmseg:
        assert getattr(datasets, spec.dataset_class) is getattr(openmmlab, spec.dataset_class) is registered
    settings = Config.fromfile(ROOT / f"configs/cfg_{name}.py").test_dataloader.dataset
    own = {key: settings[key] for key in ("img_suffix", "seg_map_suffix") if key in settings}
    folder = {"img_path": str(tmp_path)}  # mmseg's iSAIDDataset wants one that is there
    dataset = registered(lazy_init=True, data_prefix=folder, **own)
    assert (dataset.img_suffix, dataset.seg_map_suffix) == (spec.image_suffix, spec.label_suffix)
    assert dataset.reduce_zero_label == spec.reduce_zero_label


def test_other_processes_find_the_classes(tmp_path):
    """A worker that is spawned imports the class by the name that its pickle has."""
    pytest.importorskip("mmengine")
    from torch.utils.data import DataLoader

    from segearth.openmmlab.datasets import UDD5Dataset

    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(tmp_path / "a.png")
    dataset = UDD5Dataset(
        img_suffix=".png",
        data_prefix={"img_path": str(tmp_path), "seg_map_path": str(tmp_path)},
        pipeline=[{"type": "LoadImageFromFile"}],
    )
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    (item,) = loader
    assert item["img"].tolist() == dataset[0]["img"].tolist()


def test_journal_prompts():
    for name in ("potsdam", "vaihingen"):
        lines = (ROOT / f"configs/cls_{name}_journal.txt").read_text().splitlines()
        assert lines == ["road", "building", "grass", "tree", "car", "clutter,background"]
        assert f"cls_{name}_journal.txt" in (ROOT / f"configs/cfg_{name}_journal.py").read_text()


NEW = """
from segearth.datasets.description import Description, ExtraPair, Files, Sample

DATASET = Description(
    name="fields", title="Fields", summary="Fields: 3 images, 3 classes.", dataset_class="FieldsDataset",
    split="test", classes=("other", "field", "water"), palette=((0, 0, 0), (0, 200, 0), (0, 0, 200)),
    prompts="cls_fields.txt", prob_thd=0.2, threshold_source="tuned on its validation split",
    images=Files("fields.zip", "fields/", "test/img/{stem}", (".png",)),
    labels=(Files("fields.zip", "fields/", "test/ann/{stem}", (".png",)),),
    examples=({"stem": "a"}, {"stem": "b"}, {"stem": "c"}), skip=("train",), encoding="index", sizes=((200, 240),),
    out_images="Fields/img", out_labels="Fields/ann", expected=(3,), source="https://example.org", citation="Nobody",
    get="Download fields.zip.",
    sample=Sample(
        land={"cropland": "field", "water": "water"}, extras=(ExtraPair({"stem": "d"}, ("/test/", "/train/")),)
    ),
)
"""


def test_a_data_set_is_two_files(tmp_path, monkeypatch, capsys):
    """With a description in the folder and a class file, all commands know the set."""
    (tmp_path / "fields.py").write_text(NEW)
    (tmp_path / "cls_fields.txt").write_text("background\nfield,meadow\nwater\n")
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(tmp_path)])
    assert tuple(read_descriptions())[:17] == PAPER_DATASETS
    spec = read_descriptions()["fields"]
    monkeypatch.setitem(DATASETS, "fields", spec)

    monkeypatch.chdir(tmp_path)
    assert SAMPLE.main(["fields", "-o", "samples"]) == 0
    assert PREPARE.main(["fields", "samples/fields", "-o", "data", "--strict"]) == 0
    assert CHECK.main(["fields", "--data-root", "data"]) == 0
    assert "Fields, test: 3 images" in capsys.readouterr().out
    assert "| Fields | `fields` | 3 | 3 | mIoU |" in files()[ROOT / "dataset_prepare.md"]

    pytest.importorskip("mmengine")
    from mmseg.registry import DATASETS as REGISTRY

    from segearth.openmmlab.config import load_config
    from segearth.openmmlab.datasets import dataset_class, open_dataset

    ((name, text),) = configs(spec).items()
    (tmp_path / "base_config.py").write_text((CONFIGS / "base_config.py").read_text())
    Path(name).write_text(text.replace("./configs/", "./"))
    with monkeypatch.context() as patch:
        patch.setitem(REGISTRY.module_dict, "FieldsDataset", dataset_class(spec))
        config = load_config(name)
        dataset = open_dataset(config.test_dataloader.dataset.to_dict())
    assert (len(dataset), dataset.metainfo["classes"], config.model.prob_thd) == (3, spec.classes, 0.2)
    assert set(np.unique(dataset[0]["data_samples"].gt_sem_seg.data)) <= {0, 1, 2}


def test_what_a_config_says_beyond_the_usual():
    """Only what differs from the class's first description is written."""
    first = DATASETS["loveda"]
    name, text = next(iter(configs(dataclasses.replace(first, bg_idx=2, image_suffix=".tif")).items()))
    assert name == "cfg_loveda.py"
    assert "    bg_idx=2,  # the same; class 2 is road\n" in text
    assert '        img_suffix=".tif",\n' in text
    assert "seg_map_suffix" not in text
