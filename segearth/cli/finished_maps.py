"""What the verbs have in common that make something of finished maps, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from segearth.errors import UserError, option
from segearth.exits import reraise_if_ending
from segearth.paths import user_path


def map_paths(given: Sequence[str | Path], what: str, expected: str) -> list[Path]:
    """The paths of some files.

    Args:
        given: as the user wrote them.
        what: they are, and `expected` what one is called, for messages.
        expected: see above.

    Raises:
        UserError: one is not there.
    """
    paths = [user_path(path, what) for path in given]
    if missing := next((path for path in paths if not path.is_file()), None):
        raise UserError(f"no file at {missing}: expected a {expected}; correct the path")
    return paths


def refuse_one_name(places: Sequence[Path], paths: Sequence[Path]) -> None:
    """Refuses maps of which the same files would be made.

    Args:
        places: what is made of each.
        paths: of the maps.

    Raises:
        UserError: there are two.
    """
    seen: dict[Path, Path] = {}
    for place, path in zip(places, paths, strict=True):
        if (other := seen.setdefault(place, path)) is not path:
            raise UserError(
                f"{other} and {path} would both become {place.name}: expected maps of different names; give them one "
                f"by one, each with a folder of its own ({option('out')})"
            )


def each(paths: Sequence[Path], make: Callable[[Path], object]) -> list[str]:
    """Makes something of every map; one that fails does not stop the others.

    Returns:
        Why some failed, a sentence each.

    Raises:
        UserError: why the only one failed.
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
