"""The workers of a dask cluster as an executor."""

import os

import pytest

pytest.importorskip("distributed", reason="clusters need the extra dask")

import distributed

from segearth.errors import UserError
from segearth.jobs import dask_executor as module
from segearth.jobs.dask_executor import dask_executor
from segearth.jobs.executor import run_tasks


@pytest.fixture
def cluster():
    """Two workers in this process, reached by an address."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield cluster


def square(key):
    if key == "3":
        raise ValueError("three")
    return int(key) ** 2


def test_tasks_run_on_a_cluster(cluster, tmp_path):
    keys = [str(number) for number in range(8)]
    with dask_executor(cluster.scheduler_address) as executor:
        outcome = run_tasks(keys, square, executor=executor, workers=executor.workers)
    assert outcome.done == {key: int(key) ** 2 for key in keys if key != "3"}
    assert outcome.failed == {"3": "ValueError: three"}
    file = tmp_path / "scheduler.json"
    file.write_text(f'{{"address": "{cluster.scheduler_address}"}}')
    with dask_executor(os.fspath(file)) as executor:
        assert run_tasks(["2"], square, executor=executor).done == {"2": 4}


def test_a_scheduler_that_goes_away_ends_the_run(cluster):
    with dask_executor(cluster.scheduler_address) as executor:
        run_tasks(["1"], square, executor=executor)
        cluster.close()
        with pytest.raises(UserError, match="DaskExecutor broke .* what was finished is kept"):
            run_tasks(["2", "4"], square, executor=executor)


@pytest.mark.parametrize("place", ["tcp://127.0.0.1:9", "nonsense://", "none.json"])
def test_no_scheduler(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    with pytest.raises(UserError, match="no dask scheduler answers at scheduler="), dask_executor(place):
        pass
