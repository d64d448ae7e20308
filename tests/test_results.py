import json
import multiprocessing
import time

import numpy as np
import openpyxl
import pytest

from segearth.errors import UserError
from segearth.results import folder as results
from segearth.results.folder import append_run, read_rows, read_runs, run_text
from segearth.results.record import VERSION, ClassResult, Run, finite, foreground_iou
from segearth.typed_json import to_json

RESULTS = (
    ClassResult.from_counts("background", 50, 80, 70, 60),
    ClassResult.from_counts("road", 10, 40, 30, 20),
    ClassResult.from_counts("sea", 0, 0, 0, 0),
)


def row(per_class=RESULTS, **more):
    """A row of results.json as segearth 0.1 wrote it, without a version."""
    return {
        "CLIP": "CLIP",
        "VIT": "ViT-B/16",
        "MODEL": "SegEarth",
        "Dataset": "LoveDADataset",
        "aAcc": 75.0,
        "mIoU": 43.75,
        "mAcc": None,
        "IoU_fg": None,
        "per_class": [to_json(result) for result in per_class],
        "images": 3,
        "seconds": 1.5,
        "model": "clip-vit-b16",
        "settings": {"prob_thd": 0.3},
        "prompts": {"file": "configs/cls_loveda.txt", "classes": ["background", "road", "sea"]},
        "device": "cpu",
        "config": "configs/cfg_loveda.py",
        "date": "2026-11-25T00:00:00+00:00",
        "upsampler": None,
        "versions": {},
        **more,
    }


def run(per_class=RESULTS, **more) -> Run:
    return Run.from_json(row(per_class, **more))


def test_figures_of_a_class():
    assert row()["per_class"][1] == {
        "name": "road",
        "IoU": 25.0,
        "Acc": 50.0,
        "intersection": 10,
        "union": 40,
        "prediction_pixels": 30,
        "label_pixels": 20,
    }
    assert (RESULTS[2].iou, RESULTS[2].accuracy) == (None, None)


@pytest.mark.parametrize(("background", "expected"), [(0, 25.0), (1, 62.5)])
def test_foreground_of_two_classes(background, expected):
    assert foreground_iou(RESULTS[:2], background) == expected
    assert foreground_iou(RESULTS, background) is None


def test_a_row_that_is_read_is_the_row_that_is_written():
    """Of any version: the keys stay, what it lacks is filled in, and lists stay lists."""
    more = {"options": ["model.tta=flips"], "scale": [448, 448], "data": {"complete": False}, "about": "a test"}
    more["prompts"] = {"classes": ["a", "b", "c"], "thresholds": [0.5, None, 0.1], "scales": [1, 2.5, 1]}
    written = run(**more).to_json()
    assert Run.from_json(json.loads(json.dumps(written))).to_json() == written
    assert written["version"] == VERSION
    assert {key: written[key] for key in row()} == row(prompts=written["prompts"])
    assert written["prompts"] == more["prompts"] | {"file": None}
    assert (written["options"], written["scale"], written["about"]) == (["model.tta=flips"], [448, 448], "a test")
    assert (written["data"]["complete"], written["data"]["images"]) == (False, None)
    assert list(written)[:6] == ["version", "CLIP", "VIT", "MODEL", "Dataset", "aAcc"]
    assert not {"about", "thresholds"} & {*run().to_json(), *run().to_json()["prompts"]}


def test_finite_rounds_as_mmseg():
    assert finite(np.float32(45.67)) == 45.67
    assert finite(float("nan")) is None


