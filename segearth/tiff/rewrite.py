"""The page of a TIFF, written anew in memory as the plain TIFF that Pillow knows, before the same pixels."""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Iterable
from typing import BinaryIO

from segearth.errors import UserError
from segearth.tiff.directory import Damaged, Page, integers
from segearth.tiff.tags import (
    BANDS,
    BITS,
    CMYK,
    EXTRA,
    FORMAT,
    INTEGERS,
    LONG,
    MINISBLACK,
    MINISWHITE,
    PALETTE,
    PHOTOMETRIC,
    RGB,
    SHORT,
    SIZES,
    STRIP_BYTES,
    STRIP_OFFSETS,
    TILE_BYTES,
    TILE_OFFSETS,
)

LAST_OFFSET = 2**32 - 2**24  # of classic TIFF, less room for a directory
_FAX = (2, 3, 4)  # white is 0 where nothing is said


def plain(page: Page, file: BinaryIO | None = None) -> tuple[io.BytesIO, tuple[int, int, int]]:
    """The page as a TIFF of one page that Pillow knows.

    Args:
        page: one that `check` lets pass.
        file: the TIFF that it is from; None writes the directory alone, which is enough for `PIL.Image.open`.

    Returns:
        The TIFF; and which bands of what Pillow reads are red, green and blue, from 0 on.

    Raises:
        Damaged: the tags do not fit each other.
        UserError: the file is too large for classic TIFF.
    """
    tags, bands = dict(page.tags), (0, 1, 2)
    if not page.is_plain:
        colours = page.colours or bands
        extra = len(page.bits) - 3
        if page.planar:
            tags = _planes(page, colours)
            extra = 0
        elif colours != bands:
            bands = colours
        tags[PHOTOMETRIC] = _numbers(page, [RGB])
        tags[BANDS] = _numbers(page, [3 + extra])
        tags[BITS] = _numbers(page, [8] * (3 + extra))
        # 0: a band that is passed over; as alpha (2) it is kept, so that colours may be chosen from all four
        kept = page.extra if extra and page.extra == (1,) else [0 if bands == (0, 1, 2) else 2] * extra
        tags[EXTRA] = _numbers(page, kept)
    elif page.planar and page.photometric in (None, MINISWHITE, MINISBLACK, PALETTE):
        tags = _planes(page, (0,))
        tags |= {BANDS: _numbers(page, [1]), BITS: _numbers(page, page.bits[:1]), EXTRA: _numbers(page, [])}
    elif page.extra:
        tags[EXTRA] = _numbers(page, [0 if page.photometric == CMYK else 2] * len(page.extra))
    if page.photometric is None and page.compression not in _FAX:
        tags.setdefault(PHOTOMETRIC, _numbers(page, [MINISBLACK]))
    tags[FORMAT] = _numbers(page, [1])
    out = io.BytesIO()
    out.write((b"II*\0" if page.order == "<" else b"MM\0*") + bytes(4))
    if file is not None:
        file.seek(8)
        shutil.copyfileobj(file, out, 2**20)
        if out.tell() > LAST_OFFSET:
            raise UserError("it has more than 4 GB: expected a smaller TIFF; cut it into tiles first")
        out.write(bytes(out.tell() % 2))
    at = out.tell()
    out.write(_written({tag: value for tag, value in tags.items() if value[1]}, page.order, at))
    out.seek(4)
    out.write(struct.pack(page.order + "I", at))
    out.seek(0)
    return out, bands


def _numbers(page: Page, values: Iterable[int], kind: int = SHORT) -> tuple[int, bytes]:
    """Numbers as the value of a tag."""
    values = tuple(values)
    return kind, struct.pack(f"{page.order}{len(values)}{INTEGERS[kind]}", *values)


def _planes(page: Page, chosen: tuple[int, ...]) -> dict[int, tuple[int, bytes]]:
    """The tags with the strips or tiles of some bands, in that order, of a file whose bands lie apart."""
    tags = dict(page.tags)
    for tag in (STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES):
        if tag in tags:
            values = integers(tags, page.order, tag)
            each, rest = divmod(len(values), len(page.bits))
            if rest or not each:
                raise Damaged(f"{len(values)} strips or tiles do not fit {len(page.bits)} bands")
            kept = [value for band in chosen for value in values[band * each : (band + 1) * each]]
            tags[tag] = _numbers(page, kept, tags[tag][0])
    return tags


def _written(tags: dict[int, tuple[int, bytes]], order: str, at: int) -> bytes:
    """A directory for the place `at`, and after it the values that do not fit into it."""
    entries, values = [], b""
    beyond = at + 2 + 12 * len(tags) + 4
    for tag, (kind, data) in sorted(tags.items()):
        if kind in (16, 18):  # of BigTIFF
            numbers = struct.unpack(f"{order}{len(data) // 8}Q", data)
            if max(numbers) >= 2**32:
                raise Damaged("a strip lies beyond its end")
            kind, data = LONG, struct.pack(f"{order}{len(numbers)}I", *numbers)
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", beyond + len(values))
        entries.append(struct.pack(order + "HHI", tag, kind, len(data) // SIZES[kind]) + place)
        if len(data) > 4:
            values += data + bytes(len(data) % 2)
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4) + values
