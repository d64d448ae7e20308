"""From a download to the folder that a config reads: whole or not at all, and resumed after a kill.

All files are written to a hidden folder beside the result and moved in place at the end. That folder is the one of a
job (`segearth.jobs`), whose keys are the pairs. A mistake or a full disk removes it; after a kill it stays, and the
next run goes on from it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from segearth.datasets.archives import IN_MEMORY, archive_kind, unpack
from segearth.datasets.convert import Conversion
from segearth.datasets.description import Description
from segearth.datasets.manifest import MANIFEST, make_manifest, read_manifest, shortfall
from segearth.datasets.padding import black_warning
from segearth.datasets.pairing import Pair, check_sizes, find_pairs
from segearth.errors import UserError, option
from segearth.jobs.folder import Job, open_job
from segearth.json_files import write_json
from segearth.outputs import atomic, write_errors
from segearth.progress import switched_off


@dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    Attributes:
        folder: of the set, with the manifest.
        manifest: its content.
    """

    folder: Path
    manifest: dict[str, Any]


def prepare(
    spec: Description, sources: Sequence[Path], root: Path, *, strict: bool = False, jobs: int = 1, quiet: bool = False
) -> Prepared:
    """Converts a download.

    Args:
        spec: the set.
        sources: archives and folders of the download.
        root: the data folder.
        strict: whether fewer images than expected, and other warnings, are errors.
        jobs: processes; the result does not depend on them.
        quiet: no progress bars.

    Raises:
        UserError: nothing found, unreadable, unpaired, not the set's labels, or a disk that cannot be written.
    """
    earlier = _manifests(spec, root)
    found = find_pairs(spec, sources, _output_folders(spec, root) if earlier else ())
    if strict and found.warnings:
        raise UserError(f"{option('strict', True)}: {'; '.join(found.warnings)}. {spec.get}")
    _check_places(spec, root, earlier)
    staging = _staging(spec, root)
    with (
        _no_empty_folders(staging),
        open_job(staging, {"set": spec.name}, way_out="delete it, and run again") as job,
        write_errors(staging),
    ):
        with _discarded_after_a_mistake(job):
            pairs = {pair.key: pair for pair in _unpacked(found.pairs, staging, quiet)}
            bar = tqdm(pairs.values(), desc="checking", unit="pair", disable=quiet or switched_off())
            check_sizes(bar, spec.images.bands)
            failed = _convert_all(Conversion(spec, pairs, staging), job, jobs, quiet)
            if not failed:
                manifest = job.finish(
                    list(pairs), lambda done, _: _conclude(spec, root, done.values(), found.warnings, strict)
                )
                if manifest is None:
                    raise UserError(
                        f"files that were written are gone from {staging}: expected nobody else to change it; run again"
                    )
                return Prepared(root / spec.folder, manifest)
        key, reason = next(iter(failed.items()))
        raise UserError(
            f"{len(failed)} of {len(pairs)} pairs were not converted, such as {key} ({reason}): expected all; run "
            f"again with {option('jobs', 1)}, which goes on from here"
        )


def _convert_all(conversion: Conversion, job: Job, jobs: int, quiet: bool) -> dict[str, str]:
    """Converts the pairs that are not done; returns the keys of those that failed, with the reasons."""
    keys, hidden = list(conversion.pairs), quiet or switched_off()
    for folder in conversion.folders:
        folder.mkdir(exist_ok=True)
    job.is_done = conversion.is_done
    before = len(job.read()[0])
    with tqdm(total=len(keys), initial=before, desc=conversion.spec.name, unit="pair", disable=hidden) as bar:
        return job.run(keys, conversion, workers=jobs, progress=lambda ended, _: bar.update(len(ended) - bar.n)).failed


