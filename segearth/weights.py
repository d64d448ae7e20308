"""Finds and downloads weights: packaged, in a cache, or on a server.

    path = weights.fetch(resolve("clip-vit-b16").file)

Weights come from the package itself, from segearth's cache (`cache_dir`), from the Hugging Face hub's cache,
which open_clip fills as well, and at last from the network. Downloads are checked; a file that was put into
segearth's cache by hand is as good as a downloaded one. What there is, is in `segearth.clips`.
"""

import errno
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

from segearth import downloads
from segearth.clips import UPSAMPLER_FILES, Spec, known
from segearth.clips.spec import Source
from segearth.clips.upsamplers import KERNELS, SHORT, is_untrained, named_weights, untrained_names
from segearth.errors import UserError, option
from segearth.files import File, Packaged, bytes_text
from segearth.hashes import cached_sha256, store_sha256
from segearth.jobs.locks import locked
from segearth.paths import user_path

__all__ = [
    "IMAGE",
    "File",
    "Packaged",
    "cache_dir",
    "cache_path",
    "copies",
    "fetch",
    "files",
    "find",
    "hash_of",
    "packaged",
    "reachable",
    "upsampler_file",
    "upsampler_kind",
]

IMAGE = File(
    name="oem_koeln_50.tif",
    url="https://raw.githubusercontent.com/likyoo/SegEarth-OV/main/demo/oem_koeln_50.tif",
    size=3_003_372,
    sha256="070a1ca21a3ae5fce378b63ce4d81eb7d12f8acddf401bbf5c98f226d0e26913",
    licence="that of OpenEarthMap's images: see its site",
    about="An aerial image of Cologne from OpenEarthMap, 1000 × 1000 pixels.",
)


def files() -> dict[str, File | Packaged]:
    """All files that have a name: the CLIPs by theirs, upsamplers, and the image of the demo."""
    packed = [file for row in known().values() for file in (row.upsampler_file,) if isinstance(file, Packaged)]
    clips = {name: row.file for name, row in known().items() if not isinstance(row.file, Path)}
    return {**clips, **UPSAMPLER_FILES, **{Path(file.name).stem: file for file in packed}, IMAGE.name: IMAGE}


def packaged(name: str) -> Path:
    """Path of a file in `segearth/data`.

    Raises:
        UserError: This installation lacks it.
    """
    path = Path(str(resources.files("segearth") / "data" / name))
    if not path.is_file():
        raise UserError(
            f"this installation of segearth lacks {path}: expected it as a part of the package; install segearth again"
        )
    return path


def cache_dir() -> Path:
    """Folder of downloaded files: `$SEGEARTH_HOME`, or `segearth` in the platform's folder for caches."""
    if home := os.environ.get("SEGEARTH_HOME"):
        return user_path(home, "folder of SEGEARTH_HOME").absolute()
    platform = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(platform) if platform else Path.home() / ".cache") / "segearth"


def cache_path(file: File) -> Path:
    """Where a file is once it was downloaded, and where a copy made by hand belongs."""
    return cache_dir() / file.name


