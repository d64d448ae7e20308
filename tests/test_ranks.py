"""Several processes on one evaluation: the same counts as one, and a death ends them all."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmdata import CONFIGS, loveda, random_tiny, tiny  # noqa: F401 (fixtures)

from segearth.openmmlab import launch
from segearth.openmmlab.ranks import ALONE
from segearth.openmmlab.runner import evaluate

ROOT = CONFIGS.parent
SIZES = [(40, 60), (60, 60), (64, 48), (30, 50), (52, 44)]


def start(code: str, rank: int, port: int, folder: Path, **more: str) -> subprocess.Popen:
    """One of two processes, begun by hand: no torchrun looks after them."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment = os.environ | {key: str(value) for key, value in variables.items()} | more
    environment |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def pair(code: str, folder: Path, **more: str) -> list[tuple[int, str, str]]:
    """Runs code in two processes; gives exit code, stdout and stderr of each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    both = [start(code, rank, port, folder, **more) for rank in range(2)]
    texts = [
        process.communicate(timeout=600)  # on a machine that is busy, importing takes minutes
        for process in both
    ]
    return [(process.returncode, *text) for process, text in zip(both, texts, strict=True)]


EVALUATE = f"""
import os
from pathlib import Path
from segearth import weights
packaged = weights.packaged
weights.packaged = lambda name: Path(os.environ["TINY"]) / name if name.startswith("tiny") else packaged(name)
from segearth.openmmlab import launch
from segearth.openmmlab.runner import evaluate
with launch.joined("pytorch") as ranks:
    for limit in (5, 2, 1):
        evaluate("{CONFIGS}/cfg_loveda.py", "2", limit=limit, ranks=ranks, model="tiny", show_dir="shown2")
"""


@pytest.mark.usefixtures("tiny")
def test_two_processes_count_what_one_counts(tmp_path, random_tiny, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    loveda(tmp_path / "data", SIZES)
    for limit in (5, 2, 1):
        evaluate(CONFIGS / "cfg_loveda.py", "1", limit=limit, model="tiny", show_dir="shown1")
    for code, _, err in pair(EVALUATE, tmp_path, TINY=str(random_tiny)):
        assert code == 0, err
    one, two = (json.loads((tmp_path / f"{size}/results.json").read_text()) for size in (1, 2))
    assert [row["images"] for row in two] == [5, 2, 1]
    assert [row["processes"] for row in two] == [2, 2, 2]
    for alone, together in zip(one, two, strict=True):
        assert together["per_class"] == alone["per_class"]
        assert {key: together[key] for key in ("aAcc", "mIoU", "mAcc")} == {
            key: alone[key] for key in ("aAcc", "mIoU", "mAcc")
        }
    assert not (tmp_path / "2/progress").exists()
    for i in range(5):
        assert (tmp_path / f"shown2/{i}.png").read_bytes() == (tmp_path / f"shown1/{i}.png").read_bytes()


JOINED = """
import os, signal, sys, time
from segearth.errors import UserError
from segearth.openmmlab import launch
from segearth.outputs import run
def program():
    with launch.joined("pytorch") as ranks:
{body}
sys.exit(run(program))
"""


def joined(body: str) -> str:
    return JOINED.format(body="\n".join(f"        {line}" for line in body.strip().splitlines()))


def test_what_fails_on_one_fails_on_all_and_they_go_on(tmp_path):
    body = """
def fail():
    if ranks.rank == 1:
        raise UserError("no such file")
try:
    ranks.everywhere(fail)
except UserError as error:
    print(ranks.rank, error)
print(ranks.gather(10 + ranks.rank), ranks.everywhere(lambda: ranks.rank))
print(ranks.one_a_machine_first(lambda: ranks.rank * 2))
"""
    for rank, (code, out, err) in enumerate(pair(joined(body), tmp_path)):
        assert code == 0, err
        assert out.splitlines() == [f"{rank} no such file", f"[10, 11] {rank}", str(2 * rank)]


def test_a_death_ends_the_others_within_a_minute(tmp_path):
    body = """
