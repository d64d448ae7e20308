"""Shares as launchers number them."""

from __future__ import annotations

import pytest

from segearth.errors import UserError
from segearth.jobs.launchers import launch_name, launched_shard, launcher_here
from segearth.jobs.shards import WHOLE, Shard

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("launcher", "names"),
    [
        ("pytorch", ("RANK", "WORLD_SIZE", "LOCAL_RANK")),
        ("slurm", ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")),
        ("mpi", ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")),
    ],
)
def test_each_launcher_has_its_variables(monkeypatch, launcher, names):
    for name, value in zip(names, ("5", "8", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert launched_shard(launcher) == Shard(5, 8, 1)
    monkeypatch.setenv(names[0], "8")
    with pytest.raises(UserError, match=f"{names[0]} is 8 and {names[1]} 8: expected ranks from 0 to {names[1]} - 1"):
        launched_shard(launcher)
    monkeypatch.setenv(names[2], "first")
    with pytest.raises(UserError, match=f"{names[2]} is 'first': expected a number"):
        launched_shard(launcher)


def test_a_launcher_that_did_not_start_this_process():
    assert launched_shard("none") == WHOLE
    with pytest.raises(UserError, match="launcher pytorch asked for, but RANK and WORLD_SIZE are not set.* torchrun"):
        launched_shard("pytorch")
    with pytest.raises(UserError, match="unknown launcher 'ssh': use one of none, pytorch, slurm, mpi"):
        launched_shard("ssh")


def test_torchrun_is_found_by_its_variables(monkeypatch):
    assert launcher_here() == "none"
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="WORLD_SIZE is 2, but RANK is not set"):
        launcher_here()
    monkeypatch.setenv("RANK", "0")
    assert launcher_here() == "pytorch"


def test_launches_at_one_time_have_names_of_their_own(monkeypatch):
    names = set()
    for port in ("29500", "29501"):
        monkeypatch.setenv("MASTER_ADDR", "node0")
        monkeypatch.setenv("MASTER_PORT", port)
        names |= {launch_name("pytorch"), launch_name("pytorch")}
    assert len(names) == 2
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    for node in ("one", "other"):
        monkeypatch.setattr("platform.node", lambda node=node: node)
        names.add(launch_name("pytorch"))
    assert len(names) == 4
    assert launch_name("none") == ""
