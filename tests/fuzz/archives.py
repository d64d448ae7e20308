"""Archives: downloads of data sets in which something is wrong, by accident or by intention."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from fuzz.mutations import NUMBERS, members, mutated, zipped
from fuzz.watch import Case
from segearth.datasets import describe
from segearth.datasets.check import check
from segearth.datasets.prepare import prepare
from segearth.datasets.samples import Drawn, write_sample
from segearth.errors import UserError

SETS = ("loveda", "xBD", "wbs-si", "chn6-cug", "whu_aerial")
NAMES = (
    *("../../evil.png", "/evil.png", "../secret.txt", "a/../../../evil.png", "..\\..\\evil.png", "C:\\evil.png"),
    *("./", ".", "..", "", " ", "a\0b.png", "a\nb.png", "a\x1b[31m.png", "x" * 300 + ".png", "d/" * 200 + "a.png"),
    *(
        "e\u0301.png",
        "é.png",
        "图.png",
        "\u202egnp.png",
        "con.png",
        "a:b.png",
        "~/.bashrc",
        ".hidden.png",
        "\\evil.png",
    ),
)
# Of a zip's list of members: where they stand, and how many bytes they have.
FIELDS = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (38, 4), (42, 4))
KINDS = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CONTTYPE)
HEADERS = ("size", "path", "GNU.sparse.realsize", "GNU.sparse.map", "mtime", "hdrcharset")
_BOMB = 1 << 27  # bytes of zeros


class Archives:
    """Cases of archives."""

    name = "archives"

    def __init__(self, folder: Path) -> None:
        self.downloads = {name: _download(name, folder) for name in SETS}
        zeros = bytes(_BOMB)
        self.bombs = {".gz": gzip.compress(zeros), ".bz2": bz2.compress(zeros), ".xz": lzma.compress(zeros)}

    def prepare(self, case: Case) -> Callable[[], object]:
        """Writes the download of a set, one of whose archives is another one."""
        random = case.random
        of = describe(random.choice(SETS))
        download = dict(self.downloads[of.name])
        attacked = random.choice(list(download))
        for path, data in download.items():
            file = case.inputs / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self._other(random, data, case) if path == attacked else data)
        if random.random() < 0.1:
            _beside(random, case)
        sources = [case.inputs] if random.random() < 0.7 else [case.inputs / attacked]

        def attack() -> None:
            try:
                prepare(of, sources, case.target, strict=random.random() < 0.1, quiet=True)
            except UserError as error:
                if "were not converted" in str(error):  # the sentence for a defect in converting a pair
                    raise RuntimeError(str(error)) from None
                raise
            check(of, case.target, quiet=True)

        return attack

    def _other(self, random: Random, data: bytes, case: Case) -> bytes:
        """The archive after what happens to archives."""
        content = _content(data)
        chance = random.random()
        if chance < 0.25:
            return mutated(random, data)
        if chance < 0.45:  # one member is another one
            name = random.choice(list(content))
            if name.endswith(".json") and random.random() < 0.7:
                content[name] = _other_json(random)
            else:
                content[name] = mutated(random, content[name], tuple(content.values()))
        elif chance < 0.6:  # a member more, under a name that leads elsewhere
            name = random.choice(list(content))
            content[random.choice((*NAMES, f"{name}/a.png", f"../{name}", name.upper(), f"/{name}"))] = content[name]
        elif chance < 0.65:
            return self._bomb(random, content)
        elif chance < 0.7:  # an archive in the archive
            content = {random.choice(("in.zip", "Val.zip", "in.tar.gz", "a/in.zip")): data, **content}
        if random.random() < 0.5:
            return _tarred(random, content, case)
        packed = _with_odd_names(random, content)
        return _other_directory(random, packed) if random.random() < 0.3 else packed

    def _bomb(self, random: Random, content: dict[str, bytes]) -> bytes:
        """Small, and very large once it is unpacked."""
        if random.random() < 0.5:
            return random.choice(list(self.bombs.values()))
        name = random.choice(list(content))
        return zipped({**content, name: bytes(_BOMB)}, zipfile.ZIP_DEFLATED)


def _download(name: str, folder: Path) -> dict[str, bytes]:
    """The files of a sample whose images are small, by their paths."""
    of = describe(name)
    generator = np.random.default_rng(0)
    pairs = {}
    for example in of.examples:
        values = generator.choice(of.values, (24, 32)).astype(np.uint8)
        image = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        pairs[of.key.format(**example)] = Drawn(image, values, np.zeros((24, 32), bool))
    write_sample(of, folder / name, pairs)
    return {str(p.relative_to(folder / name)): p.read_bytes() for p in (folder / name).rglob("*.*") if _is_archive(p)}


def _is_archive(path: Path) -> bool:
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def _content(data: bytes) -> dict[str, bytes]:
    """The members of a zip or a tar."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        return members(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        return {one.name: file.extractfile(one).read() for one in file if one.isfile()}


