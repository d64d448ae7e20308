"""Work dirs that something has damaged: a failure with a sentence, and all tables."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import openpyxl
import pytest
from test_paper import row_of

from segearth import exits
from segearth.errors import UserError
from segearth.exits import record_signal
from segearth.jobs.team import NOT_MADE
from segearth.openmmlab.model_weights import MissingWeightsError
from segearth.paper.columns import column
from segearth.paper.reading import FAILURE, read_table_runs
from segearth.paper.sweep import Settings, plan, sweep
from segearth.paper.table_rows import ROWS
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
    assert read_table_runs(put(tmp_path, whole())) == ([Run.from_json(whole())], None)


@pytest.mark.parametrize("key", ["MODEL", "mIoU", "IoU_fg", "images", "per_class", "prompts", "versions", "upsampler"])
def test_a_row_that_lacks_something_is_a_failure(tmp_path, key):
    row = whole()
    del row[key]
    put(tmp_path, row)
    tables = write_tables(tmp_path)
    (failure,) = tables.failures
    assert f"results.json has no {key}, expected a row as segearth eval-all writes it" in failure
    assert tables.runs == []
    assert all((tmp_path / name).is_file() for name in FILES)
    put(tmp_path, whole(), row)
    tables = write_tables(tmp_path)
    assert tables.lines[0].result == 40.0
    assert tables.lines[0].notes[0].startswith("failed: the newest row of")
    assert "the result is that of an earlier run" in tables.lines[0].notes[0]
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
    runs, failure = read_table_runs(tmp_path / "segearth-ov/loveda")
    assert runs == []
    assert f"results.json {flaw}, expected" in failure


@pytest.mark.parametrize("text", ["a\x00b", "a\x1b[31mb\n\tc", "a\ud800b"])
def test_messages_with_control_characters(tmp_path, monkeypatch, text):
    def fails(*_, **__):
        raise RuntimeError(text)

    monkeypatch.setattr("segearth.openmmlab.evaluate.evaluate", fails)
    (failure,) = sweep(plan([ROWS["segearth-ov"]], [column("loveda")]), Settings(tmp_path))
    assert failure.isprintable()
    write_tables(tmp_path)
    note = openpyxl.load_workbook(tmp_path / "results.xlsx")["results"]
    assert any("failed: RuntimeError: a" in str(cell.value) for cell in note[2])
    (tmp_path / "segearth-ov/loveda" / FAILURE).write_text(json.dumps({"error": text}))  # not by us
    assert next(iter(write_tables(tmp_path).failures)).isprintable()


def test_a_failure_that_cannot_be_kept_stops_no_sweep(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise UserError("no data")

    monkeypatch.setattr("segearth.openmmlab.evaluate.evaluate", fails)
    (tmp_path / "segearth-ov").mkdir()
    (tmp_path / "segearth-ov/loveda").touch()
    said = []
    pairs = plan([ROWS["segearth-ov"]], [column("loveda"), column("udd5")])
    failures = sweep(pairs, Settings(tmp_path), say=said.append)
    assert failures == {"no data": ["SegEarth-OV, loveda", "SegEarth-OV, udd5"]}
    assert any(text.startswith("warning: why it failed is not kept in") for text in said)
    assert read_table_runs(tmp_path / "segearth-ov/udd5") == ([], "no data")


@pytest.mark.parametrize("text", ["[", "{}", "[1]", '{"error": 7}', "\x00"])
def test_a_damaged_note(tmp_path, text):
    folder = put(tmp_path, whole())
    (folder / FAILURE).write_text(text)
    runs, failure = read_table_runs(folder)
    assert (len(runs), failure) == (1, f"{folder / FAILURE} cannot be read")


def test_what_needs_missing_weights_is_left_out_once_it_is_known(tmp_path, monkeypatch):
    """The CLIP is that of all; an upsampler that of its methods."""
    tried, kind = [], "upsampler"

    def fails(_, folder, **__):
        tried.append(folder.relative_to(tmp_path).as_posix())
        raise MissingWeightsError(kind, f"no {kind}")

    def run_all() -> tuple[list[str], list[str]]:
        tried.clear()
        said = []
        rows = [ROWS[name] for name in ("segearth-ov", "segearth-ov-896", "ablation-featup", "clip")]
        failures = sweep(plan(rows, [column("loveda"), column("udd5")]), Settings(tmp_path), say=said.append)
        assert list(failures) == [f"no {kind}"]
        return tried, [text for text in said if text.startswith("left out")]

    monkeypatch.setattr("segearth.openmmlab.evaluate.evaluate", fails)
    names, said = run_all()
    assert names == ["segearth-ov/loveda", "ablation-featup/loveda", "clip/loveda"]
    assert said[0] == "left out: 3 more, which need the same weights"
    kind = "clip"
    assert run_all() == (["segearth-ov/loveda"], ["left out: 7 more, which need the same weights"])


def test_a_run_that_another_launch_has_ended_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr("segearth.openmmlab.evaluate.evaluate", lambda _, folder, **__: (None, folder))
    assert sweep(plan([ROWS["segearth-ov"]], [column("loveda")]), Settings(tmp_path)) == {
        NOT_MADE: ["SegEarth-OV, loveda"]
    }


def test_an_interruption_is_no_missing_file(tmp_path, monkeypatch):
    """Also where a library has made another error of it."""

    def fetch(*_: object, **__: object) -> None:
        record_signal(signal.SIGINT)
        raise MissingWeightsError("clip", "the download was cut off")

    monkeypatch.setattr("segearth.openmmlab.evaluate.evaluate", fetch)
    monkeypatch.setattr(exits, "_received", [])
    with pytest.raises(KeyboardInterrupt):
        sweep(plan([ROWS["segearth-ov"]], [column("loveda")]), Settings(tmp_path))
