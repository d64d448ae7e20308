"""Work dirs that something has damaged: a failure with a sentence, and all tables."""

from __future__ import annotations

import json
from pathlib import Path

import openpyxl
import pytest
from test_paper import row_of

from segearth.errors import UserError
from segearth.paper.methods import METHODS
from segearth.paper.reading import read_runs
from segearth.paper.sweep import FAILURE, Settings, sweep
from segearth.paper.tables import FILES, write_tables
from segearth.results.record import Run

CLASS = row_of("loveda")["per_class"][0]


def whole() -> dict:
    """A row of LoveDA as the tables need it."""
    return row_of("loveda")


def put(work_dir: Path, *rows: object) -> Path:
    folder = work_dir / "segearth-ov/loveda"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(rows))
    return folder


def test_a_sound_row(tmp_path):
    assert read_runs(put(tmp_path, whole())) == ([Run.from_json(whole())], None)


@pytest.mark.parametrize("key", ["MODEL", "mIoU", "IoU_fg", "images", "per_class", "prompts", "versions", "upsampler"])
def test_a_row_that_lacks_something_is_a_failure(tmp_path, key):
    row = whole()
    del row[key]
    put(tmp_path, row)
    tables = write_tables(tmp_path)
    (failure,) = tables.failures.values()
    assert f"results.json has no {key}, expected a row as segearth eval-all writes it" in failure
    assert tables.runs == {}
    assert all((tmp_path / name).is_file() for name in FILES)
    put(tmp_path, whole(), row)
    tables = write_tables(tmp_path)
    assert tables.rows[0]["Result"] == 40.0
    assert tables.rows[0]["Note"].startswith("failed: the newest row of")
    assert "the result is that of an earlier run" in tables.rows[0]["Note"]
    put(tmp_path, row, whole())
    assert write_tables(tmp_path).failures == {}


@pytest.mark.parametrize(
    ("more", "flaw"),
    [
        ({"mIoU": "40"}, 'has "40" as mIoU'),
        ({"images": None}, "has null as images"),
        ({"per_class": [CLASS]}, "has not one prompt for each of its 1 classes"),
        ({"prompts": {}}, "has not one prompt for each of its 2 classes"),
        ({"prompts": {"classes": [1, 2]}}, "has an object prompts that has [1, 2] as classes"),
        ({"per_class": [{"name": "a"}, CLASS]}, "has a class that has no IoU"),
        ({"per_class": [7, 8]}, "has a class that is no JSON object"),
    ],
)
def test_values_of_another_kind(tmp_path, more, flaw):
    put(tmp_path, whole() | more)
    write_tables(tmp_path)
    runs, failure = read_runs(tmp_path / "segearth-ov/loveda")
    assert runs == []
    assert f"results.json {flaw}, expected" in failure


@pytest.mark.parametrize("text", ["a\x00b", "a\x1b[31mb\n\tc", "a\ud800b"])
def test_messages_with_control_characters(tmp_path, monkeypatch, text):
    def fails(*_, **__):
        raise RuntimeError(text)

    monkeypatch.setattr("segearth.openmmlab.evaluate.evaluate", fails)
    (failure,) = sweep(["loveda"], [METHODS["segearth-ov"]], Settings(tmp_path, tmp_path))
    assert failure.isprintable()
    write_tables(tmp_path)
    note = openpyxl.load_workbook(tmp_path / "results.xlsx")["results"]
    assert any("failed: RuntimeError: a" in str(cell.value) for cell in note[2])
    (tmp_path / "segearth-ov/loveda" / FAILURE).write_text(json.dumps({"error": text}))  # not by us
    assert next(iter(write_tables(tmp_path).failures.values())).isprintable()


def test_a_failure_that_cannot_be_kept_stops_no_sweep(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise UserError("no data")

    monkeypatch.setattr("segearth.openmmlab.evaluate.evaluate", fails)
    (tmp_path / "segearth-ov").mkdir()
    (tmp_path / "segearth-ov/loveda").touch()
    said = []
    failures = sweep(["loveda", "udd5"], [METHODS["segearth-ov"]], Settings(tmp_path, tmp_path), say=said.append)
    assert len(failures) == 2
    assert any(text.startswith("warning: why it failed is not kept in") for text in said)
    assert read_runs(tmp_path / "segearth-ov/udd5") == ([], "no data")


@pytest.mark.parametrize("text", ["[", "{}", "[1]", '{"error": 7}', "\x00"])
def test_a_damaged_note(tmp_path, text):
    folder = put(tmp_path, whole())
    (folder / FAILURE).write_text(text)
    runs, failure = read_runs(folder)
    assert (len(runs), failure) == (1, f"{folder / FAILURE} cannot be read")