def test_runs_are_appended(tmp_path):
    assert read_rows(tmp_path) == []
    append_run(tmp_path, run())
    append_run(tmp_path, run(images=7))
    assert [entry["images"] for entry in read_rows(tmp_path)] == [3, 7]
    assert "NaN" not in (tmp_path / "results.json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "results.xlsx"]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_run(tmp_path, run(seconds=float("nan")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "[{", "{}", "[1]", "\0", "[" * 100_000, '[{"mIoU": NaN}]', '["\x1b"]'])
def test_damaged_results_are_kept(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match="move it away"):
        append_run(tmp_path, run())
    assert path.read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_workbook(tmp_path):
    append_run(tmp_path, run())
    rows = [*read_rows(tmp_path), {"Dataset": "an older row"}]
    (tmp_path / "results.json").write_text(json.dumps(rows))
    append_run(tmp_path, run())
    assert read_rows(tmp_path)[:2] == rows  # it stays as it is
    assert len(read_runs(tmp_path)) == 2
    book = openpyxl.load_workbook(tmp_path / "results.xlsx")
    assert book.sheetnames == ["runs", "classes"]
    runs, classes = book["runs"], book["classes"]
    header = [cell.value for cell in runs[1]]
    assert {"CLIP", "VIT", "MODEL", "Dataset", "aAcc", "mIoU", "mAcc", "Images", "prob_thd"} <= set(header)
    assert (runs.freeze_panes, runs.max_row) == ("A2", 4)
    cell = runs.cell(2, header.index("mIoU") + 1)
    assert (cell.value, cell.number_format) == (43.75, "0.00")
    assert runs.cell(2, header.index("mAcc") + 1).value is None
    assert runs.cell(2, header.index("prob_thd") + 1).value == 0.3
    assert runs.column_dimensions["B"].width > 8
    assert [cell.value for cell in classes["E"]] == ["Class", *["background", "road", "sea"] * 2]
    assert [cell.value for cell in classes["F"]] == ["IoU", *[62.5, 25, None] * 2]


def test_table():
    text = run_text(run(model="tiny", about="NOT OpenAI's CLIP"))
    lines = text.splitlines()
    assert lines[0].split() == ["class", "IoU", "%", "Acc", "%", "pixels"]
    assert lines[2].split() == ["road", "25.00", "50.00", "20"]
    assert lines[3].split() == ["sea", "-", "-", "0"]
    assert "NOT OpenAI's CLIP" in text
    assert "foreground" not in text
    assert "foreground IoU 25.00" in run_text(run(IoU_fg=25))


def test_json_is_readable_elsewhere(tmp_path):
    append_run(tmp_path, run(Dataset="Satellite_dataset_Ⅱ"))
    assert json.loads((tmp_path / "results.json").read_bytes())[0]["Dataset"] == "Satellite_dataset_Ⅱ"


def test_the_workbook_of_rows_that_somebody_edited(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps([row() | {"per_class": [7]}]))
    append_run(tmp_path, run())
    book = openpyxl.load_workbook(tmp_path / "results.xlsx")
    assert (book["runs"].max_row, book["classes"].max_row) == (3, 4)


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"version": VERSION + 1}, f"has version {VERSION + 1}, newer than the {VERSION} of this segearth"),
        ({"images": True}, "has true as images"),
        ({"remarks": "by hand"}, 'has "by hand" as remarks'),
        ({"prompts": {"classes": "abc"}}, 'has an object prompts that has "abc" as classes'),
        ({"mIoU": "\x1b[31m"}, r'has "\u001b[31m" as mIoU'),
        ({"data": "none"}, 'has "none" as data'),
        ({"scale": 448}, "has 448 as scale"),
        ({"options": "a=1"}, 'has "a=1" as options'),
        ({"prompts": {"classes": ["road"]}}, "not one prompt for each of its 3 classes"),
    ],
)
def test_what_is_wrong_with_a_row_that_somebody_edited(change, phrase):
    assert run().remarks == ()
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Run.from_json(row() | change)
    assert str(error.value).endswith(phrase)


@pytest.mark.filterwarnings("error")  # openpyxl warns where a text is longer than a cell
def test_texts_in_the_workbook_are_no_formulas(tmp_path):
    names = ["=1+1", "-1", "+2", "@SUM(A1)", '=HYPERLINK("http://example.org")', "a\x1b[31m\x00b", "#N/A", "\t=2"]
    per_class = [ClassResult.from_counts(name, i, 10, 10, 10) for i, name in enumerate(names)]
    append_run(tmp_path, run(per_class, Dataset="=cmd|' /C calc'!A1", seconds=-1.5, prompts={"classes": names}))
    append_run(tmp_path, run(settings={"prob_thd": {"a": [1]}}, images=10**30, Dataset="\udce9" + "x" * 40_000))
    book = openpyxl.load_workbook(tmp_path / "results.xlsx")
    assert not [cell for sheet in book for cells in sheet for cell in cells if cell.data_type in ("f", "e")]
    cells = {str(cell.value): cell for cell in book["classes"]["E"]}
    assert set(cells) >= {*names[:5], r"a\x1b[31m\x00b", "#N/A"}
    assert [cells[name].quotePrefix for name in ("=1+1", "-1", "+2", "\t=2", "road")] == [True] * 4 + [False]
    header = [cell.value for cell in book["runs"][1]]
    assert book["runs"].cell(2, header.index("Seconds") + 1).value == -1.5
    assert book["runs"].cell(3, header.index("prob_thd") + 1).value == '{"a": [1]}'
    assert book["runs"].cell(3, header.index("Images") + 1).value == str(10**30)
    assert read_rows(tmp_path)[1]["Dataset"] == "\udce9" + "x" * 40_000
    assert len(book["runs"].cell(3, header.index("Dataset") + 1).value) == 32_767


def test_rows_of_four_processes_at_once_are_all_kept(tmp_path, monkeypatch):
    def slow(folder):
        rows = read_rows(folder)
        time.sleep(0.02)  # so that others would write in between
        return rows

    def append(process):
        for i in range(3):
            append_run(tmp_path, run(images=10 * process + i))

    monkeypatch.setattr(results, "read_rows", slow)
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=append, args=(number,)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    images = [entry["images"] for entry in read_rows(tmp_path)]
    assert sorted(images) == [10 * process + i for process in range(4) for i in range(3)]
    assert openpyxl.load_workbook(tmp_path / "results.xlsx")["runs"].max_row == 13
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "results.xlsx"]
