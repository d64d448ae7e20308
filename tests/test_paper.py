"""The published numbers, and the tables beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pytest
from safetensors.torch import save_file

from segearth.config_files import ConfigChanges
from segearth.datasets import DATASETS, PAPER_DATASETS
from segearth.errors import UserError
from segearth.models import JBUOne, JBUStack
from segearth.paper.columns import column, dataset_order, own_columns, select_columns
from segearth.paper.comparison import Comparison, Line, average_lines, changed_options, notes_of, result_line
from segearth.paper.published import AVERAGED, published
from segearth.paper.report import html
from segearth.paper.sweep import Settings, changes
from segearth.paper.table_rows import ROWS, select_rows
from segearth.paper.tables import CLASS_COLUMNS, COLUMNS, cells, results_markdown, results_text, write_comparison
from segearth.results.record import Run
from segearth.results.tables import FORMATS, cell_text, frame, markdown, write_workbook

OV = ROWS["segearth-ov"]


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


def line_of(row, dataset: str, run: Run | None, failure: str | None = None) -> Line:
    return result_line(row, column(dataset), run, failure)


def test_published_averages_are_those_of_the_published_numbers():
    checked = 0
    for name in [*ROWS, "oracle", "clip-vit-b32", "remoteclip-vit-b32", "georsclip-vit-b32", "skyclip-vit-b32"]:
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
    for dataset in ROWS["ablation-kernel"].datasets:
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
    line = line_of(OV, "whu_aerial", run("whu_aerial", **more))
    row = cells(line)
    assert list(row) == list(COLUMNS)
    assert (row["Comparable"], row["Complete"], line.grade) == (comparable, complete, kind)
    assert row["Difference"] == round(row["Result"] - 49.2, 2)


def test_changes_of_the_method_itself_are_no_changes():
    method = ROWS["clip"]
    settings = Settings(Path(), ConfigChanges(model="tiny", upsampler="mine.safetensors"))

    def changed(row, options):
        return changed_options(row, run("loveda", options=list(options)))

    made = changes(method, settings)
    assert made.upsampler is None  # it has none
    assert changed(method, made.options) == ""
    method = ROWS["ablation-featup"]
    made = changes(method, settings)
    assert made.upsampler == "clip_jbu_stack_cocostuff"
    assert changed(method, (*made.options, f"model.upsampler={made.upsampler}")) == ""  # as a run notes it
    made = changes(OV, settings)
    assert (tuple(made.options), made.upsampler) == ((), "mine.safetensors")
    assert changed(OV, ["model.upsampler=mine.safetensors"]) == "model.upsampler=mine.safetensors"


def test_an_upsampler_of_another_kind_is_refused(tmp_path):
    """Each row of the ablation has one kind, whatever file bears its name."""
    method = ROWS["ablation-last-block"]
    path = tmp_path / "ablation-last-block.safetensors"
    settings = Settings(Path(), upsamplers=tmp_path)
    save_file(JBUStack(8, radius=1).state_dict(), path)
    assert changes(method, settings).upsampler == str(path)
    save_file(JBUOne(8, radius=1).state_dict(), path)
    with pytest.raises(UserError, match="holds a jbu_one, but .* has a jbu_stack"):
        changes(method, settings)


def test_openearthmap_without_its_images_of_xbd_is_another_set():
    few, whole = (line_of(ROWS["clip"], "openearthmap", run("openearthmap", images=n)) for n in (384, 500))
    assert (few.comparable, few.is_complete) == ("384 images, the published number is of 500", True)
    assert whole.comparable == "yes"


def test_nothing_to_compare_with():
    line = line_of(ROWS["clip"], "potsdam", run("potsdam"))
    assert (line.published.value, line.difference) == (14.5, 25.5)
    line = line_of(ROWS["clip"], "vaihingen", run("vaihingen", mIoU=None))
    assert (line.result, line.published, line.difference, line.comparable, line.grade) == (None,) * 5


def test_text():
    failed = line_of(OV, "udd5", None, "no data at data|UDD; give --data-root")
    shown = Comparison(
        (
            line_of(OV, "whu_aerial", run("whu_aerial")),
            failed,
            line_of(ROWS["clip"], "loveda", run("loveda")),
            line_of(ROWS["clip"], "uavid", run("uavid")),
        )
    )
    lines = results_markdown(shown).splitlines()
    assert len({text.replace("\\|", "").count("|") for text in lines[:6]}) == 1
    assert lines[2].startswith("| SegEarth-OV | WHU Aerial | IoU of building | 49.50 | 49.2 | C, J | +0.30 | yes |")
    assert lines[3].startswith("| SegEarth-OV | UDD5 | mIoU | failed | 50.6 |")
    notes = dict(notes_of(shown.lines))
    assert [names for note, names in notes.items() if "not published" in note] == [["CLIP"]]
    assert [note for note in notes if note.startswith("failed")] == [failed.notes[0]]
    assert results_text(shown).splitlines()[2].split()[:4] == ["SegEarth-OV", "UDD5", "mIoU", "failed"]


def test_one_formatting_of_cells(tmp_path):
    """A number has as many digits in text as a workbook shows of it."""
    excel = {".1f": "0.0", ".2f": "0.00", ".3f": "0.000", "+.2f": "+0.00;-0.00;0.00", ",": "#,##0"}
    write_workbook(tmp_path / "a.xlsx", {"a": frame(FORMATS, [dict.fromkeys(FORMATS, 1234.5678)])})
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx")["a"]
    assert {cell.value: sheet.cell(2, cell.column).number_format for cell in sheet[1]} == {
        name: excel[spec] for name, spec in FORMATS.items()
    }
    texts = [cell_text(name, 1234.5678) for name in ("mIoU", "Difference", "Published")]
    assert texts == ["1234.57", "+1234.57", "1234.6"]
    table = frame(["Images", "Note"], [{"Images": 1234, "Note": "a|b\nc"}])
    assert markdown(table).splitlines()[2] == "| 1,234 | a\\|b c |"


def test_an_average_needs_all_of_its_sets():
    whole = {name: max(DATASETS[name].expected) for name in AVERAGED}
    sets = [line_of(OV, name, run(name, mIoU=float(i), images=whole[name])) for i, name in enumerate(AVERAGED)]
    assert average_lines(sets[:-1]) == []
    (average,) = average_lines(sets)
    assert (average.result, average.published.value, average.comparable) == (3.5, 39.2, "yes")
    (average,) = average_lines([*sets[1:], line_of(OV, AVERAGED[0], run(AVERAGED[0], model="tiny"))])
    assert average.comparable == "not comparable: OpenEarthMap"
    assert average_lines([*sets[1:], line_of(OV, AVERAGED[0], run(AVERAGED[0], mIoU=None))]) == []


def test_the_report_has_results_before_failures_and_each_reason_once():
    failed = [line_of(row, name, None, "the weights are not there") for row in (OV, ROWS["clip"]) for name in AVERAGED]
    page = html(Comparison((*failed, line_of(OV, "whu_aerial", run("whu_aerial")))))
    assert page.count("the weights are not there") == 1
    assert page.index("All results") < page.index("the weights are not there")
    assert "SegEarth-OV, LoveDA; " in page
    assert "Average" not in page
    assert "There are no results yet." in html(Comparison(()))


def test_texts_of_others_are_no_html():
    classes = [{**row_of("loveda")["per_class"][0], "name": "<script>a</script>"}] * 2
    page = html(Comparison((line_of(OV, "loveda", run("loveda", per_class=classes), "<b>&"),)))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;&amp;" in page


def test_select_rows():
    assert [one.name for one in select_rows(["SCLIP", "clip", "sclip"])] == ["sclip", "clip"]
    assert len(select_rows(["main"])) == 6
    of_the_paper, beyond = select_rows(["all"]), select_rows(["beyond"])
    assert [*of_the_paper, *beyond] == list(ROWS.values())
    assert all(published(one.name, name) is None for one in beyond for name in DATASETS)
    assert [line_of(one, "loveda", run("loveda")).comparable for one in beyond] == [None] * len(beyond)
    assert "beyond the paper" in line_of(beyond[0], "loveda", run("loveda")).notes
    with pytest.raises(UserError, match="unknown method 'x'"):
        select_rows(["x"])


def test_columns_are_data_sets_by_name_or_by_the_config_of_ones_own(tmp_path):
    chosen = select_columns(["cfg_LoveDA.py", "loveda", "potsdam_journal"])
    assert [one.name for one in chosen] == [
        "loveda",
        "potsdam_journal",
    ]
    assert column("potsdam_journal").title == "ISPRS Potsdam (J)"
    path = tmp_path / "cfg_town.py"
    path.touch()
    (own,) = own_columns([str(path)])
    assert (own.name, own.title, own.metric, own.path) == ("town", "town", "mIoU", path)
    line = line_of(OV, "town", run("loveda", images=5))
    assert (line.is_complete, line.comparable, line.result) == (True, None, 40.0)
    for wrong in ([str(path), str(path)], ["loveda"]):
        with pytest.raises(UserError, match="there is another data set"):
            own_columns(wrong)


def test_a_class_is_no_formula_in_the_workbook(tmp_path):
    names = ["=1+1", "-1", "a\x1bb"]
    classes = [{**row_of("loveda")["per_class"][0], "name": name, "IoU": -1.5} for name in names]
    of_three = run("loveda", per_class=classes, prompts={"classes": names})
    write_comparison(tmp_path / "a.xlsx", Comparison((line_of(OV, "loveda", of_three),)))
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx")["classes"]
    assert [cell.value for cell in sheet[1]] == list(CLASS_COLUMNS)
    columns = {cell.value: cell.column for cell in sheet[1]}
    found = [sheet.cell(line, columns["Class"]) for line in (2, 3, 4)]
    assert [(cell.value, cell.data_type) for cell in found] == [("=1+1", "s"), ("-1", "s"), (r"a\x1bb", "s")]
    assert sheet.cell(2, columns["IoU"]).value == -1.5
