"""Common parts of the verbs that process finished maps one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from segearth.errors import UserError, option
from segearth.exits import reraise_if_ending
from segearth.paths import user_path


def map_paths(given: Sequence[str | Path], what: str, expected: str) -> list[Path]:
    """Checks that files exist.

    Args:
        given: paths as the user wrote them.
        what: kind of the files, for messages.
        expected: their naming scheme, for messages.

    Raises:
        UserError: a file is missing.
    """
    paths = [user_path(path, what) for path in given]
    if missing := next((path for path in paths if not path.is_file()), None):
        raise UserError(f"no file at {missing}: expected a {expected}; correct the path")
    return paths


def refuse_equal_outputs(outputs: Sequence[Path], paths: Sequence[Path]) -> None:
    """Refuses maps that have the same output path.

    Args:
        outputs: output path of each map.
        paths: paths of the maps.

    Raises:
        UserError: two outputs are equal.
    """
    seen: dict[Path, Path] = {}
    for output, path in zip(outputs, paths, strict=True):
        if (other := seen.setdefault(output, path)) is not path:
            raise UserError(
                f"{other} and {path} would both become {output.name}: expected maps of different names; give them one "
                f"by one, each with a folder of its own ({option('out')})"
            )


def process_each(paths: Sequence[Path], make: Callable[[Path], object]) -> list[str]:
    """Calls `make` for every map; one that fails does not stop the others.

    Returns:
        The error messages.

    Raises:
        UserError: the only map failed.
    """
    failed = []
    for path in paths:
        try:
            make(path)
        except UserError as error:
            reraise_if_ending(error)
            if len(paths) == 1:
                raise
            failed.append(str(error))
    return failed
