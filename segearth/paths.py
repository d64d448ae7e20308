"""Paths that users give: home folder, checks."""

from __future__ import annotations

import os
import re
from pathlib import Path

from segearth.errors import UserError, first_line, printable

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # a single letter is a drive of Windows
# Names of results are longer than those of their images: by ".summary.json", and by the suffix of a temporary file.
LONGEST_NAME = 255 - 32  # bytes; 255 is the limit of common file systems


def user_path(given: str | Path, what: str = "image") -> Path:
    """A path given by the user; a leading ~ is the home folder, unless a file of that name exists.

    Args:
        given: the path as the user wrote it (`Path` would change https:// to https:/).
        what: what the path is for, in messages.

    Raises:
        UserError: a URL, or no valid file name.
    """
    text, name = str(given), printable(given)
    if _SCHEME.match(text):
        raise UserError(
            f"the {what} {name} is an address: expected a path on this computer; download it first and give the file"
        )
    path = Path(given)
    try:
        if text.startswith("~") and not path.exists():
            path = Path(os.path.expanduser(text))  # noqa: PTH111 (Path's own raises where a user is not known)
            if str(path).startswith("~"):  # else results would go to a folder of this name
                raise ValueError(f"there is no user {printable(path.parts[0][1:])}; of a file, write ./{name}")
        path.exists()
        if "\0" in text:
            raise ValueError("it holds a null character")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or first_line(error)
        raise UserError(
            f"the {what} {name} cannot be opened ({why}): expected an existing one; give its path"
        ) from None
    return path
