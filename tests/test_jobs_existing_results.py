"""Results of earlier commands, by what their summaries list."""

from __future__ import annotations

import pytest

from segearth.errors import UserError
from segearth.jobs.existing_results import complete_files, listed_files, read_summary, refuse_foreign
from segearth.json_files import write_json


def test_files_of_a_summary(tmp_path):
    """Complete are those that have the size that is listed; whatever else is listed is none."""
    (tmp_path / "a.tif").write_bytes(b"123")
    (tmp_path / "b.tif").write_bytes(b"1234")
    (tmp_path / "folder").mkdir()
    sizes = {"a.tif": 3, "b.tif": 3, "gone.tif": 3, "folder": 4096, "no\0name": 3, "c.tif": None}
    files = {name: {"bytes": size} for name, size in sizes.items()}
    write_json(tmp_path / "summary.json", {"files": {**files, "b2.tif": 7, "b3.tif": {}}})
    summary = read_summary(tmp_path / "summary.json")
    assert listed_files(summary) == {**files, "b3.tif": {}}
    assert complete_files(summary, tmp_path) == {"a.tif"}


@pytest.mark.parametrize("text", ["", "[]", "7", '{"files": []}', '{"files": null}', "{}"])
def test_what_is_no_summary_lists_nothing(tmp_path, text):
    path = tmp_path / "summary.json"
    assert read_summary(path) == {}
    path.write_text(text)
    assert complete_files(read_summary(path), tmp_path) == set()


def test_files_without_a_summary_are_somebody_elses(tmp_path):
    refuse_foreign([tmp_path / "a.tif"], tmp_path / "a.json")
    (tmp_path / "a.tif").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"a.tif is there, but no a.json, so it is no file of ours"):
        refuse_foreign([tmp_path / "a.tif"], tmp_path / "a.json", "file")
