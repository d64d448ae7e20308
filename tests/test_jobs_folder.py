"""Jobs that go on where they stopped, in one process or several."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from segearth.errors import UserError, called_as
from segearth.jobs.folder import open_job
from segearth.jobs.ledger import Ledger
from segearth.jobs.shards import Shard, parse_shard

FORK = multiprocessing.get_context("fork")
KEYS = [f"k{number}" for number in range(9)]
SETTINGS = {"scale": 1.0, "classes": [["road"], ["tree", "forest"]]}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "out" / "map.segearth"


def work(key: str, path: Path, bad: tuple[str, ...] = (), last: str = "") -> dict[str, int]:
    """Writes a part; fails for some keys, and is killed at another."""
    with (path.parent / "log").open("a") as file:
        file.write(f"{key}\n")
    if key in bad:
        raise OSError(f"cannot read {key}")
    if key == last:
        os.kill(os.getpid(), signal.SIGKILL)
    (path / f"{key}.part").write_text(key)
    return {"size": len(key)}


def assemble(done: dict[str, object], failed: dict[str, str], path: Path) -> list[str]:
    """Writes the result, and who made it."""
    with (path.parent / "results").open("a") as file:
        file.write(json.dumps([list(done), failed]) + "\n")
    return [(path / f"{key}.part").read_text() for key in done]


def go(path: Path, settings=SETTINGS, shard: str = "0/1", bad: tuple[str, ...] = (), last: str = "", **options):
    """One run of the job; what it returned at the end."""
    is_done = lambda key, value: (path / f"{key}.part").stat().st_size == value["size"]  # noqa: E731
    with open_job(path, settings, shard=parse_shard(shard), **options) as job:
        job.is_done = is_done
        job.run(KEYS, partial(work, path=path, bad=bad, last=last))
        return job.finish(KEYS, partial(assemble, path=path))


def log(path: Path) -> list[str]:
    return (path.parent / "log").read_text().split()


def results(path: Path) -> list[list]:
    return [json.loads(line) for line in (path.parent / "results").read_text().splitlines()]


def test_a_job_that_ends_well_leaves_nothing_but_its_results(path):
    assert go(path) == KEYS
    assert log(path) == KEYS
    assert results(path) == [[KEYS, {}]]
    assert sorted(os.listdir(path.parent)) == ["log", "results"]


def test_a_job_that_was_killed_goes_on(path):
    for last in ("k2", "k6"):
        child = FORK.Process(target=go, args=(path,), kwargs={"last": last})
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
    assert go(path) == KEYS
    assert log(path) == ["k0", "k1", "k2", "k2", "k3", "k4", "k5", "k6", "k6", "k7", "k8"]
    assert sorted(os.listdir(path.parent)) == ["log", "results"]


def test_a_part_that_is_gone_is_made_again(path):
    assert go(path, keep=True) == KEYS
    (path / "k4.part").write_text("")
    assert go(path) == KEYS
    assert log(path) == [*KEYS, "k4"]
    assert not path.exists()


def test_what_was_given_up_is_tried_again_by_the_next_run(path):
    """Results are made without it, and the folder stays for that."""
    assert go(path, bad=("k3", "k5")) == [key for key in KEYS if key not in ("k3", "k5")]
    assert results(path)[0][1] == {"k3": "cannot read k3", "k5": "cannot read k5"}
    assert log(path)[-2:] == ["k3", "k5"]  # the second time, after all others
    assert go(path, bad=("k5",)) == [key for key in KEYS if key != "k5"]
    assert log(path)[11:] == ["k3", "k5", "k5"]
    assert go(path) == KEYS
    assert not path.exists()


def test_shares_in_two_processes(path):
    """Whoever ends last concludes the job."""
    children = [FORK.Process(target=go, args=(path,), kwargs={"shard": f"{index}/2"}) for index in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert sorted(log(path)) == KEYS
    assert results(path) == [[KEYS, {}]]
    assert sorted(os.listdir(path.parent)) == ["log", "results"]


def test_a_share_that_was_killed_is_done_by_the_same_or_by_all(path):
    child = FORK.Process(target=go, args=(path,), kwargs={"shard": "1/2", "last": "k5"})
    child.start()
    child.join(60)
    assert go(path, shard="0/2") is None
    assert not (path.parent / "results").exists()
    assert go(path) == KEYS
    assert log(path) == ["k1", "k3", "k5", "k0", "k2", "k4", "k6", "k8", "k5", "k7"]


def test_a_job_that_another_process_has_concluded(path):
    with open_job(path, SETTINGS, shard=Shard(0, 2)) as one, open_job(path, SETTINGS, shard=Shard(1, 2)) as other:
        assert (one.existed, other.existed) == (False, True)
        for job in (one, other):
            job.run(KEYS, partial(work, path=path))
        assert one.finish(KEYS, partial(assemble, path=path)) == KEYS
        assert other.finish(KEYS, partial(assemble, path=path)) is None
    assert len(results(path)) == 1
    assert sorted(os.listdir(path.parent)) == ["log", "results"]


def test_results_that_cannot_be_written(path):
    def fails(*_):
        raise UserError("the disk is full")

    with pytest.raises(UserError, match="disk is full"), open_job(path, SETTINGS) as job:
        job.run(KEYS, partial(work, path=path))
        job.finish(KEYS, fails)
    assert go(path) == KEYS
    assert log(path) == KEYS


def test_two_processes_with_the_same_share(path):
    with open_job(path, SETTINGS), pytest.raises(UserError, match="another process works on .*wait until"):
        go(path)
    assert go(path) == KEYS


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scale": 0.5}, "scale 1.0, not 0.5"),
        ({"classes": [["road"], ["tree", "wood"]]}, r'classes\[1\]\[1\] "forest", not "wood"'),
    ],
)
def test_other_settings(path, settings, said):
    with open_job(path, SETTINGS) as job:
        job.run(KEYS[:3], partial(work, path=path))
    with called_as("segearth predict"), pytest.raises(UserError, match=said) as error:
        go(path, SETTINGS | settings)
    assert str(error.value).endswith(
        ": expected the same settings; use another output folder, or --overwrite to begin anew"
    )
    assert len(os.listdir(path)) == 5  # with job.json and the ledger
    assert go(path, SETTINGS | settings, overwrite=True) == KEYS
    assert log(path) == [*KEYS[:3], *KEYS]


def test_overwriting_by_shares(path):
    with pytest.raises(UserError, match="each of the processes would delete"):
        go(path, shard="0/2", overwrite=True)


def test_nothing_begins_anew_under_other_shares(path):
    """Whatever their settings are; what a process that was killed has left is in nobody's way."""
    with open_job(path, SETTINGS, shard=Shard(1, 2)) as job:
        job.run(KEYS, partial(work, path=path))
        for settings in (SETTINGS, {"scale": 2.0}):
            with pytest.raises(UserError, match="another process works on .*wait until"):
                go(path, settings, overwrite=True)
        with pytest.raises(UserError, match="another process works on"), open_job(path, SETTINGS, sole=True):
            pytest.fail("it is not alone")
        assert sorted(job.read()[0]) == KEYS[1::2]
        with open_job(path, SETTINGS, shard=Shard(0, 2)):
            pass
    (path.parent / ".map.segearth.1-of-2.lock").touch()
    assert go(path, overwrite=True) == KEYS
    assert sorted(os.listdir(path.parent)) == ["log", "results"]


