"""Finds data that are not in the folder that a config reads: under an alias, or under a similar name."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from segearth.datasets import DATASETS, Description
from segearth.errors import command

_LIKE = 0.8  # of `difflib`; names with another number or another letter in five are other names
_JPEG = (".jpg", ".jpeg")


def other_places(path: Path) -> list[Path]:
    """Lists the folders that other people's configs read instead of this one.

    Args:
        path: as a config has it, such as "data/WHU_Sat_II/test/image".

    Returns:
        The same folder under the other names of the set's folder, ours first.
    """
    for spec in DATASETS.values():
        names = [name for ours, others in spec.aliases.items() for name in (ours, *others)]
        # of two names that both fit, the longer one: the other is but its beginning
        for name in sorted(names, key=lambda name: name.count("/"), reverse=True):
            if path.is_relative_to(Path("data", name)):
                rest = path.relative_to(Path("data", name))
                return [Path("data", other, rest) for other in names if other != name]
    return []


def near_name(path: Path) -> str:
    """Names an existing file or folder whose name is similar to a missing one's, in a sentence; "" if there is none.

    Args:
        path: the missing file or folder, absolute or relative to the working directory.
    """
    parents = [path, *path.parents]
    try:
        missing = next(i for i, parent in enumerate(parents) if parent.exists()) - 1
        folder, wanted = parents[missing + 1], parents[missing].name
        near = _nearest(wanted, (entry.name for entry in folder.iterdir()))
    except (OSError, StopIteration):  # a file in a folder's place, one that others own
        return ""
    return f"there is {folder / near}: rename it to {wanted} if it is the one" if missing >= 0 and near else ""


def _nearest(wanted: str, names: Iterable[str]) -> str | None:
    """The name that differs only in case, in separators or in the form of characters; else the most similar one."""
    plain = {_plain(name): name for name in sorted(names)}
    found = [_plain(wanted)] if _plain(wanted) in plain else difflib.get_close_matches(_plain(wanted), plain, 1, _LIKE)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    """Normalises a name: "WHU_Sat_Ⅱ" and "whu-sat-II" become equal."""
    return re.sub(r"[\s_.-]", "", unicodedata.normalize("NFKC", name).casefold())


def set_of(path: str | Path) -> Description | None:
    """Finds the set that has a file or folder among its images or labels; None if the path does not show it."""
    text = f"{Path(path).absolute().as_posix()}/"
    for spec in DATASETS.values():
        if any(f"/{folder}/" in text for folder in (spec.out_images, spec.out_labels)):
            return spec
    return None


def lossy_label(path: str | Path) -> str:
    """Explains in a sentence that a label map is a JPEG, or that there is only a JPEG of it; "" for other label maps.

    Args:
        path: the label map that a config reads.
    """
    path = Path(path).absolute()
    there = [path] if path.is_file() else [path.with_name(f"{path.stem}{suffix}") for suffix in _JPEG]
    if not (found := next(filter(_is_jpeg, there), None)):
        return ""
    spec = set_of(path)
    again = f"prepare the set from its download: {command('prepare')} {spec.name} SOURCE" if spec else "make PNG files"
    return (
        f"{found.name} is a JPEG, whose compression changes class indices (1 may become 0 or 2, and 255 253); {again}"
    )


def _is_jpeg(path: Path) -> bool:
    """Whether a file exists and begins like a JPEG, whatever its suffix."""
    try:
        with path.open("rb") as file:
            return file.read(3) == b"\xff\xd8\xff"
    except OSError:
        return False