def find(file: Source | str) -> Path | None:
    """A usable copy on this computer; None if there is none. Makes no request.

    A copy of another length than expected (an interrupted one) is not used.

    Args:
        file: What to look for; a string is a key of `files()`.

    Raises:
        UserError: An unknown name, or a copy whose content is damaged.
    """
    file = _named(file)
    if isinstance(file, Path):
        return file if file.is_file() else None
    if isinstance(file, Packaged):
        return packaged(file.name)
    for path in copies(file):
        try:
            if not path.is_file() or not file.is_complete(path):
                continue
            problem = file.damage(path, hash_of)
        except OSError as error:
            raise UserError(
                f"cannot read {path} ({error.strerror}): expected a file that you may read; change its permissions, "
                "or set SEGEARTH_HOME to another folder"
            ) from None
        if problem is not None and path != cache_path(file):
            continue  # another program's, of another version
        if problem is not None:
            raise UserError(f"{path} is damaged: {problem}; delete it, and it is downloaded again when needed")
        return path
    return None


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hex; that of a large one is remembered in the cache.

    Raises:
        OSError: It cannot be read.
    """
    return cached_sha256(path, cache_dir() / "hashes")


def fetch(file: Source | str, *, progress: bool = True, timeout: float = 5.0, instead: str = "") -> Path:
    """A usable copy on this computer, downloaded into the cache if there is none yet.

    Args:
        file: What to get; a string is a key of `files()`.
        progress: Whether to draw a progress bar on stderr during a download.
        timeout: Seconds until a server must be reached.
        instead: For the advice: what can be used without a download; by default the packaged model, if the file is a
            CLIP's or its upsampler's.

    Raises:
        UserError: An unknown name, a damaged copy, a failed download, or a file whose place is not known.
    """
    file = _named(file)
    if (path := find(file)) is not None:
        return path
    if not isinstance(file, File):
        raise UserError(f"no file at {file}: expected the weights there; check the path")
    target = cache_path(file)
    advice = f"put the file at {target} yourself"
    if instead:
        advice += f", or use {instead}"
    elif any(file in row.downloads for row in known().values()):
        advice += f", or use the packaged model, which needs no download: {option('model', 'tiny')}"
    if target.is_file():
        advice += f" (what is there now is not complete: {target.stat().st_size:,} bytes)"
    if not file.has_place:
        raise UserError(
            f"{file.name} is not on this computer, and no address of it could be confirmed: expected a copy in the "
            f"cache; get it from its authors and {advice}"
        )
    advice = f"Check the network and its proxy settings, or {advice}."
    if file.member:
        _fetch_member(file, target, advice, progress, timeout)
        return target
    downloads.download(file, target, advice=advice, progress=progress, timeout=timeout)
    if file.sha256 is not None and target.is_file():
        store_sha256(target, file.sha256, cache_dir() / "hashes")  # it was just compared
    return target


def _fetch_member(file: File, target: Path, advice: str, progress: bool, timeout: float) -> None:
    """Downloads an archive next to the target, takes the one file that is needed out of it, and deletes it."""
    name = (file.url or "").rpartition("/")[2] or f"{file.name}.zip"
    archive = replace(file, name=name, member="")
    place = cache_path(archive)
    part = target.with_name(f"{target.name}.unpacked")
    with locked(target, patience=float("inf"), waiting=f"{file.name} is being unpacked by another process"):
        if target.is_file() and file.is_complete(target):
            return
        if not (place.is_file() and archive.is_complete(place) and archive.damage(place) is None):
            downloads.download(archive, place, advice=advice, progress=progress, timeout=timeout)
        needed = None
        try:
            with zipfile.ZipFile(place) as source:
                inside = [entry for entry in source.infolist() if entry.filename.endswith(file.member)]
                if len(inside) != 1:
                    raise UserError(
                        f"{name} holds {len(inside)} files that end in {file.member}: expected one; take the right one "
                        f"out of {place} and put it at {target} yourself"
                    )
                needed = inside[0].file_size
                with source.open(inside[0]) as content, part.open("wb") as sink:
                    shutil.copyfileobj(content, sink, 1 << 20)  # its checksum is compared at the end
                part.replace(target)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # a damaged archive can raise anything
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # these are of its content, too
                part.unlink(missing_ok=True)
                room = "" if needed is None else f", with room for {bytes_text(needed)}"
                raise UserError(
                    f"cannot unpack {place} to {target} ({error.strerror}): expected a folder that can be written"
                    f"{room}; the archive is kept, so free some space there and try again, or set SEGEARTH_HOME to "
                    "another folder"
                ) from None
            for left in (place, part):
                left.unlink(missing_ok=True)
            raise UserError(
                f"{name} from {file.url} cannot be unpacked ({error}). Expected a whole zip archive. {advice}"
            ) from None
        place.unlink()


def copies(file: File) -> Iterator[Path]:
    """Paths where a copy may be, the best first; there need not be one."""
    yield cache_path(file)
    if file.hub is not None:
        from huggingface_hub import try_to_load_from_cache

        # Other programs download the newest commit; only a hash tells whether its file is the same.
        for revision in dict.fromkeys((file.revision, "main") if file.pinned else (file.revision,)):
            cached = try_to_load_from_cache(*file.hub, None, revision)
            if isinstance(cached, str):
                yield Path(cached)


def upsampler_file(choice: str | Path | None, row: Spec | None = None, *, progress: bool = False) -> Path | None:
    """The file of an upsampler, downloaded if needed; None for those without weights.

    Args:
        choice: "default" (that of `row`); a name of `segearth.clips.upsamplers`; a key of `UPSAMPLER_FILES` or the path
            of a checkpoint, with or without "kernels:" before it; or None for none.
        row: The CLIP that it is for.
        progress: Whether to draw a progress bar on stderr during a download.

    Raises:
        UserError: No such name or file, or a failed download.
    """
    if choice == "default" and row is not None:
        return None if row.upsampler_file is None else fetch(row.upsampler_file, progress=progress)
    if choice in (None, "default") or is_untrained(choice):
        return None
    which, _ = named_weights(choice)
    if str(which) in UPSAMPLER_FILES:
        instead = f"the filter, which needs no download: {option('upsampler', 'bilateral')}"
        return fetch(UPSAMPLER_FILES[str(which)], progress=progress, instead=instead)
    path = user_path(str(which), "upsampler")
    if not path.is_file():
        raise UserError(
            f"no upsampler {str(choice)!r}: it is neither a file nor a known name; use "
            f"{', '.join([*untrained_names(), *SHORT, *UPSAMPLER_FILES])}, or the path of a SimFeatUp or FeatUp "
            "checkpoint"
        )
    return path


def upsampler_kind(choice: str | Path | None, row: Spec | None = None) -> str | None:
    """The name of an upsampler in settings: that of the CLIP's own for "default"; else the name of its file.

    Args:
        choice: As `upsampler_file` takes it.
        row: The CLIP that it is for; None: one without an upsampler of its own.
    """
    if choice == "default":
        return "bilinear" if row is None else row.upsampler
    if choice is None:
        return None
    which, kernels = named_weights(choice)
    return str(choice) if choice in SHORT else f"{KERNELS * kernels}{Path(which).name}"


def reachable(file: File | str, timeout: float = 5.0) -> bool:
    """Whether a server offers the file: one request, at most `timeout` seconds, never repeated."""
    named = _named(file)
    return isinstance(named, File) and named.has_place and downloads.reachable(named, timeout)


def _named(file: Source | str) -> Source:
    if not isinstance(file, str):
        return file
    if file not in (all_files := files()):
        raise UserError(f"unknown file {file!r}: expected one of {', '.join(all_files)}; give one of these")
    return all_files[file]
