"""Several processes on one evaluation or training: the same counts as one, and one sentence when one dies."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmdata import CONFIGS, loveda, random_tiny, tiny  # noqa: F401 (fixtures)
from processes import ROOT, free_port, pair, start

from segearth.cli import eval as eval_verb
from segearth.cli import eval_all, train_upsampler
from segearth.config_files import ConfigChanges
from segearth.distributed import launch, torchrun
from segearth.distributed.ranks import ONE_RANK
from segearth.errors import UserError
from segearth.jobs.launchers import SPEAKS
from segearth.openmmlab.evaluate import evaluate

TORCHRUN = [sys.executable, "-m", "segearth.distributed.torchrun", "--standalone"]
SIZES = [(40, 60), (60, 60), (64, 48), (30, 50), (52, 44)]
BUSY = 240  # seconds for what takes a minute on a machine with nothing else to do; the others would sleep for ten


EVALUATE = f"""
import os
from pathlib import Path
from segearth import weights
packaged = weights.packaged
weights.packaged = lambda name: Path(os.environ["TINY"]) / name if name.startswith("tiny") else packaged(name)
from segearth.config_files import ConfigChanges
from segearth.jobs.launchers import launched_shard
from segearth.jobs.team import Team
from segearth.openmmlab.evaluate import evaluate
team, changes = Team(launched_shard("pytorch")), ConfigChanges(model="tiny")
for limit in (5, 2, 1):
    row, _ = evaluate("{CONFIGS}/cfg_loveda.py", "2", changes, limit=limit, team=team, show_dir="shown2")
    print(limit, row is not None)
"""


@pytest.mark.usefixtures("tiny")
def test_two_processes_count_what_one_counts(tmp_path, random_tiny, monkeypatch):  # noqa: F811
    pytest.importorskip("mmengine")
    monkeypatch.chdir(tmp_path)
    loveda(tmp_path / "data", SIZES)
    for limit in (5, 2, 1):
        evaluate(CONFIGS / "cfg_loveda.py", "1", ConfigChanges(model="tiny"), limit=limit, show_dir="shown1")
    made = []
    for code, out, err in pair(["-c", EVALUATE], tmp_path, TINY=str(random_tiny)):
        assert code == 0, err
        made += [line for line in out.splitlines() if line.endswith("True")]
    assert sorted(made) == ["1 True", "2 True", "5 True"]  # each row by the process that was the last one
    one, two = (json.loads((tmp_path / f"{size}/results.json").read_text()) for size in (1, 2))
    assert [row["images"] for row in two] == [5, 2, 1]
    assert [row["processes"] for row in two] == [2, 2, 2]
    for alone, together in zip(one, two, strict=True):
        assert together["per_class"] == alone["per_class"]
        assert {key: together[key] for key in ("aAcc", "mIoU", "mAcc")} == {
            key: alone[key] for key in ("aAcc", "mIoU", "mAcc")
        }
    assert sorted(path.name for path in (tmp_path / "2").iterdir()) == ["logs", "results.json", "results.xlsx"]
    for i in range(5):
        assert (tmp_path / f"shown2/{i}.png").read_bytes() == (tmp_path / f"shown1/{i}.png").read_bytes()


JOINED = """
import os, signal, sys, time
from segearth.config_files import ConfigChanges
from segearth.errors import UserError
from segearth.jobs.launchers import SPEAKS
from segearth.distributed import launch
from segearth.exits import run
def program():
    with launch.joined() as ranks:
{body}
sys.exit(run(program))
"""


def joined(body: str) -> list[str]:
    """Python's arguments for a program whose body runs in a group."""
    return ["-c", JOINED.format(body="\n".join(f"        {line}" for line in body.strip().splitlines()))]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="names of threads are read from Linux's /proc")
def test_gloos_threads_end_before_python_does(tmp_path):
    """One that frees a tensor while Python ends aborts the process, once in some thousand runs."""
    code = joined("global kept\nkept = ranks\nranks.gather(print(*threads()))")[1].replace(
        "def program",
        """
def threads():
    return [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
import atexit
atexit.register(lambda: print(*threads()))
def program""",
    )
    for exit_code, out, err in pair(["-c", code], tmp_path):
        assert exit_code == 0, err
        during, after = out.splitlines()
        assert "gloo" in during
        assert "gloo" not in after


def test_ctrl_c_comes_twice_and_ends_all_at_once(tmp_path):
    body = """
time.sleep(1)  # until the other one has joined as well
try:
    os.kill(os.getpid(), signal.SIGINT)  # from the terminal
    time.sleep(600)
finally:
    os.kill(os.getpid(), signal.SIGINT)  # from torchrun, which says the sentence
"""
    for code, out, err in pair(joined(body), tmp_path, **{SPEAKS: "1"}):
        assert (code, out, err) == (130, "", "")
    said = [(code, out, err.strip()) for code, out, err in pair(joined(body), tmp_path)]
    assert said == [(130, "", "interrupted: nothing more is written"), (130, "", "")]


