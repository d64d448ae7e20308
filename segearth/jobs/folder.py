"""The folder of a job: its settings, its ledger, and the rules for processes that share it."""

from __future__ import annotations

import glob
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from segearth.errors import UserError, first_line, option
from segearth.jobs.attempt import Task
from segearth.jobs.executor import Outcome, run_tasks
from segearth.jobs.ledger import Ledger
from segearth.jobs.locks import locked
from segearth.jobs.settings import first_difference, settings_hash
from segearth.jobs.shards import WHOLE, Shard
from segearth.json_files import json_line, read_json, schema_error, write_json
from segearth.outputs import writable_folder, write_all

_JOB, _LEDGER = "job.json", "ledger"
_BEGIN_S = 3.0  # beginning a job, and looking whether it can be concluded, take less; concluding it may take minutes

T = TypeVar("T")


class Job:
    """A job that this process works on, made by `open_job`.

    Attributes:
        path: its folder, in which tasks may keep files of their own.
        layout: how its files are laid out, of the run that began it.
        existed: whether an earlier run, or another process, began it.
        shard: the share of this process.
        is_done: whether a key that was finished with a value still is, such as whether its file is there; to be set
            before anything is run. Without it, all are.
    """

    def __init__(
        self, path: Path, layout: dict[str, Any], existed: bool, shard: Shard, ledger: Ledger, keep: bool
    ) -> None:
        self.path, self.layout, self.existed, self.shard = path, layout, existed, shard
        self.is_done: Callable[[str, Any], bool] = lambda *_: True
        self._ledger, self._keep = ledger, keep

    def read(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The keys that all processes have finished so far, with their values; and those that failed, with reasons.

        A key that one has finished and another has given up counts as what was written last.
        """
        done, failed = {}, {}
        for key, entry in self._ledger.read().items():
            if schema_error(entry, {"failed": str}) is None:
                failed[key] = entry["failed"]
            elif schema_error(entry, {"done": object}) is None and self.is_done(key, entry["done"]):
                done[key] = entry["done"]
        return done, failed

    @property
    def begun(self) -> int:
        """When the ledger was begun, in nanoseconds since 1970; 0 if no key is finished."""
        return self._ledger.begun()

    def add(self, done: Mapping[str, Any]) -> None:
        """Records finished keys with their values; they survive a kill after this returns.

        For work that runs its own loop; tasks are noted by `run`.

        Raises:
            UserError: the disk is full.
        """
        if is_job(self.path):  # else another process has concluded it, and nobody needs them
            self._ledger.add([(key, {"done": value}) for key, value in done.items()])

    def run(self, keys: Sequence[str], task: Task, **options: Any) -> Outcome:
        """Runs a task for this process's share of the keys, without those that are done.

        Each key that is finished, or given up, is noted; those that were given up in an earlier run are tried again.

        Args:
            keys: of the whole job.
            task: see `run_tasks`.
            options: `executor`, `workers`, `initializer`, `retries` and `progress` of `run_tasks`.

        Raises:
            UserError: see `run_tasks`; or the disk is full.
        """
        outcome = run_tasks(
            self.shard.of(keys),
            task,
            done=self.read()[0],
            keep=lambda key, value: self.add({key: value}),
            **options,
        )
        if outcome.failed:
            self._ledger.add([(key, {"failed": why}) for key, why in outcome.failed.items()])
        return outcome

    def finish(self, keys: Sequence[str], conclude: Callable[[dict[str, Any], dict[str, str]], T]) -> T | None:
        """Concludes the job if all keys are finished, by whichever process; one process does it.

        Afterwards the folder is removed, unless it is to be kept or a key was given up: then the same command tries
        that again.

        Args:
            keys: of the whole job.
            conclude: gets what is done and what was given up, both in the order of the keys; writes the results.

        Returns:
            What `conclude` returned; None if others still have keys to do, or have concluded the job.

        Raises:
            UserError: of `conclude`; the folder stays.
        """
        self._ledger.close()  # on a disk of a network, others see only what is closed
        with _alone(self.path):
            if not is_job(self.path):
                return None
            done, failed = ({key: part[key] for key in keys if key in part} for part in self.read())
            if len(done) + len(failed) < len(set(keys)):
                return None
            result = conclude(done, failed)
            if not failed and not self._keep:
                self._remove_unless_used()
            return result

    def discard(self) -> None:
        """Removes the job, because its results exist."""
        self._ledger.close()
        with _alone(self.path):
            self._remove_unless_used()

    def _remove_unless_used(self) -> None:
        """Removes the folder, unless a run with another number of shares is at work in it."""
        if not any(count != self.shard.count and _is_locked(share) for share, count in _shares(self.path)):
            with suppress(OSError):  # the results are safe elsewhere
                _remove(self.path)


def is_job(path: Path) -> bool:
    """Whether a folder is that of a job."""
    return (path / _JOB).is_file()


@contextmanager
def open_job(
    path: Path,
    settings: Mapping[str, Any],
    *,
    layout: Mapping[str, Any] | None = None,
    shard: Shard = WHOLE,
    overwrite: bool = False,
    sole: bool = False,
    keep: bool = False,
    way_out: str | None = None,
) -> Iterator[Job]:
    """Begins a job, or goes on with it, while the block runs.

    No two processes have the same share of it. The caller checks for existing results before opening and again after
    it: another process may have concluded the job in the meantime.

    Args:
        path: of its folder, beside the results.
        settings: all that the results depend on, and nothing else; JSON can hold them.
        layout: what tells how the job's own files are laid out, without being of any consequence for the results: a
            job that goes on keeps that of its first run.
        shard: the share of this process.
        overwrite: whether to begin anew, whatever is there.
        sole: whether no other process may be at work on any share of it; to begin anew, none may.
        keep: whether the folder stays when the job is concluded.
        way_out: what to do where other settings are in the way; the end of a sentence.

    Raises:
        UserError: the path has a job with other settings, or something that is not a job; another process works on
            this share, or with `sole` on any share; or the folder cannot be written.
    """
    if overwrite and shard.count > 1:
        raise UserError(
            f"{option('overwrite', True)} with share {shard}: each of the processes would delete what the others have "
            f"done; delete {path} yourself, then start them without it"
        )
    writable_folder(path.parent)
    busy = f"another process works on {path}: wait until it has ended, or end it, and start again"
    share = path.with_name(f"{path.name}.{shard.index}-of-{shard.count}")
    with locked(share, 0, busy):
        with _alone(path):
            if overwrite or sole:
                _refuse_shares(path, share, busy)
            way_out = way_out or f"use another output folder, or {option('overwrite', True)} to begin anew"
            if overwrite:
                _make_room(path)
            known, existed = _begin(path, settings, layout or {}, way_out)
        with Ledger(path / _LEDGER, "free some space, and start again") as ledger:
            yield Job(path, known, existed, shard, ledger, keep)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the lock under which a job is begun or concluded."""
    waiting = f"another process concludes the job {path}: waiting for it"
    with locked(path, math.inf, waiting=waiting, silent=_BEGIN_S):
        yield


def _refuse_shares(path: Path, own: Path, busy: str) -> None:
    """Refuses a job on which other processes work; call it while the job is locked.

    Args:
        path: of the job.
        own: what this process has locked.
        busy: what is said.

    Raises:
        UserError: there are some.
    """
    for share, _ in _shares(path):
        if share.name != own.name.lstrip("."):
            with locked(share, 0, busy):
                pass


def _shares(path: Path) -> Iterator[tuple[Path, int]]:
    """What the processes that work on shares of a job lock, and how many shares each of them takes as all."""
    for lock in path.parent.glob(f".{glob.escape(path.name.lstrip('.'))}.*-of-*.lock"):
        name = lock.name.removeprefix(".").removesuffix(".lock")
        yield path.with_name(name), int(name.rpartition("-")[2])


def _is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a path."""
    try:
        with locked(path, 0):
            return False
    except UserError:
        return True


def _begin(
    path: Path, settings: Mapping[str, Any], layout: Mapping[str, Any], way_out: str
) -> tuple[dict[str, Any], bool]:
    """Writes or checks job.json; returns the job's layout, and whether it existed."""
    file = path / _JOB
    wanted = {"hash": settings_hash(settings), "settings": dict(settings), "layout": dict(layout)}
    if not file.exists():
        _refuse_foreign(path, way_out)
        path.mkdir(exist_ok=True)
        shutil.rmtree(path / _LEDGER, ignore_errors=True)  # of no job any more
        write_all({file: partial(write_json, value=wanted)})
        return json.loads(json_line(layout)), False
    try:
        before = read_json(file)
        problem = schema_error(before, {"hash": str, "settings": dict, "layout": dict})
        problem = problem or schema_error(before["layout"], {key: type(value) for key, value in layout.items()})
    except (OSError, ValueError) as error:
        problem = f"cannot be read ({first_line(error)})"
    if problem is not None:
        raise UserError(f"{file} {problem}: expected what an earlier run wrote there; {way_out}")
    if before["hash"] != wanted["hash"]:
        field, was, now = first_difference(before["settings"], settings) or ("hash", before["hash"], wanted["hash"])
        raise UserError(f"{path} was begun with {field} {was}, not {now}: expected the same settings; {way_out}")
    return before["layout"], True


def _refuse_foreign(path: Path, way_out: str) -> None:
    """Refuses a path that exists and is not a job; hidden files, which killed runs leave, are no reason.

    Raises:
        UserError: the path exists and is not a job.
    """
    if is_job(path) or not os.path.lexists(path):
        return
    if path.is_dir() and all(entry.name.startswith(".") or entry.name == _LEDGER for entry in path.iterdir()):
        return
    raise UserError(
        f"{path} is no folder of a job, for it has no {_JOB}: expected one, or nothing there; move it away, or "
        f"{way_out}"
    )


def _make_room(path: Path) -> None:
    """Removes a job.

    Raises:
        UserError: the folder cannot be removed, or is not a job.
    """
    _refuse_foreign(path, "use another output folder")
    try:
        if path.exists():
            _remove(path)
    except OSError as error:
        raise UserError(
            f"cannot remove {path} ({error.strerror or error}), which is to begin anew: make it writable, or delete it "
            "yourself"
        ) from None


def _remove(path: Path) -> None:
    """Removes the folder of a job, the ledger first: after a kill in between, nothing counts as done.

    Raises:
        OSError: something in it cannot be removed.
    """
    if (path / _LEDGER).exists():
        shutil.rmtree(path / _LEDGER)
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _JOB:
            entry.unlink()
    (path / _JOB).unlink(missing_ok=True)
    path.rmdir()
