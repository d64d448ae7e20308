"""Images: files of every format and of none, under every name, as paths, open files and PIL images."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import tifffile
from PIL import Image, features

from fuzz.children import Case
from fuzz.mutations import NUMBERS, mutated, with_right_checksums
from segearth.batch.inputs import find_images
from segearth.cli.info import examine
from segearth.errors import UserError
from segearth.images import check_image, read_image
from segearth.loading import load_model

SIZE = (20, 28)  # (height, width)
# Known to Pillow or to people, and not read: beginnings of their files.
FOREIGN = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(marker) (w) file closefile\nshowpage\n",
    b"DDS |\0\0\0\x07\x10\0\0" + bytes(112),
    b"P6 4 4 255\n" + bytes(48),
    b"P6 4 4 65535\n" + bytes(96),
    b"8BPS\0\x01" + bytes(60),
    b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0\x68\x04\0\0\x16\0\0\0" + bytes(40),
    b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
    b"SIMPLE  =                    T" + b" " * 50 + b"END" + b" " * 2800,
    b"\x89HDF\r\n\x1a\n" + bytes(100),
    b"#!/bin/sh\ntouch marker\n",
    b"",
)
NAMES = (
    *("a.png", "a.tif", "A.JPG", "a", ".png", "a.png.", "a b.tif", " a.png", "a\n.png", "a\x1b[31m.png", "\u202egnp.a"),
    *("-rf.png", "--out", "~", "~root", "~/a.png", "$HOME.png", "%s%n.png", "*.png", "[a].png", "a;b.png", "{}.png"),
    *("é.png", "e\u0301.png", "图.tif", "🛰.png", "a" * 250 + ".png", "a" * 300, "con.png", "a:b.png", "CON", "a\\b.png"),
    *("\udcff\udcfe.png", "a.labels.png", "https:", "s3:", "'.png", '"', "`touch marker`.png", "a.txt", "a.zip"),
)


class Images:
    """Cases of images."""

    name = "images"

    def __init__(self, _: Path) -> None:
        self.seeds = (*_pillows(), *_tiffs(), *FOREIGN)
        self.predictor = load_model("tiny", "road; tree,forest", device="cpu")

    def prepare(self, case: Case) -> Callable[[], object]:
        """Writes one image, or a few."""
        random = case.random
        data = self._data(random)
        name = random.choice(NAMES) if random.random() < 0.3 else f"a{random.choice(('.png', '.tif', '.jpg', '.jp2'))}"
        path = case.inputs / name
        try:
            path.write_bytes(data)
        except OSError:  # no file can have this name: it is attacked all the same
            pass
        given: str | Path = random.choice((path, str(path)))
        attack = random.choices(
            (_read, _read_twice, _open_file, _given, _found, _examined, self._predicted), (30, 25, 10, 10, 5, 5, 5)
        )[0]
        return lambda: attack(given, data, case)

    def _data(self, random: Random) -> bytes:
        data = random.choice(self.seeds)
        if random.random() < 0.1:
            return data
        if data[:4] in (b"II*\0", b"MM\0*") and random.random() < 0.5:
            data = _with_other_tags(random, data)
            if random.random() < 0.7:
                return data
        data = mutated(random, data, self.seeds)
        return with_right_checksums(data) if data[:4] == b"\x89PNG" and random.random() < 0.7 else data

    def _predicted(self, given: str | Path, _: bytes, case: Case) -> None:
        result = self.predictor.predict(given, case.random.choice((None, 1, 30)))
        result.save(case.target)


def _read(given: str | Path, *_: object) -> None:
    _check(*read_image(given))


def _read_twice(given: str | Path, *_: object) -> None:
    """By the header alone and whole: what the one refuses the other refuses, and sizes are equal."""
    try:
        size = check_image(given)
    except UserError:
        size = None
    pixels, remarks = read_image(given)
    _check(pixels, remarks)
    assert size == pixels.shape[:2]


def _open_file(_: str | Path, data: bytes, case: Case) -> None:
    file = io.BytesIO(data)
    file.seek(case.random.choice((0, 1, len(data))))
    _check(*read_image(file))


def _given(_: str | Path, data: bytes, case: Case) -> None:
    try:
        image = Image.open(io.BytesIO(data))
        if case.random.random() < 0.2:
            image.seek(1)
    except Exception:  # the user's own call
        return
    if image.format == "EPS" or image.width * image.height > 10**8:  # what the user opens is not ours to refuse
        return
    if case.random.random() < 0.2:
        image.close()
    _check(*read_image(image))


def _found(given: str | Path, _: bytes, case: Case) -> None:
    for arguments in ([os.fspath(given)], [str(case.inputs)], [str(case.inputs / "*")]):
        for item in find_images(arguments, case.target):
            assert item.path.is_file()
            assert (case.target / f"{item.name}.labels.png").resolve().is_relative_to(case.target.resolve())


def _examined(given: str | Path, *_: object) -> None:
    if Path(given).is_file():
        facts, _size = examine(Path(given))
        assert all(value.isprintable() for value in facts.values())


def _check(pixels: np.ndarray, remarks: list[str]) -> None:
    assert pixels.ndim == 3
    assert (pixels.shape[2], pixels.dtype) == (3, np.uint8)
    assert all(remark.isprintable() for remark in remarks), remarks


def _pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def _pillows() -> list[bytes]:
    """Small images in Pillow's formats and modes."""
    rgb = Image.fromarray(_pixels())
    other = rgb.transpose(Image.Transpose.ROTATE_180)
    exif = Image.Exif()
    exif[274] = 6
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        *((rgb.convert(mode), "PNG", {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
        (rgb, "PNG", {"save_all": True, "append_images": [other]}),
        (rgb, "PNG", {"exif": exif}),
        *((rgb.convert(mode), "JPEG", {}) for mode in ("RGB", "L", "CMYK")),
        (rgb, "JPEG", {"progressive": True, "exif": exif}),
        *((rgb.convert(mode), "BMP", {}) for mode in ("RGB", "L", "1", "P")),
        (rgb, "GIF", {"save_all": True, "append_images": [other]}),
        (rgb.convert("P"), "GIF", {"transparency": 3}),
        *((rgb, "TIFF", {"compression": name}) for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
        *((rgb.convert(mode), "TIFF", {}) for mode in ("RGBA", "L", "P", "1", "I;16", "F", "CMYK", "LAB")),
        (rgb, "TIFF", {"save_all": True, "append_images": [other]}),
    ]
    if features.check("webp"):
        kinds += [(rgb.convert("RGBA"), "WEBP", {"lossless": lossless}) for lossless in (True, False)]
        kinds += [(rgb, "WEBP", {"save_all": True, "append_images": [other]})]
    if features.check("jpg_2000"):
        kinds += [(rgb.convert(mode), "JPEG2000", {}) for mode in ("RGB", "L", "RGBA")]
        kinds += [(rgb, "JPEG2000", {"no_jp2": True, "irreversible": True})]
    found = []
    for image, kind, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


def _tiffs() -> list[bytes]:
    """Small TIFFs as other programs write them."""
    rgb, found = _pixels(), []
    many = np.dstack([rgb, rgb[..., :1]])
    for pages in (
        [(rgb, {"photometric": "rgb"}), (np.ones(SIZE, bool), {"photometric": "mask", "subfiletype": 4})],
        [(rgb, {"photometric": "rgb"}), (rgb[::2, ::2], {"photometric": "rgb", "subfiletype": 1})],
        [(rgb, {"photometric": "minisblack", "planarconfig": "contig"})],
        [(many.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate", "extrasamples": (0,)})],
        [(rgb.astype(np.uint16), {"photometric": "rgb"})],
        [(rgb.astype(np.int8), {"photometric": "rgb"})],
        [(rgb.astype(np.float32), {"photometric": "rgb"})],
        [(rgb, {"photometric": "rgb", "tile": (16, 16)})],
        [(rgb, {"photometric": "rgb", "byteorder": ">"})],
        [(rgb, {"photometric": "rgb", "bigtiff": True})],
    ):
        buffer = io.BytesIO()
        own = {key: pages[0][1].pop(key) for key in ("byteorder", "bigtiff") if key in pages[0][1]}
        with tifffile.TiffWriter(buffer, **own) as file:
            for pixels, options in pages:
                file.write(pixels, metadata=None, **options)
        found.append(buffer.getvalue())
    return found


def _with_other_tags(random: Random, data: bytes) -> bytes:
    """A classic TIFF in whose first directory some types, counts or values are others."""
    order = "<" if data[:2] == b"II" else ">"
    content = bytearray(data)
    (place,) = struct.unpack_from(f"{order}I", content, 4)
    if place + 2 > len(content):
        return data
    (count,) = struct.unpack_from(f"{order}H", content, place)
    for _ in range(random.randint(1, 3)):
        entry = place + 2 + 12 * random.randrange(max(1, count))
        if entry + 12 > len(content):
            continue
        number = random.choice((*NUMBERS, random.randrange(20), len(data)))
        field = random.choice((("H", 0, 65535), ("H", 2, 18), ("I", 4, 2**32 - 1), ("H", 8, 65535), ("I", 8, 2**32 - 1)))
        struct.pack_into(order + field[0], content, entry + field[1], number % (field[2] + 1))
    return bytes(content)
