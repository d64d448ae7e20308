"""Input images of a command (files, folders, patterns, addresses, lists) and the names of their maps."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segearth.addresses import address_path, display_name, is_address
from segearth.errors import UserError, printable
from segearth.images.files import SUFFIXES
from segearth.paths import LONGEST_NAME, user_path

# Results of segearth and the job folders of scenes are not input images.
RESULT_SUFFIXES = (".labels.png", ".overlay.png", ".labels.tif", ".confidence.tif", ".scores.tif", ".overlay.jpg")
JOB_SUFFIX = ".segearth"
_FILE = "file://"


@dataclass(frozen=True)
class Item:
    """An input image and the name of its map.

    Attributes:
        source: path of the image, or address of a raster, see `segearth.addresses`.
        name: name of its results in the output folder, with "/" between folders, without suffix: "north/scene".
        image: its name in tables, "north/scene.jpg", with control characters escaped.
    """

    source: Path | str
    name: str
    image: str

    @property
    def path(self) -> Path:
        """The source as a path."""
        return Path(self.source)

    @property
    def shown(self) -> str:
        """The source in one line, for messages."""
        return printable(self.source) if isinstance(self.source, Path) else display_name(self.source)


def find_images(arguments: Sequence[str], out: Path, listed: Iterable[str | bytes] = ()) -> list[Item]:
    """Finds the input images, each once, in order.

    Names keep the subfolders of a folder. If two images would get the same name, both keep their suffix, or the folders
    that differ. Results of segearth are skipped, except a single one that is given alone.

    Args:
        arguments: files, folders, patterns such as "tiles/*.tif", addresses of rasters, and "-" for `listed`.
        out: the output folder; images in it are skipped.
        listed: paths or addresses, one per line; bytes if names may not be UTF-8.

    Raises:
        UserError: a path does not exist, or there is no image.
    """
    several = len(arguments) > 1 or "-" in arguments  # the shell may have expanded a pattern
    # absolute path or address -> path, and start of its name
    entries: dict[Path | str, tuple[Path, Path]] = {}
    for argument in _expanded(arguments, listed):
        if is_address(argument):
            place = Path(address_path(argument))
            entries.setdefault(argument, ("/" / place, Path(place.name)))
            continue
        path = user_path(argument)
        if path.is_dir():
            for image in _in_folder(path, out):
                entries.setdefault(image.absolute(), (image, image.relative_to(path)))
        elif path.is_file() and several and path.name.lower().endswith(RESULT_SUFFIXES):
            continue
        elif path.is_file():
            entries.setdefault(path.absolute(), (path, Path(path.name)))
        else:
            raise UserError(
                f"no image at {printable(argument)}: expected the path of an image, of a folder of images, a pattern "
                'such as "tiles/*.tif", an address such as https://..., or - for a list of these on standard input; '
                "correct the path"
            )
    if not entries:
        raise UserError(
            f"no images in {printable(' '.join(arguments))}: expected files that end in {', '.join(sorted(SUFFIXES))}; "
            "give files by name if theirs end otherwise"
        )
    images = list(entries.values())
    sources = [key if isinstance(key, str) else path for key, (path, _) in entries.items()]
    items = [
        Item(source, name, printable(image)) for source, (name, image) in zip(sources, _names(images), strict=True)
    ]
    if long := [item for item in items if len(os.fsencode(item.name.rpartition("/")[2])) > LONGEST_NAME]:
        raise UserError(
            f"the name of {long[0].shown} is too long: expected at most {LONGEST_NAME} bytes, as the names "
            "of results are longer; rename it"
        )
    return items


def _expanded(arguments: Sequence[str], listed: Iterable[str | bytes]) -> Iterator[str]:
    """Arguments with lists and patterns expanded."""
    for argument in arguments:
        if argument == "-":
            lines = (os.fsdecode(line).strip("\ufeff\r\n") for line in listed)
            yield from (line.removeprefix(_FILE) for line in lines if line.strip())
        elif argument.startswith(_FILE):
            yield argument.removeprefix(_FILE)
        elif is_address(argument):  # many contain a ?
            yield argument
        elif glob.has_magic(argument) and not (pattern := user_path(argument)).exists():
            matches = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207 (patterns may be absolute)
            if not matches:
                raise UserError(
                    f"nothing matches {printable(argument)}: expected a pattern of existing files; correct it"
                )
            yield from (
                match for match in matches if not match.lower().endswith(RESULT_SUFFIXES) and Path(match).exists()
            )
        else:
            yield argument


def _in_folder(folder: Path, out: Path) -> Iterator[Path]:
    """Images in a folder and its subfolders, sorted, without hidden files and results."""
    results = out.resolve() if folder.resolve() in out.resolve().parents else None
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") or part.endswith(JOB_SUFFIX) for part in inside.parts)
        if path.suffix.lower() not in SUFFIXES or hidden:
            continue
        if path.name.lower().endswith(RESULT_SUFFIXES) or (results is not None and results in path.resolve().parents):
            continue
        if path.is_file():
            yield path


def _names(images: list[tuple[Path, Path]]) -> list[tuple[str, str]]:
    """Unique names of the images, also without regard to case; and each name with its suffix."""
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
    """Indices of the names that occur more than once."""
    places = defaultdict(list)
    for i, name in enumerate(names):
        places[name.as_posix().lower()].append(i)
    return [i for indices in places.values() if len(indices) > 1 for i in indices]
