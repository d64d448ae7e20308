"""The published numbers, and the tables beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pytest
from safetensors.torch import save_file

from segearth.datasets import DATASETS, PAPER_DATASETS
from segearth.errors import UserError
from segearth.models import JBUOne, JBUStack
from segearth.paper.comparison import CLASS_COLUMNS, COLUMNS, Comparison, line
from segearth.paper.methods import METHODS, select_methods
from segearth.paper.published import AVERAGED, published
from segearth.paper.sweep import Settings, changes, dataset_order
from segearth.paper.text import markdown, notes_of, plain
from segearth.paper.workbook import grade, write_workbook
from segearth.results.record import Run

OV = METHODS["segearth-ov"]


def row_of(dataset: str, **more) -> dict:
    """A row of results.json as the paper's own model would give it."""
    figures = {"IoU": 40.0, "Acc": None, "intersection": 4, "union": 10, "prediction_pixels": 8, "label_pixels": 6}
    return {
        "MODEL": "SegEarth",
        "mIoU": 40.0,
        "aAcc": 60.0,
        "mAcc": 50.0,
        "IoU_fg": None if DATASETS[dataset].metric == "mIoU" else 49.5,
        "images": DATASETS[dataset].expected[0],
        "limit": None,
        "data": {"complete": True},
        "model": "clip-vit-b16",
        "upsampler": "jbu_one (xclip_jbu_one_million_aid.ckpt)",
        "settings": {},
        "config": f"configs/cfg_{dataset}.py",
        "prompts": {"classes": ["a,b", "c"]},
        "per_class": [{"name": name, **figures} for name in "ab"],
        "versions": {"torch": "2"},
        "device": "cpu",
        "date": "2026-11-25T00:00:00+00:00",
        **more,
    }


def run(dataset: str, **more) -> Run:
    return Run.from_json(row_of(dataset, **more))


def test_published_averages_are_those_of_the_published_numbers():
    checked = 0
    for name in [*METHODS, "oracle", "clip-vit-b32", "remoteclip-vit-b32", "georsclip-vit-b32", "skyclip-vit-b32"]:
        values = [published(name, dataset) for dataset in AVERAGED]
        if all(values) and (average := published(name, "average")) is not None:
            assert np.mean([one.value for one in values]) == pytest.approx(average.value, abs=0.051)
            checked += 1
    assert checked == 6
    assert len(AVERAGED) == sum(DATASETS[name].metric == "mIoU" for name in PAPER_DATASETS)


def test_editions():
    assert (published("segearth-ov", "potsdam").value, published("segearth-ov", "potsdam").edition) == (47.1, "C")
    journal = published("segearth-ov", "potsdam_journal")
    assert (journal.value, journal.edition) == (48.5, "J")
    assert published("segearth-ov", "loveda").edition == "C, J"
    assert published("clip", "vaihingen") is None
    assert published("segearth-ov-896", "whu_sat_II") is None
    assert {key for key in dataset_order() if published("segearth-ov", key)} == {
        *PAPER_DATASETS,
        "potsdam_journal",
        "vaihingen_journal",
    }


def test_steps_of_the_paper_end_where_its_main_table_is():
    for dataset in METHODS["ablation-kernel"].datasets:
        assert published("ablation-kernel", dataset) == published("segearth-ov", dataset)


@pytest.mark.parametrize(
    ("more", "comparable", "complete", "kind"),
    [
        ({}, "yes", "yes", "close"),
        ({"IoU_fg": 47.5}, "yes", "yes", "near"),
        ({"IoU_fg": 60.0}, "yes", "yes", "far"),
        ({"model": "tiny"}, "model tiny", "yes", "none"),
        ({"images": 7}, "7 of 1036 images", "no", "none"),
        ({"limit": 1036, "available": 1036}, "yes", "yes", "close"),
        ({"limit": 5000, "available": 1036}, "yes", "yes", "close"),
        ({"limit": 1036, "available": 1037}, "data set not complete", "no", "none"),
        ({"data": {"complete": False}}, "data set not complete", "no", "none"),
        ({"data": None}, "yes", "yes", "close"),
        ({"options": ["model.prob_thd=0.2"]}, "changed: model.prob_thd=0.2", "yes", "none"),
        (
            {"options": ["test_dataloader.num_workers=4", "model.device=cuda:1", "model.max_memory_mb=50"]},
            "yes",
            "yes",
            "close",
        ),
    ],
)
def test_what_can_be_compared(more, comparable, complete, kind):
    row = line(OV, "whu_aerial", run("whu_aerial", **more))
    assert list(row) == list(COLUMNS)
    assert (row["Comparable"], row["Complete"], grade(row)) == (comparable, complete, kind)
    assert row["Difference"] == round(row["Result"] - 49.2, 2)