def test_sigterm_ends_all_and_leaves_nothing(tmp_path):
    body = """
import pathlib
from segearth.outputs import atomic
with atomic(pathlib.Path("a.png")) as part:
    part.write_text("half")
    ranks.gather(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)
"""
    said = [(code, out, err.strip()) for code, out, err in pair(joined(body), tmp_path)]
    assert said == [(143, "", "ended by SIGTERM: nothing more is written"), (143, "", "")]
    assert os.listdir(tmp_path) == []


def test_tensors_are_summed_and_broadcast(tmp_path):
    body = """
import torch
own = torch.nn.Parameter(torch.full((2, 1), 5.0 + ranks.rank)), torch.arange(4.0).view(2, 2).T
ranks.all_reduce(own)
print([one.tolist() for one in own])
weight = torch.nn.Parameter(torch.full((3,), 5.0 + ranks.rank))
ranks.broadcast([weight])
print(weight.tolist())
"""
    for code, out, err in pair(joined(body), tmp_path):
        assert code == 0, err
        assert out.splitlines() == ["[[[11.0], [11.0]], [[0.0, 4.0], [2.0, 6.0]]]", "[5.0, 5.0, 5.0]"]


def test_one_that_cannot_reach_the_others_says_so(tmp_path):
    body = """
if ranks.rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
ranks.gather(1)
"""
    (code, _, err), _ = pair(joined(body), tmp_path)
    assert code == 2
    assert err.strip().splitlines()[-1].startswith("error: another process died or cannot be reached (")
    assert "Traceback" not in err


def test_what_one_alone_says_is_heard_under_torchrun(tmp_path):
    """Which kills all that are left as soon as one ends."""
    (tmp_path / "fails.py").write_text(joined("if ranks.rank == 1:\n    raise MemoryError\nranks.gather(1)")[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "fails.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: not enough memory" in done.stderr


@pytest.mark.parametrize("late", [0, 3])
def test_ctrl_c_while_one_waits_for_the_others(tmp_path, late):
    """One has done its part and the other has not: it is said once, and no second Ctrl-C disturbs the end.

    That which waits may notice the end of the other one before it gets the signal.
    """
    body = (
        f"late = {late}"
        + """
import threading
first = 1 + late * ranks.rank
threading.Timer(first, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
threading.Timer(first + 0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
if ranks.rank == 0:
    time.sleep(600)
ranks.gather(1)
"""
    )
    said = [(code, err.strip()) for code, _, err in pair(joined(body), tmp_path)]
    assert said == [(130, "interrupted: nothing more is written"), (130, "")]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK"),
        ({"WORLD_SIZE": "two", "RANK": "0"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "0", "RANK": "0"}, "RANK is 0 and WORLD_SIZE 0: expected ranks from 0 to WORLD_SIZE - 1"),
        ({"WORLD_SIZE": "2", "RANK": "5"}, "RANK is 5 and WORLD_SIZE 2: expected ranks from 0 to WORLD_SIZE - 1"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "abc"}, "did not meet the others at 127.0.0.1:abc"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "99999"}, "did not meet the others at 127.0.0.1:99999"),
    ],
)
def test_an_environment_that_is_not_torchruns(monkeypatch, variables, message):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):  # as it may set them
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message), launch.joined():
        pass


def test_processes_that_do_not_meet(tmp_path):
    code = joined("pass")[1].replace("def program", "launch.JOIN = launch.timedelta(seconds=2)\ndef program")
    process = start(["-c", code], 0, free_port(), tmp_path)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 2, err
    assert "process 0 of 2 did not meet the others" in err
    assert "Traceback" not in err


def test_alone():
    assert (ONE_RANK.is_main, ONE_RANK.gather(3)) == (True, [3])
    with launch.joined() as ranks:
        assert ranks is ONE_RANK


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
            "--nnodes 2 --node-rank 1 --master-addr node0 --master-port 1234 --rdzv-conf timeout=60 --nproc-per-node 4",
        ),
    ],
)
def test_dist_test_hands_everything_on(tmp_path, seen, arguments, variables, expected):
    assert dist_test(tmp_path, *arguments, PYTHON=str(seen), **variables).returncode == 0
    assert re.search(expected.replace("ROOT", str(ROOT)), (tmp_path / "seen").read_text())


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        ([], {}, "dist_test.sh CONFIG [GPUS]"),
        (["--limit"], {}, "dist_test.sh CONFIG [GPUS]"),
        (["c.py"], {"GPUS": "none"}, "expected a number of processes"),
        (["c.py", "1"], {"NNODES": "x"}, "expected a number of machines"),
        (["c.py", "1"], {"PORT": "abc"}, "PORT 'abc': expected a number of machines"),
        (["c.py", "1"], {"PORT": "70000"}, "a port from 1 to 65535"),
        (["c.py", "1"], {"NNODES": "2", "NODE_RANK": "2"}, "from 0 to NNODES - 1"),
    ],
)
def test_dist_test_explains_itself(tmp_path, seen, arguments, variables, sentence):
    done = dist_test(tmp_path, *arguments, PYTHON=str(seen), **variables)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not (tmp_path / "seen").exists()


