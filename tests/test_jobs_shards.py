"""Shares of a job, and who numbers them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segearth.errors import UserError, called_as
from segearth.jobs.shards import WHOLE, Shard, parse_shard


@given(st.integers(0, 30), st.integers(1, 12))
def test_every_key_is_in_one_share(count, shares):
    keys = [f"k{number}" for number in range(count)]
    parts = [parse_shard(f"{index}/{shares}").of(keys) for index in range(shares)]
    assert sorted(key for part in parts for key in part) == sorted(keys)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert WHOLE.of(keys) == keys


def test_keys_of_a_share():
    assert parse_shard("1/3").of(iter("abcdefgh")) == ["b", "e", "h"]
    assert str(parse_shard("2/8")) == "2/8"


@pytest.mark.parametrize(
    "text", ["", "3", "3/3", "0/0", "-1/3", "1/-3", "1 / 3", "a/b", "1/3/5", "1.0/3", "٣/٤", "Auto"]
)
def test_what_is_no_share(text):
    with called_as("segearth predict"), pytest.raises(UserError, match="expected I/N with I from 0 to N - 1") as error:
        parse_shard(text)
    assert str(error.value).startswith(f"--shard {text}: ")


@pytest.fixture
def variables(monkeypatch):
    for name in (
        *("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
        *(f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "MAX", "COUNT", "STEP")),
    ):
        monkeypatch.delenv(name, raising=False)

    def put(text: str) -> None:
        for pair in text.split():
            monkeypatch.setenv(*pair.split("="))

    return put


def array(number: int, first: int, last: int, count: int, step: int = 1) -> str:
    values = {"ID": number, "MIN": first, "MAX": last, "COUNT": count, "STEP": step}
    return " ".join(f"SLURM_ARRAY_TASK_{name}={value}" for name, value in values.items())


@pytest.mark.parametrize(
    ("given_", "share"),
    [
        ("RANK=5 WORLD_SIZE=8 LOCAL_RANK=1", Shard(5, 8, 1)),
        ("RANK=0 WORLD_SIZE=1", Shard(0, 1)),
        ("SLURM_PROCID=3 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4 SLURM_LOCALID=1", Shard(3, 4, 1)),
        (array(0, 0, 7, 8), Shard(0, 8)),
        (array(7, 0, 7, 8), Shard(7, 8)),
        (array(5, 1, 9, 3, 4), Shard(1, 3)),
        (array(3, 3, 3, 1), Shard(0, 1)),
        # the batch script of a task of an array, whose job has more tasks than this one process
        (array(2, 0, 3, 4) + " SLURM_PROCID=0 SLURM_NTASKS=2", Shard(2, 4)),
        (array(2, 0, 3, 4) + " SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=1", Shard(5, 8, 1)),
        # torchrun once on each machine of a step
        ("RANK=6 WORLD_SIZE=8 LOCAL_RANK=2 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2", Shard(6, 8, 2)),
    ],
)
def test_numbers_of_launchers(variables, given_, share):
    variables(given_)
    assert parse_shard("auto") == share


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ("", "neither torchrun nor SLURM has numbered"),
        ("RANK=1", "neither torchrun nor SLURM has numbered"),
        ("SLURM_PROCID=0 SLURM_NTASKS=4", "neither torchrun nor SLURM has numbered"),
        ("RANK=8 WORLD_SIZE=8", "RANK is 8, of 8 processes: expected one of 0 to 7"),
        ("RANK=x WORLD_SIZE=8", "RANK is x: expected a number"),
        ("SLURM_ARRAY_TASK_ID=2", "SLURM_ARRAY_TASK_MIN is not set: expected a number"),
        (array(5, 1, 9, 3), "task 5 of an array of 3 from 1 to 9, which is no even row"),
        (array(4, 0, 3, 4), "SLURM_ARRAY_TASK_ID is 4, of 4 processes"),
    ],
)
def test_numbers_that_make_no_sense(variables, given_, message):
    variables(given_)
    with pytest.raises(UserError, match=message) as error:
        parse_shard("auto")
    assert "I/N" in str(error.value)