def test_changes_of_the_method_itself_are_no_changes():
    method = METHODS["clip"]
    settings = Settings(Path(), Path(), model="tiny", upsampler="mine.safetensors")
    options, upsampler = changes(method, settings)
    assert upsampler is None  # it has none
    assert line(method, "loveda", run("loveda", options=options))["Changed"] is None
    method = METHODS["ablation-featup"]
    options, upsampler = changes(method, settings)
    assert upsampler == "clip_jbu_stack_cocostuff"
    options.append(f"model.upsampler={upsampler}")  # as a run notes it
    assert line(method, "loveda", run("loveda", options=options))["Changed"] is None
    assert changes(OV, settings) == ([], "mine.safetensors")
    own = run("loveda", options=["model.upsampler=mine.safetensors"])
    assert line(OV, "loveda", own)["Changed"] == "model.upsampler=mine.safetensors"


def test_an_upsampler_of_another_kind_is_refused(tmp_path):
    """Each row of the ablation has one kind, whatever file bears its name."""
    method = METHODS["ablation-last-block"]
    path = tmp_path / "ablation-last-block.safetensors"
    settings = Settings(Path(), Path(), upsamplers=tmp_path)
    save_file(JBUStack(8, radius=1).state_dict(), path)
    assert changes(method, settings)[1] == str(path)
    save_file(JBUOne(8, radius=1).state_dict(), path)
    with pytest.raises(UserError, match="holds a jbu_one, but .* has a jbu_stack"):
        changes(method, settings)


def test_openearthmap_without_its_images_of_xbd_is_another_set():
    few, all_of_them = (line(METHODS["clip"], "openearthmap", run("openearthmap", images=n)) for n in (384, 500))
    assert (few["Comparable"], few["Complete"]) == ("384 images, the published number is of 500", "yes")
    assert all_of_them["Comparable"] == "yes"


def test_nothing_to_compare_with():
    row = line(METHODS["clip"], "potsdam", run("potsdam"))
    assert (row["Published"], row["Difference"]) == (14.5, 25.5)
    row = line(METHODS["clip"], "vaihingen", run("vaihingen", mIoU=None))
    assert (row["Result"], row["Published"], row["Difference"], row["Comparable"], grade(row)) == (None,) * 5


def test_text():
    rows = [
        line(OV, "whu_aerial", run("whu_aerial")),
        line(OV, "udd5", None, "no data at data|UDD; give --data-root"),
        line(METHODS["clip"], "loveda", run("loveda")),
        line(METHODS["clip"], "uavid", run("uavid")),
    ]
    lines = markdown(rows).splitlines()
    assert len({text.replace("\\|", "").count("|") for text in lines[:6]}) == 1
    assert lines[2].startswith("| SegEarth-OV | WHU Aerial | IoU of building | 49.50 | 49.2 | C, J | +0.30 |")
    assert lines[3].startswith("| SegEarth-OV | UDD5 | mIoU | failed | 50.6 |")
    notes = dict(notes_of(rows))
    assert [names for note, names in notes.items() if "not published" in note] == [["CLIP"]]
    assert [note for note in notes if note.startswith("failed")] == [rows[1]["Note"]]
    assert plain(rows).splitlines()[2].split()[:4] == ["SegEarth-OV", "UDD5", "mIoU", "failed"]


def test_select_methods():
    assert [one.name for one in select_methods(["SCLIP", "clip", "sclip"])] == ["sclip", "clip"]
    assert len(select_methods(["main"])) == 6
    of_the_paper, beyond = select_methods(["all"]), select_methods(["beyond"])
    assert [*of_the_paper, *beyond] == list(METHODS.values())
    assert all(published(one.name, name) is None for one in beyond for name in DATASETS)
    assert [line(one, "loveda", run("loveda"))["Comparable"] for one in beyond] == [None] * len(beyond)
    assert "beyond the paper" in line(beyond[0], "loveda", run("loveda"))["Note"]
    with pytest.raises(UserError, match="unknown method 'x'"):
        select_methods(["x"])


def test_a_class_is_no_formula_in_the_workbook(tmp_path):
    names = ["=1+1", "-1", "a\x1bb"]
    classes = [dict.fromkeys(CLASS_COLUMNS) | {"Class": name, "IoU": -1.5} for name in names]
    write_workbook(tmp_path / "a.xlsx", Comparison([], classes, {}, {}, {}))
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx")["classes"]
    columns = {cell.value: cell.column for cell in sheet[1]}
    found = [sheet.cell(line, columns["Class"]) for line in (2, 3, 4)]
    assert [(cell.value, cell.data_type) for cell in found] == [("=1+1", "s"), ("-1", "s"), (r"a\x1bb", "s")]
    assert sheet.cell(2, columns["IoU"]).value == -1.5
