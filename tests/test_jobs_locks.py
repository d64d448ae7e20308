"""Locks between processes."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import signal
import warnings

import pytest

from segearth.errors import UserError, UserNotice
from segearth.jobs import locks
from segearth.jobs.locks import locked

FORK = multiprocessing.get_context("fork")


def test_numbers_that_four_processes_count_up(tmp_path):
    """Each removes the file of the lock, for which others wait meanwhile."""
    path = tmp_path / "number"
    path.write_text("0")

    def count() -> None:
        for _ in range(50):
            with locked(path):
                path.write_text(str(int(path.read_text()) + 1))

    processes = [FORK.Process(target=count) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert path.read_text() == "200"
    assert os.listdir(tmp_path) == ["number"]


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path, held = tmp_path / "table", FORK.Event()

    def hold() -> None:
        with locked(path):
            held.set()
            signal.pause()

    process = FORK.Process(target=hold)
    process.start()
    assert held.wait(60)
    with pytest.raises(UserError, match="in use elsewhere"), locked(path, 0, busy="in use elsewhere"):
        pytest.fail("two hold it")
    with pytest.raises(UserError, match="wait for that process"), locked(path, 0.05):
        pytest.fail("two hold it")
    process.kill()
    process.join()
    assert os.listdir(tmp_path) == [".table.lock"]
    with locked(path, 60):
        path.touch()
    assert os.listdir(tmp_path) == ["table"]


def test_an_error_in_the_block_frees_it(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "table"):
        raise ZeroDivisionError
    with locked(tmp_path / "table", 0):
        pass
    assert os.listdir(tmp_path) == []


def test_a_disk_without_locks(tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "_acquired", fails)
    with pytest.warns(UserNotice, match="only one process at a time"), locked(tmp_path / "table"):
        (tmp_path / "table").touch()


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot lock .*give another"), locked(tmp_path / "file" / "table"):
        pytest.fail("there is no lock")


def test_who_waits_says_so_and_knows_it(tmp_path):
    path, held, free = tmp_path / "table", FORK.Event(), FORK.Event()

    def hold() -> None:
        with locked(path):
            held.set()
            free.wait(60)

    process = FORK.Process(target=hold)
    process.start()
    assert held.wait(60)

    def told(message, *_, **__):
        assert str(message) == "the table is made by another process: waiting for it"
        free.set()

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserNotice)
        warnings.showwarning = told
        with locked(path, math.inf, waiting="the table is made by another process: waiting for it") as waited:
            assert waited
    process.join()
    with locked(path, waiting="nobody holds it") as waited:
        assert not waited


def test_a_short_wait_is_not_told(tmp_path, monkeypatch):
    path, held, free, real = tmp_path / "table", FORK.Event(), FORK.Event(), locks._waited_for

    def hold() -> None:
        with locked(path):
            held.set()
            free.wait(60)

    def waited_for(*arguments):
        free.set()
        return real(*arguments)

    monkeypatch.setattr(locks, "_waited_for", waited_for)

    process = FORK.Process(target=hold)
    process.start()
    assert held.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with locked(path, math.inf, waiting="never said", silent=60) as waited:
            assert waited
    process.join()
