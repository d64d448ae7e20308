"""Writes a drawn sample in the archives and folders of the published download; every run gives the same bytes."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

from PIL import Image

from segearth.datasets.description import Description
from segearth.datasets.samples.drawing import Drawn, draw_pair, sample_mode
from segearth.datasets.samples.extras import Download, add_extras, encoded, image_file, label_image
from segearth.errors import UserError, option

NOTICE = "DRAWN_NOT_REAL.txt"
_JUNK = b"\x00\x05\x16\x07 not an image"  # what macOS puts beside every file


def draw_sample(spec: Description, folder: Path, *, seed: int = 0, extracted: bool = False) -> dict[str, Drawn]:
    """Draws a small download of a set in its published layout.

    Args:
        spec: the set.
        folder: the folder to write; an earlier sample in it is replaced.
        seed: the same seed gives the same bytes.
        extracted: whether archives are written as the folders that they unpack to.

    Returns:
        What was drawn, by the keys of the pairs (`Description.key`).

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    pairs = draw_pairs(spec, seed)
    write_sample(spec, folder, pairs, extracted=extracted)
    return pairs


def draw_pairs(spec: Description, seed: int = 0) -> dict[str, Drawn]:
    """Draws the images of a sample, by the keys of the pairs."""
    return {spec.key.format(**example): draw_pair(spec, i, seed) for i, example in enumerate(spec.examples)}


def write_sample(spec: Description, folder: Path, pairs: dict[str, Drawn], *, extracted: bool = False) -> None:
    """Writes drawn images as `draw_sample` does."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / NOTICE).is_file())):
        raise UserError(
            f"{folder} holds something other than a drawn sample: give another folder with "
            f"{option('folder', typed='out')}"
        )
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / NOTICE).write_text(_notice(spec), encoding="utf-8")
        for archive, content in _download(spec, list(pairs.values())).items():
            _write(part, archive, content, extracted)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        raise UserError(
            f"cannot write {folder} ({error.strerror or error}): free some space or give another "
            f"folder with {option('folder', typed='out')}"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _notice(spec: Description) -> str:
    return (
        f"These files are drawings in the layout of {spec.title}, made by segearth sample-data.\n"
        "They are not the data set and contain nothing of it: they show that the software runs, and no figure on them\n"
        f"means anything. The real data: {spec.source}\n"
    )


def _download(spec: Description, pairs: list[Drawn]) -> Download:
    """The archives with their files."""
    download: Download = {}
    images, labels = spec.images, spec.labels[0]
    for i, (example, pair) in enumerate(zip(spec.examples, pairs, strict=True)):
        image = image_file(spec, _published(spec, i, pair))
        download.setdefault(images.archive, {})[images.member(example)] = image
        label = encoded(label_image(spec, pair), labels.types[0])
        download.setdefault(labels.archive, {})[labels.member(example)] = label
    add_extras(spec, download, pairs)
    return download


def _published(spec: Description, number: int, pair: Drawn) -> Image.Image:
    """An image in the mode that the set publishes it in."""
    image = Image.fromarray(pair.image)
    if (mode := sample_mode(spec, number)) == "L":
        return image.convert("L")
    if mode == "RGBA":
        image.putalpha(128)
    return image


def _write(folder: Path, archive: str, content: dict[str, bytes], extracted: bool) -> None:
    """Writes one archive, or its content as files."""
    target = folder / archive
    target.parent.mkdir(parents=True, exist_ok=True)
    if not archive or extracted:
        for name, data in content.items():
            path = target / name if not archive else target.parent / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    elif archive.endswith(".tar.gz"):
        target.write_bytes(_tar(content))
    else:
        target.write_bytes(_zip(content))


def _tar(content: dict[str, bytes]) -> bytes:
    """A tar.gz without a date."""
    buffer = BytesIO()
    with gzip.GzipFile("", "wb", 1, buffer, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    return buffer.getvalue()


def _zip(content: dict[str, bytes]) -> bytes:
    """A zip as a Mac makes it; names that are not ASCII are in GBK and not marked, as on a Chinese Windows."""
    buffer, renamed = BytesIO(), {}
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in content.items():
            raw = name.encode("gbk")
            stored = "".join(chr(byte) if byte < 128 else "@" for byte in raw)
            renamed[stored.encode()] = raw
            file.writestr(zipfile.ZipInfo(stored), data)
            parent, _, last = name.rpartition("/")
            if name.isascii():
                file.writestr(zipfile.ZipInfo("/".join(filter(None, ("__MACOSX", parent, f"._{last}")))), _JUNK)
    archive = buffer.getvalue()
    for placeholder, raw in renamed.items():  # of the same length, at the file itself and in the list of files
        if placeholder != raw:
            archive = archive.replace(placeholder, raw)
    return archive
