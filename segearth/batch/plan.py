"""What a map depends on, so that the same command can go on where it stopped and another one is told apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segearth.batch.earlier import fingerprint, made_with
from segearth.batch.inputs import Item
from segearth.json_files import json_line
from segearth.outputs import refuse_folder

FORMAT = 1  # of the files below; another number makes results of earlier versions "other settings"


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
        done = content is not None and not overwrite and files[-1].is_file()
        if done:
            made_with(files[-1], settings, item.path)
        tasks.append(Task(item, settings, files, done and all(file.is_file() for file in files)))
    return tasks
