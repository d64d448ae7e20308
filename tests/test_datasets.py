"""The descriptions of the 17 sets, and what is made from them: configs, classes, the guide."""

from __future__ import annotations

from pathlib import Path

import pytest
from preparing import ROOT

from segearth.datasets import DATASETS, describe
from segearth.datasets.guide import guide
from segearth.errors import UserError
from segearth.vocabulary import Vocabulary


def test_names():
    assert len(DATASETS) == 17
    assert describe("cfg_ISAID.py") is describe("iSAID")
    assert describe("potsdam_journal") is DATASETS["potsdam"]
    with pytest.raises(UserError, match="unknown data set 'x': expected one of openearthmap"):
        describe("x")


@pytest.mark.parametrize("name", DATASETS)
def test_configs_read_what_is_written(name):
    pytest.importorskip("mmengine")
    from mmengine.config import Config

    of = DATASETS[name]
    config = Config.fromfile(ROOT / f"configs/cfg_{name}.py")
    dataset, model = config.test_dataloader.dataset, config.model
    assert dataset.data_prefix == {"img_path": f"data/{of.out_images}", "seg_map_path": f"data/{of.out_labels}"}
    assert dataset.type == of.dataset_class
    assert (model.prob_thd, model.get("bg_idx", 0), model.cls_token_lambda) == (
        of.prob_thd,
        of.bg_idx,
        of.cls_token_lambda,
    )
    assert Path(model.name_path).name == of.prompts
    assert len(Vocabulary.from_file(ROOT / "configs" / of.prompts)) == len(of.classes)


@pytest.mark.parametrize("name", DATASETS)
def test_classes_are_registered(name):
    pytest.importorskip("mmengine")
    from segearth.openmmlab import require

    require()
    from mmseg.registry import DATASETS as REGISTRY

    import segearth.openmmlab.datasets  # noqa: F401

    of = DATASETS[name]
    assert tuple(REGISTRY.get(of.dataset_class).METAINFO["classes"]) == of.classes
    assert [tuple(c) for c in REGISTRY.get(of.dataset_class).METAINFO["palette"]] == list(of.palette)


def test_journal_prompts():
    for name in ("potsdam", "vaihingen"):
        lines = (ROOT / f"configs/cls_{name}_journal.txt").read_text().splitlines()
        assert lines == ["road", "building", "grass", "tree", "car", "clutter,background"]
        assert f"cls_{name}_journal.txt" in (ROOT / f"configs/cfg_{name}_journal.py").read_text()


def test_guide_is_current():
    assert (ROOT / "dataset_prepare.md").read_text(encoding="utf-8") == guide(), (
        "run: python -m segearth.datasets.guide > dataset_prepare.md"
    )
