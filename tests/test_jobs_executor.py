"""Tasks in this process, in workers that may die, and through executors of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from segearth.errors import UserError, called_as, notice, option
from segearth.jobs.executor import run_tasks
from segearth.jobs.workers import cores, threads_each

KEYS = [f"k{number}" for number in range(8)]


class OddError(Exception):
    """Cannot be built again from its arguments, so it must not travel between processes."""

    def __init__(self, where: int, why: str) -> None:
        super().__init__(f"{why} at {where}")


def work(key: str, notes: Path, trouble: str = "", always: bool = False) -> dict[str, str]:
    """Notes its process; the first time, or always, "k3" has a trouble."""
    with (notes / f"{key}.tries").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if key == "k3" and (always or tries(notes)[key] == 1):
        if trouble == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif trouble == "odd":
            raise OddError(7, "no luck")
        elif trouble == "key":
            raise KeyError("name")
        elif trouble == "mistake":
            raise UserError(f"the disk is full: give another {option('work_dir')}")
    return {"key": key, "pid": str(os.getpid())}


def tries(notes: Path) -> Counter[str]:
    return Counter({path.stem: len(path.read_text().split()) for path in notes.glob("*.tries")})


def processes(notes: Path) -> set[str]:
    return {pid for path in notes.glob("*.tries") for pid in path.read_text().split()}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("trouble", "why"), [("odd", "no luck at 7"), ("key", "KeyError: 'name'")])
def test_an_exception(tmp_path, workers, trouble, why):
    """Once it costs a second try, always it costs the key."""
    for always in (False, True):
        notes = tmp_path / str(always)
        notes.mkdir()
        kept, shown = {}, []
        outcome = run_tasks(
            KEYS,
            partial(work, notes=notes, trouble=trouble, always=always),
            workers=workers,
            keep=kept.__setitem__,
            progress=lambda *both, shown=shown: shown.append(tuple(map(len, both))),
        )
        assert outcome.failed == ({"k3": why} if always else {})
        assert list(outcome.done) == [key for key in KEYS if key not in outcome.failed]
        assert all(value["key"] == key for key, value in outcome.done.items())
        assert kept == outcome.done
        assert shown == [(number, 8) for number in range(9)]
        assert tries(notes) == {key: 2 if key == "k3" else 1 for key in KEYS}
        assert (processes(notes) == {str(os.getpid())}) == (workers == 1)


@pytest.mark.parametrize("always", [False, True])
def test_a_worker_that_is_killed(tmp_path, always):
    """Nothing finished is lost or done again; what was in flight runs again, alone."""
    outcome = run_tasks(KEYS, partial(work, notes=tmp_path, trouble="kill", always=always), workers=2)
    assert outcome.failed == ({"k3": "its process died, often of too little memory"} if always else {})
    assert list(outcome.done) == [key for key in KEYS if key not in outcome.failed]
    counted = tries(tmp_path)
    assert counted["k3"] == 2
    assert sum(counted.values()) <= 10  # one more key at most was in flight


def test_an_idle_worker_that_is_killed(tmp_path):
    """Nothing was at work in it, and all goes on."""
    killed = []

    def keep(_: str, value: dict[str, str]) -> None:
        if not killed:
            killed.append(value["pid"])
            os.kill(int(value["pid"]), signal.SIGKILL)
            time.sleep(0.3)

    outcome = run_tasks(KEYS, partial(work, notes=tmp_path), workers=2, keep=keep)
    assert (list(outcome.done), outcome.failed) == (KEYS, {})
    assert sum(tries(tmp_path).values()) <= 9  # the other worker was amid its task, or had ended it
    assert len(processes(tmp_path)) >= 2


def test_retries(tmp_path):
    task = partial(work, notes=tmp_path, trouble="odd", always=True)
    assert run_tasks(["k3"], task, retries=0).failed == run_tasks(["k3"], task, retries=3).failed
    assert tries(tmp_path) == {"k3": 5}


def test_what_is_done_is_not_done_again(tmp_path):
    shown = []
    outcome = run_tasks(
        [*KEYS, "k0"],
        partial(work, notes=tmp_path),
        done={"k1": {"key": "from before"}, "of another": {}},
        progress=lambda *both: shown.append(tuple(map(len, both))),
    )
    assert list(outcome.done) == KEYS
    assert outcome.done["k1"] == {"key": "from before"}
    assert set(tries(tmp_path)) == set(KEYS) - {"k1"}
    assert shown == [(number, 8) for number in range(1, 9)]
    assert run_tasks([], work, workers=2) == run_tasks([], work)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_ends_the_run(tmp_path, workers):
    """With the options of the command, of which workers know nothing by themselves."""
    kept = {}
    task = partial(work, notes=tmp_path, trouble="mistake")
    with called_as("segearth predict"), pytest.raises(UserError, match="give another --out"):
        run_tasks([*KEYS, *(f"more{i}" for i in range(20))], task, workers=workers, keep=kept.__setitem__)
    assert len({"k0", "k1", "k2"} & set(kept)) >= 4 - workers  # the other worker was ended amid its task
    assert tries(tmp_path)["k3"] == 1
    assert "more19" not in kept
    with pytest.raises(UserError, match="workers is 0: expected at least 1"):
        run_tasks(KEYS, task, workers=0)


def begin(number: int, notes: Path) -> None:
    (notes / f"{number}-{os.getpid()}.worker").touch()


def meet(_: str, notes: Path) -> dict[str, int]:
    """Ends when another worker is there, too."""
    while len(list(notes.glob("*.worker"))) < 2:
        time.sleep(0.01)
    return {"pid": os.getpid()}


def test_workers_are_numbered(tmp_path):
    outcome = run_tasks(
        ["a", "b"], partial(meet, notes=tmp_path), workers=2, initializer=partial(begin, notes=tmp_path)
    )
    found = dict(path.stem.split("-") for path in tmp_path.glob("*.worker"))
    assert set(found) == {"0", "1"}
    assert {str(value["pid"]) for value in outcome.done.values()} == set(found.values())


def whisper(_: int) -> None:
    warnings.warn("a library speaks", stacklevel=1)
    notice("the weights are old")


def test_workers_of_a_command_say_a_notice_once(tmp_path, capfd):
    task = partial(meet, notes=tmp_path)
    with called_as("segearth predict"):
        run_tasks(["a", "b"], task, workers=2, initializer=partial(both, (partial(begin, notes=tmp_path), whisper)))
    assert capfd.readouterr().err == "warning: the weights are old\n"


class Heavy:
    """A task that notes how often it is sent to another process."""

    sent = 0

    def __getstate__(self) -> dict[str, int]:
        Heavy.sent += 1
        return {"marker": 7}

    def __call__(self, key: str) -> str:
        return key * vars(self)["marker"]


def test_a_task_is_sent_once_to_a_worker():
    keys, task = [f"{number}" for number in range(20)], Heavy()
    assert run_tasks(keys, task, workers=2).done == {key: key * 7 for key in keys}
    assert 1 <= Heavy.sent <= 2


def both(parts: tuple[Callable[[int], None], ...], number: int) -> None:
    for part in parts:
        part(number)


def no_model(number: int) -> None:
    raise UserError(f"no weights for {number}: give {option('model')}")


def defect(number: int) -> None:
    raise ZeroDivisionError(number)


def test_workers_that_cannot_begin(tmp_path):
    with pytest.raises(UserError, match="no weights for 0"):
        run_tasks(["a"], partial(work, notes=tmp_path), workers=2, initializer=no_model)
    with pytest.raises(RuntimeError, match=r"(?s)could not begin.*in defect.*ZeroDivisionError"):
        run_tasks(["a"], partial(work, notes=tmp_path), workers=2, initializer=defect)
    assert tries(tmp_path) == {}


class Counted(ThreadPoolExecutor):
    """Knows how many it was given at a time, and begins when that is four."""

    most = now = 0

    def __init__(self) -> None:
        super().__init__(3)
        self.full = threading.Event()

    def submit(self, fn, /, *args, **kwargs):
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now == 4:
            self.full.set()
        future = super().submit(lambda: (self.full.wait(20), fn(*args, **kwargs))[1])
        future.add_done_callback(lambda _: setattr(self, "now", self.now - 1))
        return future


def test_any_executor(tmp_path):
    with Counted() as executor:
        outcome = run_tasks(KEYS, partial(work, notes=tmp_path, trouble="odd"), executor=executor, workers=2)
        assert list(outcome.done) == KEYS
        assert executor.most == 4
        assert executor.submit(int).result() == 0  # it is its owner's to shut down


def test_an_executor_that_breaks(tmp_path):
    kept = {}
    with ProcessPoolExecutor(1) as executor, pytest.raises(UserError, match="ProcessPoolExecutor broke .* workers=2"):
        run_tasks(KEYS, partial(work, notes=tmp_path, trouble="kill"), executor=executor, keep=kept.__setitem__)
    assert list(kept) == ["k0", "k1", "k2"]


class AtOnce(Executor):
    """Ends all tasks at the same moment."""

    def __init__(self, count):
        self.count, self.held = count, []

    def submit(self, fn, /, *args, **_):
        self.held.append((future := Future(), fn, args))
        if len(self.held) == self.count:
            for held, task, given in reversed(self.held):
                held.set_result(task(*given))
        return future


def test_what_ends_at_once_is_kept_in_the_order_of_the_keys(tmp_path):
    keys, kept = [f"k{number}" for number in range(20)], {}
    task = partial(work, notes=tmp_path)
    run_tasks(keys, task, executor=AtOnce(len(keys)), workers=len(keys), keep=kept.__setitem__)
    assert list(kept) == keys


class Cancelling(Executor):
    """Takes nothing."""

    def submit(self, fn, /, *args, **_):
        free = threading.Event()
        with ThreadPoolExecutor(1) as other:
            other.submit(free.wait)
            future = other.submit(fn, *args)
            future.cancel()
            free.set()
            return future


def test_an_executor_that_cancels():
    assert run_tasks(["a"], str, executor=Cancelling()).failed == {"a": "the executor cancelled it"}


def test_jobs_know_neither_arrays_nor_pictures():
    out = subprocess.run(
        [sys.executable, "-c", "import segearth.jobs.folder, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "numpy", "PIL", "rasterio", "segearth.scenes", "segearth.models"} & set(out.stdout.split())


def test_threads_of_workers():
    assert threads_each(1) == cores() >= 1
    assert threads_each(2) == max(1, cores() // 2)
    assert threads_each(10**6) == 1


SCRIPT = """
import os, sys, time
from pathlib import Path
from segearth.exits import run
from segearth.jobs.executor import run_tasks

