"""What a map depends on, so that the same command can go on where it stopped and another one is told apart."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segearth.batch.inputs import Item
from segearth.errors import UserError, option
from segearth.jobs.settings import first_difference
from segearth.json_files import json_line, read_json
from segearth.outputs import refuse_folder

FORMAT = 1  # of the files below; another number makes results of earlier versions "other settings"
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Task:
    """One map to make, or that is there.

    Attributes:
        item: the image and its name.
        settings: all that the map depends on, see `settings_of`.
        files: what is to be written, the summary last.
        done: whether all of it is there, with the same settings.
    """

    item: Item
    settings: dict[str, Any]
    files: tuple[Path, ...]
    done: bool

    @property
    def summary(self) -> Path:
        """The file that is written last."""
        return self.files[-1]


def plan(items: list[Item], out: Path, common: dict[str, Any], *, overwrite: bool) -> list[Task]:
    """A task for each image.

    Args:
        items: the images.
        out: the output folder.
        common: the settings that all maps share.
        overwrite: whether to begin anew, whatever is there.

    Raises:
        UserError: a map of that name is there, made from another image or with other settings; or a folder is.
    """
    tasks = []
    for item in items:
        content = fingerprint(item.path)
        settings = json.loads(json_line({**common, "input": content, "format": FORMAT}))
        ends = ["labels.png", "overlay.png", *(["scores.npz"] if common["scores"] else []), "summary.json"]
        files = tuple(out / f"{item.name}.{end}" for end in ends)
        for file in files:
            refuse_folder(file)
        done = content is not None and not overwrite and files[-1].is_file() and _agrees(files[-1], settings, item)
        tasks.append(Task(item, settings, files, done and all(file.is_file() for file in files)))
    return tasks


def fingerprint(path: Path) -> dict[str, Any] | None:
    """What tells an image from another, wherever it lies: its size, and a hash of its first and last megabyte.

    Returns:
        bytes and sha256_of_ends; None for a file that cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(MEGABYTE))
            if size > MEGABYTE:
                file.seek(max(MEGABYTE, size - MEGABYTE))
                digest.update(file.read(MEGABYTE))
    except OSError:
        return None
    return {"bytes": size, "sha256_of_ends": digest.hexdigest()}


def _agrees(summary: Path, settings: dict[str, Any], item: Item) -> bool:
    """Whether a summary was made with these settings.

    Raises:
        UserError: it was made with others, or is no summary.
    """
    way_out = f"use another {option('out')}, or {option('overwrite', True)} to make it anew"
    try:
        before = read_json(summary)["settings"]
        differing = [key for key in settings if key not in before or before[key] != settings[key]]
        classes = "; ".join(",".join(one["names"]) for one in before.get("classes") or [])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"{summary} is no summary of a map: expected one, or no such file; {way_out}") from None
    if not differing:
        return True
    field = differing[0]
    if field == "input":
        raise UserError(f"{summary} is of another image than {item.path}: expected the same one; {way_out}")
    if field == "classes":
        was, now = classes, "; ".join(",".join(one["names"]) for one in settings[field])
        if was == now:
            was, now = "other colours, thresholds or factors of the classes", "these"
    else:
        field, was, now = first_difference(before.get(field), settings[field], field) or (field, "another", "this")
    raise UserError(f"{summary} was made with {field} {was}, not {now}: expected the same settings; {way_out}")
