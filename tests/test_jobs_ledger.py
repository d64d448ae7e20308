import json
import time

import pytest

from segearth.errors import UserError
from segearth.jobs.ledger import Ledger


def test_what_several_processes_finished_is_read_together(tmp_path):
    folder = tmp_path / "progress" / "job"
    assert Ledger(folder).read() == {}
    assert not folder.exists()
    with Ledger(folder) as one, Ledger(folder) as other:
        one.add([("a", 1), ("b", [2, 3])])
        other.add([("c", {"x": 4})])
        one.add([("b", 5)])
    assert len(list(folder.iterdir())) == 2
    assert Ledger(folder).read() == {"a": 1, "b": 5, "c": {"x": 4}}


def test_a_line_that_was_cut_off_is_as_if_it_were_not_there(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.add([("a", [[10, 20], [30, 40]]), ("b", [[50, 60], [70, 80]])])
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        read = Ledger(tmp_path).read()
        assert set(read) <= {"a", "b"}
        assert all(json.dumps(read[key]) in whole.decode() for key in read)
        assert ("a" in read) == (length >= whole.index(b"\n"))


@pytest.mark.parametrize(
    "text", ["1", "null", "[]", '["a"]', "[1, 2]", '["a", 1, 2]', '{"a": 1}', "\0\0", "é", "[" * 100_000, '["a", NaN]']
)
def test_other_content_is_passed_over(tmp_path, text):
    (tmp_path / "x.jsonl").write_text(text + '\n["b", 1]\n')
    assert Ledger(tmp_path).read() == {"b": 1}


def test_when_it_began(tmp_path):
    assert Ledger(tmp_path).begun() == 0
    before = time.time_ns()
    with Ledger(tmp_path) as one, Ledger(tmp_path) as other:
        one.add([("a", 1)])
        between = time.time_ns()
        other.add([("b", 1)])
    assert before <= Ledger(tmp_path).begun() <= between


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*: free some space; what was finished is kept"):
        Ledger(tmp_path / "file" / "job").add([("a", 1)])
    with pytest.raises(UserError, match=r": take another disk; what was finished is kept"):
        Ledger(tmp_path / "file" / "job", "take another disk").add([("a", 1)])


def test_of_several_lines_of_a_key_the_last_counts(tmp_path):
    """Whatever the names of the machines and the numbers of the processes, by which files are sorted, are."""
    for name, value in (("b-9-100", 1), ("a-10-200", 2), ("c-8-99", 3)):
        (tmp_path / f"{name}.jsonl").write_text(f'["key", {value}]\n')
    assert Ledger(tmp_path).read() == {"key": 2}
    assert Ledger(tmp_path).begun() == 99