def task(key):
    Path(key + ".pid").write_text(str(os.getpid()))
    if key != "0":
        time.sleep(600)

GUARD:
    sys.exit(run(lambda: run_tasks(map(str, range(9)), task, workers=2) and None, interrupted="go on later"))
"""


def gone(pid: int) -> bool:
    """Whether a process has ended; one whose parent is gone may stay as a zombie where nobody reaps it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "interrupted: go on later"),
        (signal.SIGTERM, 143, "ended by SIGTERM: go on later"),
        (signal.SIGKILL, -9, None),
    ],
)
def test_the_end_of_the_parent_is_the_end_of_the_workers(tmp_path, number, code, said):
    """In the middle of tasks that would take ten minutes; Ctrl-C reaches the workers as well."""
    (tmp_path / "script.py").write_text(SCRIPT.replace("GUARD", 'if __name__ == "__main__"'))
    parent = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    notes = [tmp_path / f"{key}.pid" for key in range(3)]
    while not all(note.exists() and note.read_text() for note in notes):
        assert time.monotonic() < deadline
        assert parent.poll() is None
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(parent.pid, number)
    else:
        parent.send_signal(number)
    _, err = parent.communicate(timeout=60)
    assert parent.returncode == code
    if said is not None:
        assert err == said + "\n"
    workers, deadline = {int(note.read_text()) for note in notes}, time.monotonic() + 120
    while not all(map(gone, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not (tmp_path / "3.pid").exists()


def test_a_script_that_workers_cannot_import(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.replace("GUARD", "if True"))
    out = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert out.returncode == 2
    assert 'put what a script does below if __name__ == "__main__":, or use' in out.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("*.pid"))
