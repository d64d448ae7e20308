"""Labels that make figures say nothing are told before a run, in its table, and in its row."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import openpyxl
import pytest
from mmdata import CONFIGS, picture, random_tiny, tiny  # noqa: F401 (fixtures)
from PIL import Image

from segearth.config_files import ConfigChanges
from segearth.errors import UserError
from segearth.openmmlab.evaluate import evaluate
from segearth.paper.columns import column
from segearth.paper.comparison import result_line
from segearth.paper.table_rows import ROWS
from segearth.results.folder import run_text

pytestmark = pytest.mark.usefixtures("tiny")

CONFIG = f"""
_base_ = {str(CONFIGS / "base_config.py")!r}
model = dict(name_path="names.txt", prob_thd=0.0)
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(448, 448), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type="BaseSegDataset",
        metainfo=dict(classes=("background", "roof", "tree", "road")),
        img_suffix=".png",
        seg_map_suffix=".png",
        data_prefix=dict(img_path="data/img", seg_map_path="data/ann"),
        pipeline=test_pipeline,
    ),
)
"""
LABEL = np.zeros((48, 64), np.uint8)
LABEL[10:22, 15:37], LABEL[25:40, 5:27], LABEL[5:45, 45:50] = 1, 2, 3


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Evaluates labels on drawn images; gives the row, and what was said before and after."""
    monkeypatch.chdir(tmp_path)
    Path("cfg.py").write_text(CONFIG)
    Path("names.txt").write_text("background\nroof\ntree\nroad\n")

    def go(*labels: np.ndarray, **settings):
        for folder in ("img", "ann"):
            Path("data", folder).mkdir(parents=True, exist_ok=True)
        for i, label in enumerate(labels):
            Image.fromarray(picture(*label.shape, i)).save(f"data/img/{i}.png")
            Image.fromarray(label).save(f"data/ann/{i}.png")
        said: list[str] = []
        record, _ = evaluate(
            "cfg.py", "out", changes=ConfigChanges(model="tiny"), say=said.append, quiet=True, **settings
        )
        return record, [text.removeprefix("warning: ") for text in said if text.startswith("warning: ")]

    return go


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ((LABEL > 0) * np.uint8(255), ["no class but background", "masks of 0 and 255 do that"]),
        (np.minimum(LABEL, 1), ["nothing but 0 and 1"]),
        (np.where(LABEL == 2, 0, LABEL), ["no label has tree"]),
        (np.full_like(LABEL, 2), ["no class but tree"]),
        (np.where(np.arange(64) < 16, LABEL, 255), ["75 % of the label pixels are ignored", "no label has road"]),
        (LABEL, []),
    ],
    ids=["0/255", "0/1", "lacks a class", "one value", "ignored", "usual"],
)
def test_remarks(run, label, parts):
    record, before = run(label.astype(np.uint8))
    told = " ".join(record.remarks)
    assert all(part in told for part in parts)
    assert len(record.remarks) == (2 if "no label has road" in told else min(len(parts), 1))
    assert before == list(record.remarks)
    table = run_text(record)
    assert [text for text in table.splitlines() if text.startswith("warning: ")] == [
        f"warning: {remark}" for remark in record.remarks
    ]
    sheet = openpyxl.load_workbook("out/results.xlsx")["runs"]
    cells = {cell.value: sheet.cell(2, cell.column).value for cell in sheet[1]}
    assert (cells["Remarks"] or "") == "; ".join(record.remarks)
    assert all(remark in result_line(ROWS["segearth-ov"], column("loveda"), record).notes for remark in record.remarks)


def test_a_part_of_a_set_may_lack_classes(run):
    """Only what was seen of the whole set says that a class is nowhere, whatever was resumed."""
    rest = np.where(LABEL == 3, 0, LABEL)
    record, before = run(rest, rest, LABEL, limit=2)
    assert (record.remarks, before) == ((), [])
    record, before = run(rest, rest, rest)
    assert list(record.remarks) == before
    assert "no label has road" in before[0]


def test_values_that_are_no_class_are_refused_before_the_run(run, monkeypatch):
    """A pipeline whose later steps might change labels is left to the run, which refuses them, too."""
    begun = RuntimeError("begun")
    monkeypatch.setattr("segearth.openmmlab.evaluate._evaluate", Mock(side_effect=begun))
    labels = LABEL, np.where(LABEL == 3, 253, LABEL).astype(np.uint8)
    with pytest.raises(UserError, match=r"ann/1\.png has the label values 253: expected 0 to 3, or 255"):
        run(*labels)
    step = '    dict(type="LoadAnnotations"),\n'
    Path("cfg.py").write_text(CONFIG.replace(step, f'{step}    dict(type="Rerange"),\n'))
    with pytest.raises(RuntimeError, match="begun"):
        run(*labels)


def test_a_label_that_cannot_be_read_is_left_to_the_run(run):
    run(LABEL)
    Path("data/ann/0.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"ann/0.png"):
        run()
