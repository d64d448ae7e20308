"""Tasks of a batch: all settings of each map, and whether the map exists, so that a command can resume."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segearth.batch.inputs import Item
from segearth.hashes import fingerprint
from segearth.jobs.existing_results import check_summary
from segearth.json_files import json_line
from segearth.outputs import refuse_folder

FORMAT = 1  # version of the result files; results of another version count as made with other settings


@dataclass(frozen=True)
class Task:
    """One map to make, or a finished one.

    Attributes:
        item: the image and its name.
        settings: all settings that the map depends on.
        files: the files of the map, the summary last.
        done: whether all files exist, with the same settings.
    """

    item: Item
    settings: dict[str, Any]
    files: tuple[Path, ...]
    done: bool

    @property
    def summary(self) -> Path:
        """The summary, which is written last."""
        return self.files[-1]


def plan(items: list[Item], out: Path, common: dict[str, Any], *, overwrite: bool) -> list[Task]:
    """Makes a task for each image.

    Args:
        items: the images.
        out: the output folder.
        common: the settings that all maps share.
        overwrite: whether to make existing maps again.

    Raises:
        UserError: a map of that name exists, made from another image or with other settings; or a folder of that name.
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
            check_summary(files[-1], settings, item.path)
        tasks.append(Task(item, settings, files, done and all(file.is_file() for file in files)))
    return tasks