def test_the_layout_is_that_of_the_first_run(path):
    with open_job(path, SETTINGS, layout={"block": 448}) as job:
        assert job.layout == {"block": 448}
    with open_job(path, SETTINGS, layout={"block": 1008}) as job:
        assert (job.existed, job.layout) == (True, {"block": 448})
    with open_job(path, SETTINGS, layout={"block": 1008}, overwrite=True) as job:
        assert (job.existed, job.layout) == (False, {"block": 1008})


@pytest.mark.parametrize("content", ["", "[]", "{", '{"hash": "1", "settings": {}}', '{"hash": 1, "settings": {}}'])
def test_a_job_file_that_is_none(path, content):
    path.mkdir(parents=True)
    (path / "job.json").write_text(content)
    with pytest.raises(UserError, match=r"job\.json .*: expected what an earlier run wrote there; use another output"):
        go(path)
    assert go(path, overwrite=True) == KEYS


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_of_others_are_left_alone(path, overwrite):
    path.mkdir(parents=True)
    (path / "thesis.doc").touch()
    with pytest.raises(UserError, match=r"is no folder of a job, for it has no job\.json: expected one, or nothing"):
        go(path, overwrite=overwrite)
    assert os.listdir(path) == ["thesis.doc"]
    (path / "thesis.doc").unlink()
    assert go(path, overwrite=overwrite) == KEYS
    path.touch()
    with pytest.raises(UserError, match="is no folder of a job"):
        go(path, overwrite=overwrite)


def test_a_kill_amid_removing(path, monkeypatch):
    """What is left counts for nothing, so all is done again."""
    assert go(path, keep=True) == KEYS

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "iterdir", killed)
    with pytest.raises(KeyboardInterrupt):
        go(path, overwrite=True)
    monkeypatch.undo()
    assert (path / "k0.part").exists()
    assert go(path) == KEYS
    assert log(path) == [*KEYS, *KEYS]


def test_lines_of_no_meaning(path):
    with open_job(path, SETTINGS) as job, Ledger(path / "ledger") as ledger:
        ledger.add([("k0", 1), ("k1", {"failed": 2}), ("k2", {}), ("k3", None), ("k4", {"done": {"size": 1}})])
        assert job.read() == ({"k4": {"size": 1}}, {})


def test_a_job_that_was_concluded_is_not_made_again(path):
    """By a process that still has a key of it, such as one that draws what was counted before."""
    with open_job(path, SETTINGS, shard=Shard(0, 2)) as one, open_job(path, SETTINGS, shard=Shard(1, 2)) as other:
        one.add(dict.fromkeys(KEYS, 1))
        assert one.finish(KEYS, lambda done, _: list(done)) == KEYS
        other.add({KEYS[0]: 1})
        assert other.finish(KEYS, lambda done, _: list(done)) is None
    assert not path.exists()


def test_a_ledger_that_is_left_alone_is_of_no_job(path):
    with open_job(path, SETTINGS, keep=True) as job:
        job.add({KEYS[0]: 1})
    (path / "job.json").unlink()
    with open_job(path, SETTINGS) as job:
        assert (job.existed, job.read()) == (False, ({}, {}))


def test_a_run_of_fewer_keys_leaves_what_others_need(path):
    """They are at work, as another number of processes."""
    with open_job(path, SETTINGS, shard=Shard(0, 2)) as running:
        running.add({KEYS[0]: 1, KEYS[4]: 1})
        with open_job(path, SETTINGS) as job:
            job.add(dict.fromkeys(KEYS[:2], 1))
            assert job.finish(KEYS[:2], lambda done, _: list(done)) == KEYS[:2]
        assert set(running.read()[0]) == {KEYS[0], KEYS[1], KEYS[4]}
        running.add(dict.fromkeys(KEYS, 1))
        assert running.finish(KEYS, lambda done, _: len(done)) == len(KEYS)
    assert not path.exists()
