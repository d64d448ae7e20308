"""Which images a user means, and how their maps are called."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segearth.errors import UserError, printable
from segearth.image_files import SUFFIXES
from segearth.paths import LONGEST_NAME, user_path

OWN = (".labels.png", ".overlay.png", ".labels.tif", ".overlay.jpg")  # results of ours are no images to map


@dataclass(frozen=True)
class Item:
    """An image and its map.

    Attributes:
        path: of the image.
        name: of its results, below the output folder, "/" between folders, without endings: "north/scene".
        image: what tables call it, "north/scene.jpg"; what cannot be printed is escaped.
    """

    path: Path
    name: str
    image: str


def find_images(arguments: Sequence[str], out: Path, listed: Iterable[str | bytes] = ()) -> list[Item]:
    """The images that are meant, each once, in order.

    Subfolders of a folder are mirrored in the names. Where two images would have one name, both keep their suffix, or
    the folders that tell them apart.

    Args:
        arguments: files, folders, patterns such as "tiles/*.tif", and "-" for those of `listed`.
        out: the output folder; what lies in it is not mapped.
        listed: paths, one a line; as bytes where their names may be no UTF-8.

    Raises:
        UserError: something is not there, or there is no image.
    """
    found: dict[Path, tuple[Path, Path]] = {}  # by absolute path: the path, and what its name begins with
    for argument in _expanded(arguments, listed):
        path = user_path(argument)
        if path.is_dir():
            for image in _in_folder(path, out):
                found.setdefault(image.absolute(), (image, image.relative_to(path)))
        elif path.is_file():
            found.setdefault(path.absolute(), (path, Path(path.name)))
        else:
            raise UserError(
                f"no image at {printable(argument)}: expected the path of an image, of a folder of images, a pattern "
                'such as "tiles/*.tif", or - for a list of paths on standard input; correct the path'
            )
    if not found:
        raise UserError(
            f"no images in {printable(' '.join(arguments))}: expected files that end in {', '.join(sorted(SUFFIXES))}; "
            "give files by name if theirs end otherwise"
        )
    images = list(found.values())
    items = [
        Item(path, name, printable(image)) for (path, _), (name, image) in zip(images, _names(images), strict=True)
    ]
    if long := [item for item in items if len(os.fsencode(item.name.rpartition("/")[2])) > LONGEST_NAME]:
        raise UserError(
            f"the name of {printable(long[0].path)} is too long: expected at most {LONGEST_NAME} bytes, as the names "
            "of results are longer; rename it"
        )
    return items


def _expanded(arguments: Sequence[str], listed: Iterable[str | bytes]) -> Iterator[str]:
    """Arguments with lists and patterns resolved."""
    for argument in arguments:
        if argument == "-":
            lines = (os.fsdecode(line).strip("\ufeff\r\n") for line in listed)
            yield from (line for line in lines if line.strip())
        elif glob.has_magic(argument) and not (pattern := user_path(argument)).exists():
            matches = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207 (also absolute)
            if not matches:
                raise UserError(
                    f"nothing matches {printable(argument)}: expected a pattern of existing files; correct it"
                )
            yield from (match for match in matches if not match.lower().endswith(OWN) and Path(match).exists())
        else:
            yield argument


def _in_folder(folder: Path, out: Path) -> Iterator[Path]:
    """Images at any level of a folder, sorted; hidden files and results are passed over."""
    results = out.resolve() if folder.resolve() in out.resolve().parents else None
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() not in SUFFIXES or any(part.startswith(".") for part in inside.parts):
            continue
        if path.name.lower().endswith(OWN) or (results is not None and results in path.resolve().parents):
            continue
        if path.is_file():
            yield path


def _names(images: list[tuple[Path, Path]]) -> list[tuple[str, str]]:
    """A name for each image, all different, also where a file system does not see case; and with its suffix."""
    places = [place for _, place in images]
    names = [place.with_suffix("") for place in places]
    for i in _repeated(names):  # a.jpg beside a.tif
        names[i] = places[i]
    depth = 1
    while repeated := _repeated(names):
        for number, i in enumerate(repeated):
            path, place = images[i]
            folders = path.absolute().parts[: -len(place.parts)]
            others = {images[j][0].absolute().parent for j in repeated}
            if depth < len(folders) and len(others) > 1:  # without the root
                places[i] = Path(*folders[-depth:], place)
                names[i] = places[i]
            else:  # a.jpg beside A.jpg
                names[i] = Path(f"{places[i]}-{number + 1}")
        depth += 1
    return [(name.as_posix(), place.as_posix()) for name, place in zip(names, places, strict=True)]


def _repeated(names: list[Path]) -> list[int]:
    """Indices of the names that stand more than once."""
    places = defaultdict(list)
    for i, name in enumerate(names):
        places[name.as_posix().lower()].append(i)
    return [i for indices in places.values() if len(indices) > 1 for i in indices]
