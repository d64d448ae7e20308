"""From a pair of a download to the files that a config reads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from segearth.datasets.archives import Member
from segearth.datasets.description import Description, Windows
from segearth.datasets.labels import histogram, image_size, opened, read_label
from segearth.datasets.manifest import VERSION
from segearth.datasets.padding import is_black
from segearth.datasets.pairing import Pair
from segearth.errors import UserError, option
from segearth.jobs.settings import settings_hash
from segearth.json_files import schema_error
from segearth.outputs import atomic
from segearth.windows import Window, starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FORMATS = {".png": "PNG", ".tif": "TIFF"}
_PNG = {"compress_level": 3}  # half the time of 6, for some percent of the size
_RECORD = {"hash": str, "stems": list, "counts": dict, "unknown": int, "black": list}  # of a converted pair


class Conversion:
    """Converts a pair, by its key: the task of a job.

    Args:
        spec: the set.
        pairs: by their keys.
        staging: the folder of the folders `images` and `labels`.

    Attributes:
        spec: likewise, as `pairs`.
        folders: for images and for labels.
    """

    def __init__(self, spec: Description, pairs: Mapping[str, Pair], staging: Path) -> None:
        self.pairs, self.folders = pairs, (staging / "images", staging / "labels")
        self.spec = spec
        common = settings_hash({"version": VERSION, "set": repr(spec)})
        self._hashes = {
            key: settings_hash({"set": common, "files": [[m.path, m.size, m.stamp] for m in (pair.image, pair.label)]})
            for key, pair in pairs.items()
        }

    def __call__(self, key: str) -> dict[str, Any]:
        """What `convert` returns, and the `hash` of all that it depends on."""
        try:
            return {"hash": self._hashes[key], **convert(self.pairs[key], self.spec, *self.folders)}
        except MemoryError:
            raise UserError(
                f"not enough memory for {self.pairs[key].image}: expected some times its size uncompressed; use fewer "
                f"processes ({option('jobs', 1)}), or end other programs"
            ) from None

    def is_done(self, key: str, record: Any) -> bool:
        """Whether a pair that was converted still is: the download has the same one, and its files are there.

        Args:
            key: of the pair.
            record: what a ledger says that the call returned; it may be anything.
        """
        if schema_error(record, _RECORD) is not None or record["hash"] != self._hashes.get(key):
            return False
        suffixes = self.spec.image_suffix, self.spec.label_suffix
        places = list(zip(self.folders, suffixes, strict=True))
        return all((folder / f"{stem}{suffix}").is_file() for stem in record["stems"] for folder, suffix in places)


def convert(pair: Pair, spec: Description, images: Path, labels: Path) -> dict[str, Any]:
    """Writes an image and its label, in windows where the set is cut.

    Args:
        pair: what to convert.
        spec: its set.
        images: existing folder for images.
        labels: existing folder for labels.

    Returns:
        "stems" of what was written, those of images that are nearly all "black", "counts" of label values over the
        whole label, before it is cut, and "unknown" pixels.

    Raises:
        UserError: a file that cannot be read or written, or is not of the set.
    """
    size = image_size(pair.image, spec.images.bands)
    values, unknown = read_label(pair.label, spec, size)
    counts = histogram(values)
    stems = [stem for stem, _ in cuts(pair.key, size, spec.windows)]
    black = _write_image(pair, spec, size, images)
    for stem, window in cuts(pair.key, size, spec.windows):
        _write_label(labels / f"{stem}{spec.label_suffix}", _cut(values, window, spec.ignore))
    return {
        "stems": stems,
        "black": black,
        "counts": {str(value): int(counts[value]) for value in np.flatnonzero(counts)},
        "unknown": unknown,
    }


def cuts(key: str, size: tuple[int, int], windows: Windows | None) -> Iterator[tuple[str, Window]]:
    """The windows of an image, row by row, with the stems of their files.

    Sides that are shorter than a window are as long as one, padded at the end; then windows start at 0, stride,
    2·stride, ..., and the last one ends at the border.

    Args:
        key: the pair's name.
        size: (height, width) of the image.
        windows: how it is cut; None: not at all.
    """
    if windows is None:
        yield key, Window(0, size[0], 0, size[1])
        return
    (h, w), (dy, dx) = windows.size, windows.stride
    for top in starts(max(size[0], h), h, dy):
        for left in starts(max(size[1], w), w, dx):
            window = Window(top, top + h, left, left + w)
            yield windows.name.format(key=key, **window._asdict()), window


def _write_image(pair: Pair, spec: Description, size: tuple[int, int], folder: Path) -> list[str]:
    """Copies the image where its format is right, else writes it without loss; returns the stems of black ones."""
    black = []
    jpeg = spec.image_suffix.lower() in (".jpg", ".jpeg")
    with opened(
        pair.image, bands=spec.images.bands
    ) as image:  # a truncated file shows here, whether it is copied or not
        # by the content, as suffixes lie: cameras write MPO, several JPEGs in a file, under .JPG
        same = image.format in (("JPEG", "MPO") if jpeg else (_FORMATS[spec.image_suffix],))
        if spec.windows is None and same and (image.mode == "RGB" or jpeg):
            with (
                pair.image.open() as file,
                atomic(folder / f"{pair.key}{spec.image_suffix}") as part,
                part.open("wb") as copy,
            ):
                shutil.copyfileobj(file, copy)
            return [pair.key] if is_black(image) else []
        if jpeg:
            raise UserError(f"{pair.image} is no JPEG: expected the published JPEG images. {spec.get}")
        for stem, window in cuts(pair.key, size, spec.windows):
            piece = image.crop((window.left, window.top, min(window.right, size[1]), min(window.bottom, size[0])))
            whole = _pad(_rgb(piece), window)
            _save(folder / f"{stem}{spec.image_suffix}", whole)
            if is_black(whole):
                black.append(stem)
    return black


def _rgb(image: Image.Image) -> Image.Image:
    """Converts to RGB; alpha is dropped, not blended."""
    if image.mode == "RGBA":
        return Image.merge("RGB", image.split()[:3])
    if image.mode in ("P", "PA"):
        return _rgb(image.convert("RGBA"))
    return image.convert("RGB")


def _pad(image: Image.Image, window: Window) -> Image.Image:
    """Pads with black at the bottom and the right, up to the window's size."""
    size = (window.right - window.left, window.bottom - window.top)
    if image.size == size:
        return image
    padded = Image.new(image.mode, size)
    padded.paste(image, (0, 0))
    return padded


def _cut(values: NDArray[np.uint8], window: Window, ignore: int) -> NDArray[np.uint8]:
    """A window of the label, padded with the ignored value."""
    piece = values[window.top : window.bottom, window.left : window.right]
    after = (window.bottom - window.top - piece.shape[0], window.right - window.left - piece.shape[1])
    return np.pad(piece, ((0, after[0]), (0, after[1])), constant_values=ignore)


def _write_label(path: Path, values: NDArray[np.uint8]) -> None:
    """Writes a label in mode L, and reads it again to verify it."""
    _save(path, Image.fromarray(np.ascontiguousarray(values)))
    with opened(Member(str(path), path.name, 0, path)) as image:
        if image.mode != "L" or not np.array_equal(np.asarray(image), values):
            raise UserError(
                f"{path} was not written as it should be: the disk, or this version of Pillow, is defective"
            )


def _save(path: Path, image: Image.Image) -> None:
    options: dict[str, Any] = _PNG if path.suffix.lower() == ".png" else {"compression": "tiff_deflate"}
    with atomic(path) as part:
        image.save(part, **options)