def _with_odd_names(random: Random, content: dict[str, bytes]) -> bytes:
    """A zip, some of whose names are no UTF-8, or stand twice."""
    data = zipped({name.replace("\0", "0") or "_": one for name, one in content.items()}, random.choice((0, 8, 12, 14)))
    if random.random() < 0.2:
        name = random.choice(list(content)).encode()
        data = data.replace(name, random.randbytes(len(name)) if random.random() < 0.5 else name[:-1] + b"\xff")
    return data


def _other_directory(random: Random, data: bytes) -> bytes:
    """A zip whose list of members claims other sizes, places, methods or flags than there are."""
    packed = bytearray(data)
    place = packed.find(b"PK\x01\x02")
    while place >= 0:
        if random.random() < 0.4:
            field, size = random.choice(FIELDS)
            number = random.choice(NUMBERS) % (1 << 8 * size)
            packed[place + field : place + field + size] = number.to_bytes(size, "little")
        place = packed.find(b"PK\x01\x02", place + 4)
    return bytes(packed)


def _tarred(random: Random, content: dict[str, bytes], case: Case) -> bytes:
    """A tar of some compression and format, with members that are no files, or say what is not so."""
    buffer = io.BytesIO()
    mode = random.choice(("w", "w:gz", "w:gz", "w:bz2", "w:xz"))
    kind = random.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=buffer, mode=mode, format=kind, errors="surrogateescape") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if random.random() < 0.1:
                _spoil(random, info, case)
            try:
                tar.addfile(info, io.BytesIO(data.ljust(min(info.size, 1 << 20), b"\0")))
            except (ValueError, OSError):  # no such name in this format, no such size
                continue
    return mutated(random, buffer.getvalue()) if random.random() < 0.15 else buffer.getvalue()


def _spoil(random: Random, info: tarfile.TarInfo, case: Case) -> None:
    """Makes a member of a tar another one than a file."""
    way = random.randrange(6)
    if way == 0:
        info.type = random.choice((tarfile.SYMTYPE, tarfile.LNKTYPE))
        info.linkname = random.choice((str(case.secret), "../../../secret.txt", info.name, "/dev/zero", "/etc/passwd"))
    elif way == 1:
        info.type = random.choice(KINDS)
        info.devmajor, info.devminor = 1, 5
    elif way == 2:
        info.type = random.choice((tarfile.GNUTYPE_SPARSE, b"Z", b"x", b"g", b"L"))
    elif way == 3:
        value = random.choice(("-1", "x", "99999999999999", "0,1", "1e999", "", "../evil"))
        info.pax_headers = {random.choice(HEADERS): value}
    elif way == 4:
        info.size = random.choice((0, 1, 1 << 40, 1 << 20))
    else:
        info.mode, info.mtime, info.uid = random.choice((0, 0o7777)), random.choice((-1, 2**40)), 0


def _other_json(random: Random) -> bytes:
    """Labels of xBD that are none."""
    point = random.choice(("0 0", "1e999 0", "nan nan", "0, 1, 2", "x y", "-5 -5", "1e9 1e9", "3", ""))
    shape = random.choice((f"POLYGON (({point}, 9 0, 9 9, {point}))", "POLYGON EMPTY", "POLYGON ((", "", "POINT (1 1)"))
    many = random.choice((1, 1, 3, 3000))
    return random.choice(
        (
            json.dumps({"features": {"xy": [{"wkt": shape}] * many}}).encode(),
            json.dumps({"features": {"xy": [{"wkt": random.choice((None, 7, [shape]))}]}}).encode(),
            json.dumps(random.choice(({"features": None}, {"features": {"xy": 3}}, [], None, 7, "x", {}))).encode(),
            b"[" * 100_000,
            b'{"features": {"xy": [{"wkt": "' + b"(" * 100_000 + b'"}]}}',
            b"\xff\xfe" + b"{}",
            b"",
            b'{"features": 1e999}',
        )
    )


def _beside(random: Random, case: Case) -> None:
    """Something that is no archive, beside the download."""
    path = case.inputs / random.choice(("evil.zip", "images", "a.tar.gz", "Val"))
    if path.exists():
        return
    way = random.randrange(4)
    if way == 0:
        path.symlink_to(random.choice((case.inputs, Path("/dev/zero"), path)))  # users' own links are followed
    elif way == 1:
        path.mkdir()
        path.chmod(0)
    elif way == 2:
        path.write_bytes(
            random.choice((b"", b"PK\x05\x06" + bytes(18), b"7z\xbc\xaf\x27\x1c" + bytes(30), bytes(1024)))
        )
    else:
        path.mkdir()
        (path / random.choice(("a.png", "\udcff.png", "a\n.png"))).symlink_to("/dev/zero")
