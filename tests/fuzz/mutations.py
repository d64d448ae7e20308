"""What happens to bytes, and to the members of a zip."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from random import Random

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10**9)


def mutated(random: Random, data: bytes, others: tuple[bytes, ...] = ()) -> bytes:
    """Bytes after one to eight changes, most of them near the beginning, where headers are.

    Args:
        random: decides.
        data: what to change.
        others: whose parts may be put in.
    """
    content = bytearray(data)
    for _ in range(min(8, 1 + int(random.expovariate(0.5)))):
        if not content:
            break
        place = _place(random, len(content))
        end = min(len(content), place + 1 + int(random.expovariate(1 / 40)))
        change = random.randrange(9)
        if change == 0:
            content[place] ^= 1 << random.randrange(8)
        elif change == 1:
            content[place] = random.randrange(256)
        elif change in (2, 3):
            size, order = random.choice("BHIQ"), random.choice("<>")
            number = random.choice(NUMBERS) & ((1 << 8 * struct.calcsize(size)) - 1)
            packed = struct.pack(order + size, number)
            content[place : place + len(packed)] = packed
        elif change == 4:
            del content[place:end]
        elif change == 5:
            content[place:place] = content[place:end] * random.choice((1, 1, 2, 50))
        elif change == 6:
            content[place:end] = random.randbytes(end - place)
        elif change == 7:
            del content[random.randrange(len(content)) :]
        elif others:
            other = random.choice(others)
            begin = random.randrange(max(1, len(other)))
            content[place:end] = other[begin : begin + end - place]
    return bytes(content)


def _place(random: Random, length: int) -> int:
    return random.randrange(min(length, 300) if random.random() < 0.7 else length)


def with_right_checksums(png: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold: decoders look at such chunks more closely."""
    content, place = bytearray(png), 8
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            break
        struct.pack_into(">I", content, end, zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return bytes(content)


def members(archive: bytes) -> dict[str, bytes]:
    """The members of a zip."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip whose checksums are right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in content.items():
            file.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()
