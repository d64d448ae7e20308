import json
import multiprocessing
import time

import numpy as np
import openpyxl
import pytest

from segearth import results
from segearth.counts import ClassCounts
from segearth.errors import UserError
from segearth.results import append_row, finite, flaw, read_rows, scores, table

COUNTS = (
    ClassCounts("background", 50, 80, 70, 60),
    ClassCounts("road", 10, 40, 30, 20),
    ClassCounts("sea", 0, 0, 0, 0),
)


def row(counts=COUNTS, **more):
    return {
        "CLIP": "CLIP",
        "VIT": "ViT-B/16",
        "MODEL": "SegEarth",
        "Dataset": "LoveDADataset",
        **scores(counts, {"aAcc": 75.0, "mIoU": np.float32(43.75), "mAcc": float("nan")}, background=0),
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


def test_scores():
    found = row()
    assert (found["aAcc"], found["mIoU"], found["mAcc"]) == (75.0, 43.75, None)
    assert found["IoU_fg"] is None
    assert found["per_class"][1] == {
        "name": "road",
        "IoU": 25.0,
        "Acc": 50.0,
        "intersection": 10,
        "union": 40,
        "prediction_pixels": 30,
        "label_pixels": 20,
    }
    assert found["per_class"][2]["IoU"] is None


@pytest.mark.parametrize(("background", "expected"), [(0, 25.0), (1, 62.5)])
def test_foreground_of_two_classes(background, expected):
    summary = {"aAcc": 1.0, "mIoU": 2.0, "mAcc": 3.0}
    assert scores(COUNTS[:2], summary, background)["IoU_fg"] == expected


def test_finite_rounds_as_mmseg():
    assert finite(np.float32(45.67)) == 45.67
    assert finite(float("nan")) is None


def test_runs_are_appended(tmp_path):
    assert read_rows(tmp_path) == []
    append_row(tmp_path, row())
    append_row(tmp_path, row(images=7))
    assert [entry["images"] for entry in read_rows(tmp_path)] == [3, 7]
    assert "NaN" not in (tmp_path / "results.json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "results.xlsx"]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_row(tmp_path, row(seconds=float("nan")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "[{", "{}", "[1]", "\0", "[" * 100_000, '[{"mIoU": NaN}]', '["\x1b"]'])
def test_damaged_results_are_kept(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match="move it away"):
        append_row(tmp_path, row())
    assert path.read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_workbook(tmp_path):
    append_row(tmp_path, row())
    append_row(tmp_path, {"Dataset": "an older row"})
    book = openpyxl.load_workbook(tmp_path / "results.xlsx")
    assert book.sheetnames == ["runs", "classes"]
    runs, classes = book["runs"], book["classes"]
    header = [cell.value for cell in runs[1]]
    assert {"CLIP", "VIT", "MODEL", "Dataset", "aAcc", "mIoU", "mAcc", "Images", "prob_thd"} <= set(header)
    assert (runs.freeze_panes, runs.max_row) == ("A2", 3)
    cell = runs.cell(2, header.index("mIoU") + 1)
    assert (cell.value, cell.number_format) == (43.75, "0.00")
    assert runs.cell(2, header.index("mAcc") + 1).value is None
    assert runs.cell(2, header.index("prob_thd") + 1).value == 0.3
    assert runs.column_dimensions["B"].width > 8
    assert [cell.value for cell in classes["E"]] == ["Class", "background", "road", "sea"]
    assert [cell.value for cell in classes["F"]] == ["IoU", 62.5, 25, None]


def test_table():
    text = table(row(model="tiny", about="NOT OpenAI's CLIP"))
    lines = text.splitlines()
    assert lines[0].split() == ["class", "IoU", "%", "Acc", "%", "pixels"]
    assert lines[2].split() == ["road", "25.00", "50.00", "20"]
    assert lines[3].split() == ["sea", "-", "-", "0"]
    assert "NOT OpenAI's CLIP" in text
    assert "foreground" not in text
    assert "foreground IoU 25.00" in table(row(COUNTS[:2]))


def test_json_is_readable_elsewhere(tmp_path):
    append_row(tmp_path, row(Dataset="Satellite_dataset_Ⅱ"))
    assert json.loads((tmp_path / "results.json").read_bytes())[0]["Dataset"] == "Satellite_dataset_Ⅱ"


def test_the_workbook_of_rows_that_somebody_edited(tmp_path):
    append_row(tmp_path, row(per_class=[7]))
    append_row(tmp_path, row())
    book = openpyxl.load_workbook(tmp_path / "results.xlsx")
    assert (book["runs"].max_row, book["classes"].max_row) == (3, 4)


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"mIoU": "\x1b[31m"}, r'has "\u001b[31m" as mIoU'),
        ({"data": "none"}, 'has "none" as data'),
        ({"scale": 448}, "has 448 as scale"),
        ({"options": "a=1"}, 'has "a=1" as options'),
        ({"prompts": {"classes": ["road"]}}, "not one prompt for each of its 3 classes"),
    ],
)
def test_what_is_wrong_with_a_row_that_somebody_edited(change, phrase):
    assert flaw(row()) is None
    assert phrase in str(flaw(row(**change)))


@pytest.mark.filterwarnings("error")  # openpyxl warns where a text is longer than a cell
def test_texts_in_the_workbook_are_no_formulas(tmp_path):
    names = ["=1+1", "-1", "+2", "@SUM(A1)", '=HYPERLINK("http://example.org")', "a\x1b[31m\x00b", "#N/A", "\t=2"]
    counts = [ClassCounts(name, i, 10, 10, 10) for i, name in enumerate(names)]
    append_row(tmp_path, row(counts, Dataset="=cmd|' /C calc'!A1", seconds=-1.5, prompts={"classes": names}))
    append_row(tmp_path, row(VIT={"a": [1]}, images=10**30, Dataset="\udce9" + "x" * 40_000))
    book = openpyxl.load_workbook(tmp_path / "results.xlsx")
    assert not [cell for sheet in book for cells in sheet for cell in cells if cell.data_type in ("f", "e")]
    cells = {str(cell.value): cell for cell in book["classes"]["E"]}
    assert set(cells) >= {*names[:5], r"a\x1b[31m\x00b", "#N/A"}
    assert [cells[name].quotePrefix for name in ("=1+1", "-1", "+2", "\t=2", "road")] == [True] * 4 + [False]
    header = [cell.value for cell in book["runs"][1]]
    assert book["runs"].cell(2, header.index("Seconds") + 1).value == -1.5
    assert book["runs"].cell(3, header.index("VIT") + 1).value == '{"a": [1]}'
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
            append_row(tmp_path, row(images=10 * process + i))

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