def _conclude(
    spec: Description, root: Path, records: Collection[Mapping[str, Any]], warnings: Sequence[str], strict: bool
) -> dict[str, Any]:
    """Moves the result to its place and returns its manifest; may be repeated after a kill at any point.

    Raises:
        UserError: it is not what `strict` asks for, or cannot be moved.
    """
    staging = _staging(spec, root)
    black = sorted(stem for record in records for stem in record["black"])
    warning = black_warning(spec, black, sum(len(record["stems"]) for record in records))
    if strict and warning:
        raise UserError(f"{option('strict', True)}: {warning}")
    manifest = make_manifest(spec, records, [*warnings, *([warning] if warning else [])])
    if strict and not manifest["complete"]:
        raise UserError(f"{option('strict', True)}: {shortfall(spec, manifest)}. {spec.get}")
    for name, _, suffix in _places(spec, staging):
        wanted = {f"{stem}{suffix}" for stem in manifest["stems"]}
        for path in (staging / name).iterdir():  # a worker may outlive its killed parent for a moment, and still write
            if path.name not in wanted:
                path.unlink(missing_ok=True)
    with atomic(staging / MANIFEST) as part:
        write_json(part, manifest, 1)
    try:
        for name, place, _ in _places(spec, root):
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                old = staging / f"old-{name}"
                shutil.rmtree(old, ignore_errors=True)
                place.rename(old)
            (staging / name).rename(place)
        (staging / MANIFEST).replace(root / spec.folder / MANIFEST)
    except OSError as error:
        raise UserError(f"cannot move the result to {root / spec.folder} ({error.strerror}): free the folder") from None
    return manifest


@contextmanager
def _no_empty_folders(folder: Path) -> Iterator[None]:
    """Removes a folder and its parents after the block, if they are new and empty."""
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        yield
    finally:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def _discarded_after_a_mistake(job: Job) -> Iterator[None]:
    """Removes the job if an error ends the block; after Ctrl-C it stays, as after a kill."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:
        job.discard()
        raise


def _unpacked(pairs: Sequence[Pair], staging: Path, quiet: bool) -> list[Pair]:
    """Unpacks members that cannot be read in their archives; returns the pairs with temporary files in their place.

    These are all members of tar files, which cannot be read in any order, and large ones of zip files, which would be
    held in memory whole.
    """
    both = [member for pair in pairs for member in (pair.image, pair.label) if member.name]
    tars = {source for source in {member.source for member in both} if archive_kind(source) == ".tar"}
    members = [member for member in both if member.source in tars or member.size > IN_MEMORY]
    folder = staging / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    if not members:
        return list(pairs)
    with write_errors(folder):
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
    copies = {member: replace(member, source=path, name="", shown=str(member)) for member, path in files.items()}
    return [replace(p, image=copies.get(p.image, p.image), label=copies.get(p.label, p.label)) for p in pairs]


def _staging(spec: Description, root: Path) -> Path:
    """The hidden folder, that of the job."""
    return root / spec.folder / f".{spec.name}.part"


def _places(spec: Description, root: Path) -> tuple[tuple[str, Path, str], ...]:
    """Of images and labels: the name in the hidden folder, the final folder, and the suffix of the files."""
    return (
        ("images", root / spec.out_images, spec.image_suffix),
        ("labels", root / spec.out_labels, spec.label_suffix),
    )


def _manifests(spec: Description, root: Path) -> list[dict[str, Any]]:
    """The manifests of earlier runs, also of one that was killed while it moved its files to their places."""
    folders = root / spec.folder, _staging(spec, root)
    return [manifest for folder in folders if (manifest := read_manifest(folder))]


def _output_folders(spec: Description, root: Path) -> list[Path]:
    """The absolute folders of images and labels, whose files are no part of a download that contains them."""
    return [place for _, place, _ in _places(spec, Path(os.path.normpath(root.absolute())))]


def _check_places(spec: Description, root: Path, earlier: Sequence[dict[str, Any]]) -> None:
    """Refuses to replace files that no manifest lists, which are not ours."""
    stems = [stem for manifest in earlier for stem in manifest["stems"]]
    for _, place, suffix in _places(spec, root):
        if place.exists() and not place.is_dir():
            raise UserError(f"{place} is a file: expected a folder or nothing; move it away")
        ours = {f"{stem}{suffix}" for stem in stems}
        if place.is_dir() and (other := sorted(path.name for path in place.iterdir() if path.name not in ours)):
            raise UserError(
                f"{place} holds files that were not written by this tool, such as {other[0]}: expected an empty "
                f"folder, or one of an earlier run; move them away (a download can lie anywhere else), or give "
                f"another folder with {option('root', typed='out')}"
            )
