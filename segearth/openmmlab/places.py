"""Finds files that a config names relative to a repository's folder, from any working directory."""

from __future__ import annotations

import os
from pathlib import Path

from segearth.paths import user_path


def resolve(path: str | Path, config_folder: Path) -> Path | None:
    """Finds a file or folder that a config names.

    Args:
        path: as the config has it, relative or absolute.
        config_folder: where the config file is.

    Returns:
        The first that exists, from the working directory, the config's folder, the folder above; or None.
    """
    wanted = user_path(path, "file")
    for folder in (Path.cwd(), config_folder.absolute(), config_folder.absolute().parent):
        if os.path.exists(folder / wanted):  # noqa: PTH110 (False for what is too long to be a path)
            return Path(os.path.normpath(folder / wanted))
    return None


def places_of(config_folder: Path) -> str:
    """The folders in which `resolve` looks, for messages."""
    folder = config_folder.absolute()
    places = dict.fromkeys(str(place) for place in (Path.cwd(), folder, folder.parent))
    return f"in {', '.join(places)}"
