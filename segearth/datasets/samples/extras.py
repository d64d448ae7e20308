"""Draws the other files of a download, which a preparation has to ignore; and encodes images and labels."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from segearth.datasets.description import Content, Description, ExtraFile, ExtraPair
from segearth.datasets.samples.drawing import Drawn

if TYPE_CHECKING:
    from numpy.typing import NDArray

Download: TypeAlias = dict[str, dict[str, bytes]]  # archive ("" for a plain folder) -> member -> content

_FORMATS = {".tif": "TIFF", ".jpg": "JPEG", ".png": "PNG"}
_UNKNOWN = (96, 96, 96)  # no colour of any palette
_SMALL = (64, 96)  # (height, width) of images that are not in the split


def encoded(image: Image.Image, suffix: str) -> bytes:
    """The content of an image file."""
    buffer = BytesIO()
    options = {".jpg": {"quality": 95, "subsampling": 0}, ".png": {"compress_level": 3}}.get(suffix, {})
    image.save(buffer, _FORMATS[suffix], **options)
    return buffer.getvalue()


def image_file(spec: Description, image: Image.Image) -> bytes:
    """The content of an image file as the set publishes it."""
    if spec.images.bands == 3:
        return encoded(image, spec.images.types[0])
    pixels = np.asarray(image)
    return band_tiff(np.dstack([pixels, *[255 - pixels[..., :1]] * (spec.images.bands - 3)]))


def band_tiff(pixels: NDArray[np.uint8]) -> bytes:
    """A TIFF of five or more bands (H, W, B), as GDAL writes it: said to be gray, with more bands of no meaning."""
    height, width, bands = pixels.shape
    data = pixels.tobytes()
    lists = [struct.pack(f"<{bands}H", *[8] * bands), struct.pack(f"<{bands - 1}H", *[0] * (bands - 1))]
    place = 8 + len(data)
    tags = [  # number, kind (3: 16 bits, 4: 32), how many, value or place
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, bands, place), (259, 3, 1, 1), (262, 3, 1, 1)),
        *((273, 4, 1, 8), (277, 3, 1, bands), (278, 3, 1, height), (279, 4, 1, len(data))),
        (338, 3, bands - 1, place + len(lists[0])),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", place + sum(map(len, lists))) + data + b"".join(lists) + directory


def label_image(spec: Description, pair: Drawn) -> Image.Image:
    """Labels as the set publishes them: indices, colours, or a mask."""
    if spec.encoding == "palette":
        table = np.full((256, 3), _UNKNOWN, np.uint8)
        for colour, value in reversed(spec.colours):  # the first colour of a value is the usual one
            table[value] = colour
        pixels = table[pair.values]
        for i, (colour, value) in enumerate(spec.colours):
            if value in [earlier for _, earlier in spec.colours[:i]]:
                pixels[(pair.values == value) & pair.on_road] = colour
        return Image.fromarray(pixels)
    if spec.encoding == "binary" and not spec.any_value:
        return Image.fromarray(pair.values * np.uint8(255))
    if spec.ignored:
        return Image.fromarray(np.where(pair.values == spec.ignore, np.uint8(spec.ignored[0]), pair.values))
    return Image.fromarray(pair.values)


def add_extras(spec: Description, download: Download, pairs: Sequence[Drawn]) -> None:
    """Adds files to a download like those that the real one has besides the images of the split."""
    for archive, members in list(download.items()):
        folder = "".join(next(iter(members)).rpartition("/")[:2])
        download[archive][f"{folder}Thumbs.db"] = b"\xd0\xcf\x11\xe0 not an image"
        download[archive][f"{folder}.DS_Store"] = b"\x00\x00\x00\x01Bud1"
    h, w = _SMALL
    small = Drawn(pairs[0].image[:h, :w], pairs[0].values[:h, :w], pairs[0].on_road[:h, :w])
    for extra in spec.sample.extras:
        if isinstance(extra, ExtraPair):
            _add_pair(spec, download, extra, small)
        else:
            _add_file(spec, download, extra, pairs, small)


def _add_pair(spec: Description, download: Download, extra: ExtraPair, pair: Drawn) -> None:
    """Adds a pair in the published layout, with a part of its path replaced."""
    images, labels = spec.images, spec.labels[0]
    for kind, wanted, content in (
        (images, extra.images, image_file(spec, Image.fromarray(pair.image))),
        (labels, extra.labels, encoded(label_image(spec, pair), labels.types[0])),
    ):
        if wanted:
            archive, member = (path.replace(*extra.replace) for path in (kind.archive, kind.member(extra.values)))
            download.setdefault(archive, {})[member] = content


def _add_file(spec: Description, download: Download, extra: ExtraFile, pairs: Sequence[Drawn], small: Drawn) -> None:
    """Adds a file, or one for every example."""
    for example, pair in zip(spec.examples, pairs, strict=True):
        path = extra.path.format(**example)
        content = extra.content
        if isinstance(content, str):
            content = encoded(_drawn(content, spec, pair, small), f".{path.rpartition('.')[2]}")
        download.setdefault(extra.archive, {})[path.replace(*extra.replace)] = content
        if "{" not in extra.path:
            return


def _drawn(content: Content, spec: Description, pair: Drawn, small: Drawn) -> Image.Image:
    """Draws a content of `ExtraFile`: the first two are as large as the pair, the others are small."""
    match content:
        case "later image":
            return Image.fromarray(pair.image // 2 + 40)
        case "degrees of damage":  # 1 to 4, in stripes
            return Image.fromarray(pair.values * (1 + np.arange(pair.values.shape[1], dtype=np.uint8) // 50 % 4))
        case "four bands":
            return Image.fromarray(np.dstack([small.image, small.image[..., 1]]), "RGBA")
        case "heights":
            return Image.fromarray(small.image[..., 0].astype(np.float32))
        case "indices":
            return Image.fromarray(small.values)
        case "instances":
            return Image.fromarray(np.stack([small.values * np.uint8(9)] * 3, axis=2))
        case "label":
            return label_image(spec, small)
        case "red label":
            return Image.fromarray(np.full((*small.values.shape, 3), (255, 0, 0), np.uint8))
        case "stray label":
            pixels = np.array(label_image(spec, small))
            pixels[:9] = (252, 255, 0)
            return Image.fromarray(pixels)
