"""Rewrites the directory of a TIFF page in memory, so that Pillow can read the same pixels."""

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

LAST_OFFSET = 2**32 - 2**24  # of classic TIFF, minus space for a directory
_FAX = (2, 3, 4)  # fax compressions, whose default is white = 0


def as_plain_tiff(page: Page, file: BinaryIO | None = None) -> tuple[io.BytesIO, tuple[int, int, int]]:
    """Converts a page to a TIFF of one page that Pillow can read.

    Args:
        page: a page that `check_supported` accepts.
        file: the TIFF of the page; None: only the directory is written, which is enough for `PIL.Image.open`.

    Returns:
        The TIFF, and the indices of red, green and blue among the bands that Pillow reads, from 0.

    Raises:
        Damaged: the tags are inconsistent.
        UserError: the file is too large for classic TIFF.
    """
    tags, bands = dict(page.tags), (0, 1, 2)
    if not page.has_pillow_colours:
        colours = page.colours or bands
        extra = len(page.bits) - 3
        if page.planar:
            tags = _band_tags(page, colours)
            extra = 0
        elif colours != bands:
            bands = colours
        tags[PHOTOMETRIC] = _pack(page, [RGB])
        tags[BANDS] = _pack(page, [3 + extra])
        tags[BITS] = _pack(page, [8] * (3 + extra))
        # 0: Pillow skips the band; 2 (alpha): Pillow keeps it, so that colours can be chosen from all four
        extra_samples = page.extra if extra and page.extra == (1,) else [0 if bands == (0, 1, 2) else 2] * extra
        tags[EXTRA] = _pack(page, extra_samples)
    elif page.planar and page.photometric in (None, MINISWHITE, MINISBLACK, PALETTE):
        tags = _band_tags(page, (0,))
        tags |= {BANDS: _pack(page, [1]), BITS: _pack(page, page.bits[:1]), EXTRA: _pack(page, [])}
    elif page.extra:
        tags[EXTRA] = _pack(page, [0 if page.photometric == CMYK else 2] * len(page.extra))
    if page.photometric is None and page.compression not in _FAX:
        tags.setdefault(PHOTOMETRIC, _pack(page, [MINISBLACK]))
    tags[FORMAT] = _pack(page, [1])
    out = io.BytesIO()
    out.write((b"II*\0" if page.order == "<" else b"MM\0*") + bytes(4))
    if file is not None:
        file.seek(8)
        shutil.copyfileobj(file, out, 2**20)
        if out.tell() > LAST_OFFSET:
            raise UserError("it has more than 4 GB: expected a smaller TIFF; cut it into tiles first")
        out.write(bytes(out.tell() % 2))
    position = out.tell()
    out.write(_pack_directory({tag: value for tag, value in tags.items() if value[1]}, page.order, position))
    out.seek(4)
    out.write(struct.pack(page.order + "I", position))
    out.seek(0)
    return out, bands


def _pack(page: Page, values: Iterable[int], kind: int = SHORT) -> tuple[int, bytes]:
    """Packs numbers as the value of a tag."""
    values = tuple(values)
    return kind, struct.pack(f"{page.order}{len(values)}{INTEGERS[kind]}", *values)


def _band_tags(page: Page, selected: tuple[int, ...]) -> dict[int, tuple[int, bytes]]:
    """Returns the tags with the strips or tiles of only the selected bands, for planar storage."""
    tags = dict(page.tags)
    for tag in (STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES):
        if tag in tags:
            values = integers(tags, page.order, tag)
            per_band, rest = divmod(len(values), len(page.bits))
            if rest or not per_band:
                raise Damaged(f"{len(values)} strips or tiles do not fit {len(page.bits)} bands")
            of_bands = [value for band in selected for value in values[band * per_band : (band + 1) * per_band]]
            tags[tag] = _pack(page, of_bands, tags[tag][0])
    return tags


def _pack_directory(tags: dict[int, tuple[int, bytes]], order: str, position: int) -> bytes:
    """Packs a directory for a file position, followed by the values that do not fit into it."""
    entries, values = [], b""
    values_start = position + 2 + 12 * len(tags) + 4
    for tag, (kind, data) in sorted(tags.items()):
        if kind in (16, 18):  # of BigTIFF
            numbers = struct.unpack(f"{order}{len(data) // 8}Q", data)
            if max(numbers) >= 2**32:
                raise Damaged("a strip lies beyond its end")
            kind, data = LONG, struct.pack(f"{order}{len(numbers)}I", *numbers)
        field = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", values_start + len(values))
        entries.append(struct.pack(order + "HHI", tag, kind, len(data) // SIZES[kind]) + field)
        if len(data) > 4:
            values += data + bytes(len(data) % 2)
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4) + values
