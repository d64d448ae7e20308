import os
import warnings

import pytest

from segearth.errors import UserError, UserNotice
from segearth.outputs import atomic, run, writable_folder


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
