"""From a download to the folder that a config reads: whole or not at all, and resumed after a kill.

Everything is written to a hidden folder beside the result, with a journal of the pairs that are done, and moved in
place at the end. A mistake or a full disk removes that folder; a kill leaves it, and the next run goes on from it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from segearth.datasets.archives import IN_MEMORY, kind, unpack
from segearth.datasets.convert import convert
from segearth.datasets.description import Description
from segearth.datasets.padding import black_warning
from segearth.datasets.pairing import Pair, check_sizes, find
from segearth.errors import UserError, option
from segearth.jobs.locks import locked
from segearth.json_files import json_line, misfit, parse_json, read_json, write_json
from segearth.outputs import atomic
from segearth.progress import switched_off

MANIFEST = "manifest.json"
_JOURNAL, _VERSION = "journal.jsonl", 2
_KINDS = {"stems": list, "images": int, "expected": list, "warnings": list, "complete": bool}  # of a manifest
_RECORD = {"key": str, "stems": list, "counts": dict, "unknown": int, "black": list}  # of `convert`


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Attributes:
        folder: of the set, with the manifest.
        manifest: its content.
    """

    folder: Path
    manifest: dict[str, Any]


def prepare(
    of: Description, sources: Sequence[Path], root: Path, *, strict: bool = False, jobs: int = 1, quiet: bool = False
) -> Prepared:
    """Converts a download.

    Args:
        of: the set.
        sources: archives and folders of the download.
        root: the data folder.
        strict: whether fewer images than expected, and other warnings, are errors.
        jobs: processes; the result does not depend on them.
        quiet: no progress bars.

    Raises:
        UserError: nothing found, unreadable, unpaired, not the set's labels, or a disk that cannot be written.
    """
    earlier = _manifests(of, root)
    found = find(of, sources, _own(of, root) if earlier else ())
    if strict and found.warnings:
        raise UserError(f"{option('strict', True)}: {'; '.join(found.warnings)}. {of.get}")
    folder = root / of.folder
    _check_place(of, root, earlier)
    with _staging(folder, of.name) as staging, _written(staging):
        pairs = _unpacked(found.pairs, staging, quiet)
        journal = _Journal(staging / _JOURNAL, _fingerprint(of, found.pairs))
        if not journal.complete:
            bar = tqdm(pairs, desc="checking", unit="pair", disable=quiet or switched_off())
            check_sizes(bar, of.images.bands)
            records = _convert_all(pairs, of, staging, journal, jobs, quiet)
            black = black_warning(
                of, sorted(s for r in records for s in r["black"]), sum(len(r["stems"]) for r in records)
            )
            if strict and black:
                raise UserError(f"{option('strict', True)}: {black}")
            manifest = _manifest(of, records, [*found.warnings, *([black] if black else [])])
            if strict and not manifest["complete"]:
                raise UserError(f"{option('strict', True)}: {shortfall(of, manifest)}. {of.get}")
            _tidy(of, staging, manifest)
            journal.finish(manifest)
        _place(of, root, staging, journal.manifest)
    return Prepared(folder, journal.manifest)