if ranks.rank == 1:
    time.sleep(1)
    print(time.monotonic(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(600)
"""
    (code, _, err), (other, died, _) = pair(joined(body), tmp_path)
    assert time.monotonic() - float(died) < 60
    assert (code, other) == (1, -signal.SIGKILL)
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: another process of this evaluation died or cannot be reached")
    assert "start the same command again" in last
    assert "Traceback" not in err


def test_a_mistake_of_one_ends_the_others(tmp_path):
    body = """
if ranks.rank == 1:
    print(time.monotonic(), flush=True)
    raise UserError("image 7 is damaged")
time.sleep(600)
"""
    (code, _, err), (other, failed, reason) = pair(joined(body), tmp_path)
    assert time.monotonic() - float(failed) < 60
    assert (code, other) == (1, 2)
    assert "error: process 1 of this evaluation failed" in err
    assert reason.strip().splitlines()[-1] == "error: image 7 is damaged"


def test_processes_that_do_not_meet(tmp_path):
    code = joined("pass").replace("def program", "launch.JOIN = launch.timedelta(seconds=2)\ndef program")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start(code, 0, port, tmp_path)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 2, err
    assert "process 0 of 2 did not meet the others" in err
    assert "Traceback" not in err


def test_alone():
    assert (ALONE.is_main, ALONE.gather(3), ALONE.everywhere(lambda: 4)) == (True, [3], 4)
    assert ALONE.one_a_machine_first(lambda: 5) == 5
    with launch.joined("none") as ranks:
        assert ranks is ALONE


def dist_test(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key not in ("GPUS", "NNODES", "PORT")}
    environment |= {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | more
    command = ["bash", str(ROOT / "dist_test.sh"), *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def seen(tmp_path) -> Path:
    """A python that notes how it was called instead of running torchrun."""
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo 1; exit; fi\necho "$@" > {tmp_path}/seen\n')
    fake.chmod(0o755)
    return fake


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (["c.py"], {}, "--standalone --nproc-per-node 1 ROOT/eval.py --config c.py --launcher pytorch"),
        (["c.py", "3", "--limit", "5"], {"GPUS": "2"}, "--nproc-per-node 3 .* --launcher pytorch --limit 5"),
        (["c.py", "--limit", "5"], {"GPUS": "2"}, "--nproc-per-node 2 .* --launcher pytorch --limit 5"),
        (["c.py"], {"WORK_DIR": "my results"}, "--launcher pytorch --work-dir my results"),
        (["all", "2", "--datasets", "vdd"], {}, "ROOT/eval_all.py --launcher pytorch --datasets vdd"),
        (
            ["c.py", "4"],
            {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "node0", "PORT": "1234"},
            "--nnodes 2 --node-rank 1 --master-addr node0 --master-port 1234 --nproc-per-node 4",
        ),
    ],
)
def test_dist_test_hands_everything_on(tmp_path, seen, arguments, variables, expected):
    assert dist_test(tmp_path, *arguments, PYTHON=str(seen), **variables).returncode == 0
    assert re.search(expected.replace("ROOT", str(ROOT)), (tmp_path / "seen").read_text())


@pytest.mark.parametrize(("arguments", "variables"), [([], {}), (["--limit"], {}), (["c.py"], {"GPUS": "none"})])
def test_dist_test_explains_itself(tmp_path, seen, arguments, variables):
    done = dist_test(tmp_path, *arguments, PYTHON=str(seen), **variables)
    assert done.returncode == 2
    assert "expected a number of processes" in done.stderr or "dist_test.sh CONFIG [GPUS]" in done.stderr
    assert not (tmp_path / "seen").exists()


def test_torchrun_ends_with_a_sentence(tmp_path):
    done = dist_test(tmp_path, "nothing.py", "2")
    assert done.returncode == 2
    *mistakes, end = done.stderr.splitlines()
    assert set(mistakes) == {"error: no config at nothing.py: give a config file, such as configs/cfg_loveda.py"}
    assert end.startswith("error: process")
    (tmp_path / "killed.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    command = [
        sys.executable,
        "-m",
        "segearth.openmmlab.torchrun",
        "--standalone",
        "--nproc-per-node",
        "1",
        "killed.py",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: process 0 was killed (SIGKILL)")
    assert len(done.stderr.splitlines()) == 1