def test_torchrun_ends_with_a_sentence(tmp_path):
    done = dist_test(tmp_path, "nothing.py", "2")
    assert done.returncode == 2
    (line,) = set(done.stderr.splitlines())
    assert line.startswith("error: no config at nothing.py: it is neither a file nor one of chn6-cug, ")
    (tmp_path / "killed.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    command = [*TORCHRUN, "--nproc-per-node=1", "killed.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().startswith("error: process 0 was killed (SIGKILL)")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def in_process(monkeypatch):
    """Its main here, without what it changes for good."""
    monkeypatch.setattr(logging, "disable", lambda level: None)
    for name in ("TORCHELASTIC_LOG_LEVEL", "TORCH_CPP_LOG_LEVEL", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize("verb", [eval_verb, eval_all, train_upsampler])
def test_torchrun_takes_no_option_of_ours_for_the_beginning_of_its_own(verb):
    from torch.distributed.run import parse_args

    parser = argparse.ArgumentParser(add_help=False)
    verb.add_arguments(parser)
    options = [option for action in parser._actions for option in action.option_strings]
    assert len(options) > 5
    arguments = [text for option in options for text in (option, "1")]
    assert parse_args(["eval.py", *arguments]).training_script_args == arguments


@pytest.mark.usefixtures("in_process")
def test_the_killed_process_is_named_not_the_one_that_noticed(monkeypatch, capfd):
    """Both may be of the same second, which is all that torchrun keeps."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    def fails(argv):  # noqa: ARG001
        raise ChildFailedError("x.py", {rank: ProcessFailure(rank, 1, code, "") for rank, code in ((0, 1), (1, -9))})

    monkeypatch.setattr(run, "main", fails)
    assert torchrun.main(["--standalone", "x.py"]) == 1
    assert "error: process 1 was killed (SIGKILL)" in capfd.readouterr().err


def test_a_killed_process_ends_the_command_within_a_minute(tmp_path):
    pytest.importorskip("mmengine")
    loveda(tmp_path / "data", SIZES * 12)
    environment = {key: value for key, value in os.environ.items() if key not in ("GPUS", "NNODES", "PORT")}
    environment |= {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = ["bash", ROOT / "dist_test.sh", CONFIGS / "cfg_loveda.py", "2", "--model", "tiny", "--work-dir", "out"]
    whole = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    started = time.monotonic()
    while not (notes := list(tmp_path.glob("out/progress/*/ledger/*.jsonl"))) and time.monotonic() - started < 300:
        time.sleep(0.05)
    (_, pid, _) = notes[0].stem.rsplit("-", 2)  # of a process that has finished an image
    os.kill(int(pid), signal.SIGKILL)
    killed = time.monotonic()
    out, err = whole.communicate(timeout=300)
    assert time.monotonic() - killed < BUSY
    assert (whole.returncode, out) == (1, "")
    assert re.search(r"^error: process [01] was killed \(SIGKILL\): .* start the same command again", err, re.MULTILINE)
    assert "Traceback" not in err
    assert not (tmp_path / "out/results.json").exists()


@pytest.mark.parametrize(
    ("number", "code", "sentence"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")]
)
def test_torchrun_that_is_to_end_says_so(tmp_path, number, code, sentence):
    (tmp_path / "long.py").write_text("import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)")
    command = [*TORCHRUN, "--nproc-per-node=1", "long.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=BUSY)
    assert process.returncode == code
    assert err.strip().splitlines()[-1] == (
        f"{sentence}: start the same command again (a training: with --resume): it goes on where it stopped"
    )


@pytest.mark.usefixtures("in_process")
def test_machines_that_do_not_meet(monkeypatch, capfd):
    from torch.distributed import DistNetworkError, run

    def alone(argv):  # noqa: ARG001
        raise DistNetworkError("Timed out after 61 seconds waiting for clients. 1/2 clients joined.\nC++ stack")

    monkeypatch.setattr(run, "main", alone)
    monkeypatch.setattr(torchrun, "MEETING", 1)
    address = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    for rank, reason in (("0", "Timed out after 61 seconds"), ("1", "no machine 0 at 127.0.0.1")):
        assert torchrun.main(["--nnodes", "2", "--node-rank", rank, *address, "x.py"]) == 2
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert line.startswith(f"error: this machine did not meet the others, or lost them ({reason}")
        for part in ("MASTER_ADDR", "PORT", "NODE_RANK"):
            assert part in line
