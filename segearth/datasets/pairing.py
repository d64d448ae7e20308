"""Images with their labels: found by the ends of their paths, and checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segearth.datasets.archives import Member, digests, members, refusal
from segearth.datasets.description import Description, Files
from segearth.datasets.labels import image_size, label_size
from segearth.datasets.names import of_path
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
class Found:
    """What a download holds: the pairs by key, and sentences about what is not as expected."""

    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]


def find(of: Description, sources: Sequence[Path], written: Sequence[Path] = ()) -> Found:
    """Finds the pairs of a set in archives and folders.

    Args:
        of: the set.
        sources: archives and folders of the download.
        written: folders in them that hold an earlier result, absolute.

    Raises:
        UserError: none, an image without its label or the other way round, two files for one place.
    """
    files, refused = members(sources, of.skip)
    results = tuple(f"{of_path(folder)}/" for folder in written)
    files = [file for file in files if file.name or not file.path.startswith(results)]
    wanted = _wanted(of, files)
    images, *choices = _chosen([_match(of, files, kind, wanted) for kind in (of.images, *of.labels)])
    spelled = {key.casefold(): key for key in images}  # names of labels may differ in case
    choices = [{spelled.get(key.casefold(), key): label for key, label in choice.items()} for choice in choices]
    warnings: list[str] = []
    if of.keys and images and (absent := sorted(set(of.keys) - set(images))):
        warnings.append(f"{len(absent)} of the {len(set(of.keys))} images of the split are missing: {_some(absent)}")
    labels: dict[str, Member] = {}
    for choice, kind in zip(choices, of.labels, strict=True):
        added = {key: label for key, label in choice.items() if key not in labels}
        if kind.note and set(added) & set(images):
            warnings.append(kind.note)
        labels |= added
    if not images or not labels:
        raise UserError(_nothing(of, sources, files, refused, images, labels))
    if missing := sorted(set(images) - set(labels)):
        raise UserError(
            f"{len(missing)} of {len(images)} images have no label: {_some(missing)}; expected a file like "
            f"{of.labels[0].member(of.examples[0])} for each.{_advice(of, files)} {of.get}"
        )
    if not of.labels_alone and (alone := sorted(set(labels) - set(images))):
        raise UserError(
            f"{len(alone)} of {len(labels)} labels have no image: {_some(alone)}; expected a file like "
            f"{of.images.member(of.examples[0])} for each. {of.get}"
        )
    return Found(tuple(Pair(key, images[key], labels[key]) for key in sorted(images)), tuple(warnings))


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


def _match(of: Description, files: list[Member], kind: Files, wanted: set[str] | None) -> list[list[_Match]]:
    """The files of one kind, those together that would be written to one place of some disk.

    Only the `wanted` ones count, as others may lie there in any state.
    """
    pattern = of.pattern(kind.path, kind.types)
    found: dict[str, list[_Match]] = {}
    for file in files:
        if (match := pattern.search(file.path)) is None:
            continue
        key = of.key.format(**match.groupdict())
        # names differ in case between releases; a list of keys knows the right one
        key = next((k for k in of.keys if k.lower() == key.lower()), key) if of.keys and key not in of.keys else key
        if wanted is None or key in wanted:
            end = PurePosixPath(match[0]).with_suffix("").as_posix().lower().lstrip("/")
            found.setdefault(key.casefold(), []).append(_Match(key, end, file))
    return list(found.values())


def _chosen(kinds: Sequence[list[list[_Match]]]) -> list[dict[str, Member]]:
    """One file for every key and kind, where several hold the same.

    Raises:
        UserError: two of them differ. Sizes alone do not tell, as uncompressed files are all of one size.
    """
    several = [group for groups in kinds for group in groups if len(group) > 1]
    for group in several:
        for other in group[1:]:
            if (other.end, other.file.size) != (group[0].end, group[0].file.size):
                raise _differ(group[0], other)
    known = digests({one.file for group in several for one in group})
    for group in several:
        for other in group[1:]:
            if known[other.file] != known[group[0].file]:
                raise _differ(group[0], other)
    # a file that was extracted beside its archive is faster to read
    best = [[min(group, key=lambda one: one.file.name != "") for group in groups] for groups in kinds]
    return [{one.key: one.file for one in groups} for groups in best]


def _differ(one: _Match, other: _Match) -> UserError:
    first, second = one.file, other.file
    shown = [str(first), str(second)]
    if shown[0] == shown[1] and first.name:  # only their places in the archive tell them apart
        return UserError(
            f"two different files for {one.key}: {shown[0]} is in the archive twice, as its members {first.number + 1} "
            f"and {second.number + 1}; expected one of each (names that differ in slashes, dots, case or the form of "
            "accents are one name); extract the archive, keep the right one of them, and give the folder"
        )
    if shown[0] == shown[1]:
        shown = [ascii(str(first.source)), ascii(str(second.source))]
    return UserError(
        f"two different files for {one.key}: {shown[0]} and {shown[1]}; expected one of each (names that differ in "
        "case or in the form of accents are one name); give only one release of the download, or rename one of the "
        "files"
    )


def _wanted(of: Description, files: list[Member]) -> set[str] | None:
    """The keys of the split; None: all.

    Raises:
        UserError: the set has a list of them, which is not there.
    """
    if of.keys:
        return set(of.keys)
    for name in of.split_files:
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
    pattern = of.pattern(of.images.path, of.images.types)
    if of.split_files and any(pattern.search(file.path) for file in files):
        raise UserError(
            f"no {' or '.join(of.split_files)} in the download, which lists the images of the split: expected it "
            f"beside the folders of the regions; give the folder that holds it. {of.get}"
        )
    return None


def _nothing(
    of: Description,
    sources: Sequence[Path],
    files: list[Member],
    refused: list[Path],
    images: dict[str, Member],
    labels: dict[str, Member],
) -> str:
    """Why there is nothing to convert."""
    what = "images or labels" if not images and not labels else "labels" if images else "images"
    kinds = ([] if images else [of.images]) + ([] if labels else [of.labels[0]])
    expected = " and ".join(kind.member(of.examples[0]) for kind in kinds)
    if refused:
        hint = " " + refusal(refused[0])
    elif inner := [file for file in files if file.name and file.path.lower().endswith((".zip", ".tar", ".tar.gz"))]:
        hint = f" There is an archive in the archive, {inner[0]}: extract the outer one, and give its folder."
    else:
        hint = _advice(of, files)
    place = ", ".join(str(source) for source in sources)
    return (
        f"no {what} of {of.title} among the {len(files)} files of {place}: "
        f"expected files like {expected}.{hint} {of.get}"
    )


def _advice(of: Description, files: list[Member]) -> str:
    """What the download was taken for."""
    for mistake in of.mistakes:
        pattern = of.pattern(mistake.path)
        if any(pattern.search(file.path) for file in files):
            return f" {mistake.advice[0].upper()}{mistake.advice[1:]}."
    return ""


def _some(names: Sequence[str], comma: str = ", ") -> str:
    return comma.join(names[:_SHOWN]) + (f"{comma}..." if len(names) > _SHOWN else "")
