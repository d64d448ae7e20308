"""Finds the images of a download with their labels, by the ends of their paths, and checks them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segearth.datasets.archives import Member, digests, members, refusal
from segearth.datasets.description import Description, Files
from segearth.datasets.labels import image_size, label_size
from segearth.datasets.names import path_name
from segearth.errors import UserError

_SHOWN = 3
_LIST_BYTES = 16 << 20  # of a text that lists a split: a hundred times OpenEarthMap's


@dataclass(frozen=True)
class Pair:
    """An image and its label, under the stem of what is written."""

    key: str
    image: Member
    label: Member


@dataclass(frozen=True)
class FoundPairs:
    """The pairs in a download, sorted by key, and sentences about what is not as expected."""

    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]


def find_pairs(spec: Description, sources: Sequence[Path], results: Sequence[Path] = ()) -> FoundPairs:
    """Finds the pairs of a set in archives and folders.

    Args:
        spec: the set.
        sources: archives and folders of the download.
        results: folders in them that hold the result of an earlier run, absolute.

    Raises:
        UserError: none, an image without its label or the other way round, two files for one place.
    """
    files, refused = members(sources, spec.skip)
    prefixes = tuple(f"{path_name(folder)}/" for folder in results)
    files = [file for file in files if file.name or not file.path.startswith(prefixes)]
    wanted = _split_keys(spec, files)
    images, *choices = _unique([_matches(spec, files, kind, wanted) for kind in (spec.images, *spec.labels)])
    spelled = {key.casefold(): key for key in images}  # names of labels may differ in case
    choices = [{spelled.get(key.casefold(), key): label for key, label in choice.items()} for choice in choices]
    warnings: list[str] = []
    if spec.keys and images and (absent := sorted(set(spec.keys) - set(images))):
        warnings.append(f"{len(absent)} of the {len(set(spec.keys))} images of the split are missing: {_some(absent)}")
    labels: dict[str, Member] = {}
    for choice, kind in zip(choices, spec.labels, strict=True):
        added = {key: label for key, label in choice.items() if key not in labels}
        if kind.note and set(added) & set(images):
            warnings.append(kind.note)
        labels |= added
    if not images or not labels:
        raise UserError(_no_pairs(spec, sources, files, refused, images, labels))
    if missing := sorted(set(images) - set(labels)):
        raise UserError(
            f"{len(missing)} of {len(images)} images have no label: {_some(missing)}; expected a file like "
            f"{spec.labels[0].member(spec.examples[0])} for each.{_advice(spec, files)} {spec.get}"
        )
    if not spec.labels_alone and (alone := sorted(set(labels) - set(images))):
        raise UserError(
            f"{len(alone)} of {len(labels)} labels have no image: {_some(alone)}; expected a file like "
            f"{spec.images.member(spec.examples[0])} for each. {spec.get}"
        )
    return FoundPairs(tuple(Pair(key, images[key], labels[key]) for key in sorted(images)), tuple(warnings))


def check_sizes(pairs: Iterable[Pair], bands: int = 3) -> None:
    """Compares the sizes of images and labels by their headers; `bands` as of `segearth.datasets.labels.opened`.

    Raises:
        UserError: they differ, or a header cannot be read.
    """
    wrong = []
    for pair in pairs:
        size, label = image_size(pair.image, bands), label_size(pair.label)
        if label is not None and label != size:
            wrong.append(f"{pair.label} is {label[1]} × {label[0]}, its image {size[1]} × {size[0]} pixels")
    if wrong:
        raise UserError(
            f"{len(wrong)} labels have another size than their images: {_some(wrong, '; ')}; expected equal sizes: "
            "images and labels come from different releases, or were changed; download both again"
        )


@dataclass(frozen=True)
class _Match:
    """A file that can be of a pair.

    Attributes:
        key: of the pair.
        end: the part of its path that tells what it is, in lower case.
        file: the file.
    """

    key: str
    end: str
    file: Member


def _matches(spec: Description, files: list[Member], kind: Files, wanted: set[str] | None) -> list[list[_Match]]:
    """The files of one kind, in groups that would be written to the same place.

    Only the `wanted` keys count: files of other splits may be in any state.
    """
    pattern = spec.pattern(kind.path, kind.types)
    found: dict[str, list[_Match]] = {}
    for file in files:
        if (match := pattern.search(file.path)) is None:
            continue
        key = spec.key.format(**match.groupdict())
        # names differ in case between releases; a list of keys knows the right one
        if spec.keys and key not in spec.keys:
            key = next((k for k in spec.keys if k.lower() == key.lower()), key)
        if wanted is None or key in wanted:
            end = PurePosixPath(match[0]).with_suffix("").as_posix().lower().lstrip("/")
            found.setdefault(key.casefold(), []).append(_Match(key, end, file))
    return list(found.values())


def _unique(kinds: Sequence[list[list[_Match]]]) -> list[dict[str, Member]]:
    """One file for every key and kind; several files may have the same content.

    Raises:
        UserError: two of them differ. Sizes alone do not tell, as uncompressed files are all of one size.
    """
    several = [group for groups in kinds for group in groups if len(group) > 1]
    for group in several:
        for other in group[1:]:
            if (other.end, other.file.size) != (group[0].end, group[0].file.size):
                raise _difference(group[0], other)
    hashes = digests({match.file for group in several for match in group})
    for group in several:
        for other in group[1:]:
            if hashes[other.file] != hashes[group[0].file]:
                raise _difference(group[0], other)
    # a file that was extracted beside its archive is faster to read
    best = [[min(group, key=lambda match: match.file.name != "") for group in groups] for groups in kinds]
    return [{match.key: match.file for match in matches} for matches in best]


def _difference(match: _Match, other: _Match) -> UserError:
    first, second = match.file, other.file
    shown = [str(first), str(second)]
    if shown[0] == shown[1] and first.name:  # only their places in the archive tell them apart
        return UserError(
            f"two different files for {match.key}: {shown[0]} is in the archive twice, as its members "
            f"{first.number + 1} and {second.number + 1}; expected one of each (names that differ in slashes, dots, "
            "case or the form of accents are one name); extract the archive, keep the right one of them, and give the "
            "folder"
        )
    if shown[0] == shown[1]:
        shown = [ascii(str(first.source)), ascii(str(second.source))]
    return UserError(
        f"two different files for {match.key}: {shown[0]} and {shown[1]}; expected one of each (names that differ in "
        "case or in the form of accents are one name); give only one release of the download, or rename one of the "
        "files"
    )


def _split_keys(spec: Description, files: list[Member]) -> set[str] | None:
    """The keys of the split; None for all.

    Raises:
        UserError: the set has a list of them, which is not there.
    """
    if spec.keys:
        return set(spec.keys)
    for name in spec.split_files:
        lists = [file for file in files if PurePosixPath(file.path).name.lower() == name.lower()]
        if lists:
            top = min(file.path.count("/") for file in lists)
            chosen, *others = [file for file in lists if file.path.count("/") == top]
            if others and len(set(digests([chosen, *others]).values())) > 1:
                raise UserError(
                    f"different lists of the split: {chosen} and {others[0]}; expected one; give only one release of "
                    "the download"
                )
            lines = chosen.read(_LIST_BYTES).decode("utf-8-sig", "replace").split()
            return {PurePosixPath(line).stem for line in lines}
    pattern = spec.pattern(spec.images.path, spec.images.types)
    if spec.split_files and any(pattern.search(file.path) for file in files):
        raise UserError(
            f"no {' or '.join(spec.split_files)} in the download, which lists the images of the split: expected it "
            f"beside the folders of the regions; give the folder that holds it. {spec.get}"
        )
    return None


def _no_pairs(
    spec: Description,
    sources: Sequence[Path],
    files: list[Member],
    refused: list[Path],
    images: dict[str, Member],
    labels: dict[str, Member],
) -> str:
    """The message where there is nothing to convert."""
    what = "images or labels" if not images and not labels else "labels" if images else "images"
    kinds = ([] if images else [spec.images]) + ([] if labels else [spec.labels[0]])
    expected = " and ".join(kind.member(spec.examples[0]) for kind in kinds)
    if refused:
        hint = " " + refusal(refused[0])
    elif inner := [file for file in files if file.name and file.path.lower().endswith((".zip", ".tar", ".tar.gz"))]:
        hint = f" There is an archive in the archive, {inner[0]}: extract the outer one, and give its folder."
    else:
        hint = _advice(spec, files)
    place = ", ".join(str(source) for source in sources)
    return (
        f"no {what} of {spec.title} among the {len(files)} files of {place}: "
        f"expected files like {expected}.{hint} {spec.get}"
    )


def _advice(spec: Description, files: list[Member]) -> str:
    """What to do where the download is of a kind that users often take for the right one; "" for others."""
    for mistake in spec.mistakes:
        pattern = spec.pattern(mistake.path)
        if any(pattern.search(file.path) for file in files):
            return f" {mistake.advice[0].upper()}{mistake.advice[1:]}."
    return ""


def _some(names: Sequence[str], comma: str = ", ") -> str:
    """The first names of a list."""
    return comma.join(names[:_SHOWN]) + (f"{comma}..." if len(names) > _SHOWN else "")
