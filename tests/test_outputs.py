import multiprocessing
import os
import signal
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from segearth import outputs
from segearth.errors import UserError, UserNotice
from segearth.exits import run
from segearth.outputs import atomic, writable_folder, write_all


def test_atomic_writes_whole_files(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("old")
    with atomic(path) as part:
        assert part.suffix == ".png"
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_leaves_nothing_behind(tmp_path, error):
    with pytest.raises(error), atomic(tmp_path / "a.png") as part:
        part.write_text("half")
        raise error
    assert os.listdir(tmp_path) == []


def test_atomic_tells_of_a_full_disk(tmp_path):
    with pytest.raises(UserError, match="No space left"), atomic(tmp_path / "a.png"):
        raise OSError(28, "No space left on device")


def test_atomic_writes_the_longest_name(tmp_path):
    path = tmp_path / ("a" * 251 + ".png")
    with atomic(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"


NAMES = ("labels.png", "overlay.png", "summary.json")


def texts(folder):
    return {name: (folder / name).read_text() for name in sorted(os.listdir(folder)) if (folder / name).is_file()}


@pytest.mark.parametrize("folder", NAMES)
def test_all_or_none_where_a_folder_has_a_name(tmp_path, folder):
    (tmp_path / folder).mkdir()
    with pytest.raises(UserError, match=f"cannot write .*{folder}, which is a folder"):
        write_all({tmp_path / name: lambda part: part.write_text("new") for name in NAMES})
    assert os.listdir(tmp_path) == [folder]
    with pytest.raises(UserError, match="which is a folder"), atomic(tmp_path / folder):
        pytest.fail("nothing is written")


@pytest.mark.parametrize("before", [{}, dict.fromkeys(NAMES, "old"), {"summary.json": "old"}])
@pytest.mark.parametrize("failing", range(6))
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_all_or_none_where_a_file_cannot_be_moved(tmp_path, monkeypatch, before, failing, error):
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    real, moves = Path.replace, []

    def replace(self, target):
        moves.append(target)
        if len(moves) == failing + 1:
            raise error
        return real(self, target)

    writers = {tmp_path / name: lambda part: part.write_text("new") for name in NAMES}
    monkeypatch.setattr(Path, "replace", replace)
    if failing < len(before) + len(NAMES):
        with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
            write_all(writers)
        assert texts(tmp_path) == before
    else:
        write_all(writers)
        assert texts(tmp_path) == dict.fromkeys(NAMES, "new")


def test_the_last_file_is_never_beside_others_of_another_run(tmp_path, monkeypatch):
    """Whenever a kill comes."""
    real, seen = Path.replace, []

    def replace(self, target):
        real(self, target)
        seen.append({name: text for name, text in texts(tmp_path).items() if not name.startswith(".")})

    monkeypatch.setattr(Path, "replace", replace)
    for run_ in ("one", "two"):
        write_all({tmp_path / name: lambda part, run_=run_: part.write_text(run_) for name in NAMES})
    assert len(seen) == 9
    for there in seen:
        if "summary.json" in there:
            assert there in (dict.fromkeys(NAMES, "one"), dict.fromkeys(NAMES, "two"))


@pytest.mark.parametrize("error", [None, OSError(5, "Input/output error")])
def test_stale_files_go_first_and_come_back(tmp_path, monkeypatch, error):
    for name in ("old.tif", "summary.json"):
        (tmp_path / name).write_text("old")
    real, seen = Path.replace, []

    def replace(self, target):
        if error is not None and target.name == "b.tif":
            raise error
        real(self, target)
        seen.append(sorted(name for name in os.listdir(tmp_path) if not name.startswith(".")))

    monkeypatch.setattr(Path, "replace", replace)
    writers = {tmp_path / name: lambda part: part.write_text("new") for name in ("a.tif", "b.tif")}
    with suppress(UserError):
        write_all(writers, stale=[tmp_path / "old.tif", tmp_path / "summary.json", tmp_path / "never.json"])
    assert seen[:3] == [["old.tif"], [], ["a.tif"]]
    old, new = {"old.tif": "old", "summary.json": "old"}, {"a.tif": "new", "b.tif": "new"}
    assert texts(tmp_path) == (new if error is None else old)


def test_files_are_on_the_disk_before_they_have_their_names(tmp_path, monkeypatch):
    """And the folder that names them before anything else is done."""
    real, events = Path.replace, []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(Path, "replace", lambda self, target: events.append(target.name) or real(self, target))
    write_all({tmp_path / name: lambda part: part.write_text("new") for name in NAMES})
    assert events == [*((tmp_path / name).stat().st_ino for name in NAMES), *NAMES, tmp_path.stat().st_ino]


def killed(folder, number):
    """A process that is killed while it writes; gives its id."""

    def work():
        with atomic(folder / "a.png") as part:
            part.write_text("half")
            os.kill(os.getpid(), number)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -number
    return process.pid


def test_leftovers_of_dead_processes_are_removed(tmp_path):
    pid = killed(tmp_path, signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    assert f".{pid}." in left.name
    old = time.time() - 2 * 24 * 3600
    mine = f".{outputs._HOST}.{os.getpid()}.00000000.part.png"  # of an earlier process of this number
    others = {
        f".elsewhere.{pid}.00000000.part.png": True,
        ".elsewhere.1.00000000.part": False,
        f".{outputs._HOST}.{os.getppid()}.00000000.part.png": True,
        mine: False,
        ".a.part.png": True,
        "a.part": True,
    }
    for name, stays in others.items():
        (tmp_path / name).write_text("")
        if not stays and name != mine:
            os.utime(tmp_path / name, (old, old))
    with atomic(tmp_path / "b.png") as part:
        part.write_text("new")
        assert writable_folder(tmp_path) == tmp_path  # what is being written stays
    assert sorted(os.listdir(tmp_path)) == sorted(["b.png", *(name for name, stays in others.items() if stays)])


def test_writable_folder(tmp_path):
    assert writable_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to the output folder"):
        writable_folder(tmp_path / "file")
    with pytest.raises(UserError, match="cannot write to the output folder"):
        writable_folder("/proc/segearth")


def stop(error):
    raise error


def test_exit_codes(capsys):
    assert run(lambda: None) == 0
    assert run(lambda: stop(UserError("no such thing"))) == 2
    assert capsys.readouterr().err == "error: no such thing\n"
    assert run(lambda: stop(KeyboardInterrupt())) == 130
    with pytest.raises(RuntimeError):
        run(lambda: stop(RuntimeError()))


def test_only_notices_are_shown(capsys):
    def program():
        warnings.warn("a library talks", UserWarning, stacklevel=1)
        warnings.warn("a name is cut", UserNotice, stacklevel=1)

    assert run(program) == 0
    assert capsys.readouterr().err == "warning: a name is cut\n"


def test_missing_package_and_memory(capsys):
    assert run(lambda: stop(ModuleNotFoundError("No module named 'numpy'", name="numpy"))) == 2
    assert "numpy is not installed" in capsys.readouterr().err
    for error in (
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory"),
    ):
        assert run(lambda error=error: stop(error)) == 2
        assert "not enough memory" in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError):
        run(lambda: stop(ModuleNotFoundError("a defect of ours", name="segearth.nothing")))


def test_output_folder_without_a_name():
    with pytest.raises(UserError, match="empty name"):
        writable_folder("")