def shortfall(of: Description, manifest: dict[str, Any]) -> str:
    """How a result differs from the expected one, in a sentence without its period."""
    expected = " or ".join(map(str, of.expected))
    return f"{manifest['images']} images of {of.title}: expected {expected}"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in a set's folder; None where there is none.

    Raises:
        UserError: it is damaged.
    """
    path = folder / MANIFEST
    try:
        content = read_json(path)
        if (wrong := misfit(content, _KINDS)) is not None:
            raise ValueError(f"it {wrong}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): remove {folder}, and prepare the set again") from None
    return dict(content)


def _fingerprint(of: Description, pairs: Sequence[Pair]) -> str:
    """Tells whether a journal belongs to this run."""
    members = [(p.key, *((m.path, m.size, m.stamp) for m in (p.image, p.label))) for p in pairs]
    return hashlib.sha256(repr((_VERSION, of, members)).encode()).hexdigest()


class _Journal:
    """The pairs that are done, a line each; a line that was cut off by a kill does not count."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.complete = path, False
        self.records: dict[str, dict[str, Any]] = {}
        self.manifest: dict[str, Any] = {}
        lines = []
        with suppress(OSError, ValueError):
            for line in path.read_text(encoding="utf-8").splitlines():
                lines.append(parse_json(line))
        if not lines or lines[0] != {"run": fingerprint}:
            for name in ("images", "labels"):
                shutil.rmtree(path.parent / name, ignore_errors=True)
            lines = [{"run": fingerprint}]
        for line in lines[1:]:
            if misfit(line, {"manifest": dict}) is None:
                self.manifest, self.complete = line["manifest"], True
            elif misfit(line, _RECORD) is None:
                self.records[line["key"]] = line
        with atomic(path) as part:
            part.write_text("".join(json_line(line) for line in lines), encoding="utf-8")

    def add(self, record: dict[str, Any]) -> None:
        self.records[record["key"]] = record
        self._append(record)

    def finish(self, manifest: dict[str, Any]) -> None:
        self.manifest, self.complete = manifest, True
        self._append({"manifest": manifest})

    def _append(self, line: dict[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json_line(line))
        except OSError as error:
            raise UserError(f"cannot write {self.path} ({error.strerror}): free some space") from None


@contextmanager
def _staging(folder: Path, name: str) -> Iterator[Path]:
    """The hidden folder; it stays only when the program is interrupted or killed."""
    staging = folder / f".{name}.part"
    made = [parent for parent in (staging, *staging.parents) if not parent.exists()]
    try:
        staging.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}): give another folder with {option('root', typed='out')}"
        ) from None
    busy = f"another run prepares this set, in {staging}: expected one at a time; wait for its end, then run again"
    try:
        with locked(staging, 0, busy):
            staging.mkdir(exist_ok=True)  # a run that ended in between has removed it
            try:
                yield staging
            except KeyboardInterrupt:
                raise
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
            shutil.rmtree(staging, ignore_errors=True)
    finally:
        for parent in made:  # whatever is not empty stays
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def _written(staging: Path) -> Iterator[None]:
    """Says in a sentence that a folder cannot be written, wherever that shows."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {staging} ({error.strerror or error}): free some space or give another folder"
        ) from None


def _tidy(of: Description, staging: Path, manifest: dict[str, Any]) -> None:
    """Leaves just the files of the manifest: a worker may outlive its killed parent for a moment, and still write.

    Raises:
        UserError: one is not there.
    """
    for name, _, suffix in _places(of, staging):
        wanted = {f"{stem}{suffix}" for stem in manifest["stems"]}
        there = {path.name: path for path in (staging / name).iterdir()}
        for stray in there.keys() - wanted:
            there[stray].unlink()
        if missing := sorted(wanted - there.keys()):
            raise UserError(
                f"{len(missing)} files that were written are gone, such as {missing[0]}: expected nobody else to "
                f"change {staging}; run again"
            )


def _unpacked(pairs: Sequence[Pair], staging: Path, quiet: bool) -> list[Pair]:
    """The pairs with what cannot be read in its archive as temporary files.

    That is members of tar files, which cannot be read in any order, and large ones of zip files, which would be held
    whole.
    """
    both = [member for pair in pairs for member in (pair.image, pair.label) if member.name]
    tars = {source for source in {member.source for member in both} if kind(source) == ".tar"}
    members = [member for member in both if member.source in tars or member.size > IN_MEMORY]
    folder = staging / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    if not members:
        return list(pairs)
    try:
        folder.mkdir()
        needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"the files in {members[0].source} need {needed:,} bytes to be unpacked, and the disk of {folder} "
                f"has {free:,}: free some space or give another folder with {option('root', typed='out')}"
            )
        files = {member: folder / f"{i}{Path(member.path).suffix}" for i, member in enumerate(members)}
        with tqdm(total=len(members), desc="unpacking", unit="file", disable=quiet or switched_off()) as bar:
            unpack(files, bar.update)
    except OSError as error:
        raise UserError(f"cannot write {folder} ({error.strerror}): free some space or give another folder") from None
    copies = {member: replace(member, source=path, name="", shown=str(member)) for member, path in files.items()}
    return [replace(p, image=copies.get(p.image, p.image), label=copies.get(p.label, p.label)) for p in pairs]


def _convert_all(
    pairs: Sequence[Pair], of: Description, staging: Path, journal: _Journal, jobs: int, quiet: bool
) -> list[dict[str, Any]]:
    """Converts what the journal has not; the records in order of the pairs."""
    folders = [staging / "images", staging / "labels"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for leftover in folder.glob(".*"):  # of a process that was killed
            leftover.unlink()
    work = partial(convert, of=of, images=folders[0], labels=folders[1])
    todo = [pair for pair in pairs if pair.key not in journal.records]
    hidden, before = quiet or switched_off(), len(pairs) - len(todo)
    with tqdm(total=len(pairs), initial=before, desc=of.name, unit="pair", disable=hidden) as bar:
        for record in _parallel(work, todo, jobs):
            journal.add(record)
            bar.update()
    return [journal.records[pair.key] for pair in pairs]


def _parallel(work: Callable[[Pair], dict[str, Any]], pairs: Sequence[Pair], jobs: int) -> Iterator[dict[str, Any]]:
    """The records as they come."""
    if min(jobs, len(pairs)) <= 1:
        yield from map(work, pairs)
        return
    context = multiprocessing.get_context("spawn")  # forks of a process with threads may hang
    pool = ProcessPoolExecutor(min(jobs, len(pairs)), context, _begin_worker)
    try:
        for future in as_completed([pool.submit(work, pair) for pair in pairs]):
            yield future.result()
    except BrokenProcessPool:
        raise UserError(
            f"a process that converts died, often of too little memory: run again with {option('jobs', 1)}"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends with it: a worker must not go on writing after its parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), os._exit(1)), daemon=True).start()


def _manifest(of: Description, records: Sequence[dict[str, Any]], warnings: Sequence[str]) -> dict[str, Any]:
    """What the set is and holds; nothing in it depends on when or where it was made."""
    stems = sorted(stem for record in records for stem in record["stems"])
    counts: dict[str, int] = {}
    for record in records:
        for value, number in record["counts"].items():
            counts[value] = counts.get(value, 0) + number
    return {
        "name": of.name,
        "title": of.title,
        "split": of.split,
        "complete": len(stems) in of.expected,
        "images": len(stems),
        "expected": list(of.expected),
        "pairs": len(records),
        "unknown_pixels": sum(record["unknown"] for record in records),
        "warnings": list(warnings),
        "label_pixels": {value: counts[value] for value in sorted(counts, key=int)},
        "format": _VERSION,
        "stems": stems,
    }


def _places(of: Description, root: Path) -> tuple[tuple[str, Path, str], ...]:
    """Name in the hidden folder, place, and suffix of what is written."""
    return (("images", root / of.out_images, of.image_suffix), ("labels", root / of.out_labels, of.label_suffix))


def _manifests(of: Description, root: Path) -> list[dict[str, Any]]:
    """What earlier runs wrote; one that was killed may have moved files in place that its own manifest alone lists."""
    folders = root / of.folder, root / of.folder / f".{of.name}.part"
    return [manifest for folder in folders if (manifest := read_manifest(folder))]


def _own(of: Description, root: Path) -> list[Path]:
    """Where a set is written, absolute: no part of a download, also where that lies in the same folder."""
    return [place for _, place, _ in _places(of, Path(os.path.normpath(root.absolute())))]


def _check_place(of: Description, root: Path, earlier: Sequence[dict[str, Any]]) -> None:
    """Refuses to replace files that this tool did not write, as far as its manifests say."""
    stems = [stem for manifest in earlier for stem in manifest["stems"]]
    for _, place, suffix in _places(of, root):
        if place.exists() and not place.is_dir():
            raise UserError(f"{place} is a file: expected a folder or nothing; move it away")
        ours = {f"{stem}{suffix}" for stem in stems}
        if place.is_dir() and (other := sorted(path.name for path in place.iterdir() if path.name not in ours)):
            raise UserError(
                f"{place} holds files that were not written by this tool, such as {other[0]}: expected an empty "
                f"folder, or one of an earlier run; move them away (a download can lie anywhere else), or give "
                f"another folder with {option('root', typed='out')}"
            )


def _place(of: Description, root: Path, staging: Path, manifest: dict[str, Any]) -> None:
    """Moves the result in place; may be repeated after a kill at any point."""
    with atomic(staging / MANIFEST) as part:
        write_json(part, manifest, 1)
    try:
        for name, place, _ in _places(of, root):
            if (staging / name).is_dir():
                place.parent.mkdir(parents=True, exist_ok=True)
                if place.exists():
                    old = staging / f"old-{name}"
                    shutil.rmtree(old, ignore_errors=True)
                    place.rename(old)
                (staging / name).rename(place)
        (staging / MANIFEST).replace(root / of.folder / MANIFEST)
    except OSError as error:
        raise UserError(f"cannot move the result to {root / of.folder} ({error.strerror}): free the folder") from None
