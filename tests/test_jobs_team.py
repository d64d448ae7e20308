"""Processes that exchange values through files in a folder; here they are threads, which is the same to the files."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segearth.errors import UserError
from segearth.jobs import team as module
from segearth.jobs.shards import Shard
from segearth.jobs.team import ALONE, Team, TeamError


def run(count: int, work: Callable[[Team], Any], launches: int = 1) -> list[Any]:
    """What work returns, or the error that it raises, in each of some processes; of several launches, one by one."""
    results: list[Any] = [None] * count * launches

    def process(number: int) -> None:
        try:
            results[number] = work(Team(Shard(number % count, count), f"-{number // count}"))
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=process, args=(number,)) for number in range(count * launches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.parametrize("count", [2, 5])
def test_all_get_all_values_again_and_again(tmp_path, count):
    def work(team: Team) -> list[list[int]]:
        return [team.gather(tmp_path, 100 * turn + team.shard.index) for turn in range(4)]

    expected = [[100 * turn + rank for rank in range(count)] for turn in range(4)]
    assert run(count, work) == [expected] * count
    assert list(tmp_path.iterdir()) == []


def test_two_launches_at_once_in_one_folder(tmp_path):
    """Such as two sweeps with other methods."""

    def work(team: Team) -> list[list[str]]:
        return [team.gather(tmp_path, f"{team._launch} {turn}") for turn in range(5)]

    first, second = ([[f"-{launch} {turn}"] * 3 for turn in range(5)] for launch in range(2))
    assert run(3, work, launches=2) == [first] * 3 + [second] * 3


def test_files_of_a_launch_that_was_killed_count_for_nothing(tmp_path):
    """Whoever it was had met the others, as far as the files tell."""
    meeting = tmp_path / ".processes-0" / "1"
    meeting.mkdir(parents=True)
    for rank in range(2):
        stale = {"number": f"old{rank}", "value": "stale", "read": ["old0", "old1"]}
        (meeting / f"{rank}.json").write_text(json.dumps(stale))
        (meeting / f"old{rank}.left").touch()
    assert run(2, lambda team: team.gather(tmp_path, "new")) == [["new", "new"]] * 2


def test_a_file_that_is_half_written_is_read_again(tmp_path):
    meeting = tmp_path / ".processes-0" / "1"
    meeting.mkdir(parents=True)
    (meeting / "1.json").write_text('{"number": "a"')
    (meeting / "0.json").write_text("[]")
    assert run(2, lambda team: team.gather(tmp_path, team.shard.index)) == [[0, 1]] * 2


def test_a_folder_that_is_not_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MEETING_S", 0.3)

    def work(team: Team) -> None:
        team.gather(tmp_path / str(team.shard.index))

    for rank, error in enumerate(run(2, work)):
        assert isinstance(error, TeamError)
        assert f"process {rank} of 2 does not find process {1 - rank} in {tmp_path / str(rank)}" in str(error)
        assert "give a folder on a shared disk" in str(error)


def test_what_fails_in_one_process_fails_in_all_and_they_go_on(tmp_path):
    def work(team: Team) -> tuple[str, str, list[int]]:
        def fail(kind: type[Exception]) -> None:
            if team.shard.index == 1:
                raise kind("image 7 is damaged")

        texts = []
        for kind in (UserError, ValueError, MemoryError):
            with pytest.raises(kind if team.shard.index == 1 or kind is MemoryError else UserError) as error:
                team.run_on_all_ranks(tmp_path, lambda kind=kind: fail(kind))
            texts.append(str(error.value))
        return *texts, team.run_on_all_ranks(tmp_path, lambda: team.shard.index), team.gather(tmp_path, 3)

    text = "image 7 is damaged"
    first, second = run(2, work)
    assert first == (text, f"ValueError: {text}", f"MemoryError: {text}", 0, [3, 3])
    assert second == (text, text, text, 1, [3, 3])


def test_a_process_alone_needs_no_folder():
    nowhere = Path("/nowhere/at/all")
    assert (ALONE.is_main, ALONE.has_met, ALONE.gather(nowhere, 3)) == (True, True, [3])
    assert ALONE.run_on_all_ranks(nowhere, lambda: 4) == 4
