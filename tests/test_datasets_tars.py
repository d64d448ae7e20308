"""Tar files are read within bounds, whatever their headers say."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from pathlib import Path

import pytest

from segearth.datasets import archives, bounds, tars
from segearth.errors import UserError

PACKED = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE, encoding: str = "utf-8") -> bytes:
    """A header of 512 bytes, with GNU's way of saying large and negative sizes."""
    info = tarfile.TarInfo(name)
    info.size, info.type = max(size, 0), kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT, encoding, "surrogateescape"))
    if size < 0:
        block[124:136] = b"\xff" * 4 + size.to_bytes(8, "big", signed=True)
        block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(**records: str) -> bytes:
    """An extended header."""
    text = b""
    for key, value in records.items():
        record = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(record)
        while length != len(str(length)) + len(record):
            length = len(str(length)) + len(record)
        text += str(length).encode() + record
    return header("././@PaxHeader", len(text), tarfile.XHDTYPE) + padded(text)


def refused(folder: Path, content: bytes, suffix: str = ".tar") -> str:
    """What is said of a tar file of this content when it is listed, or when its files are read."""
    path = folder / f"a{suffix}"
    path.write_bytes(PACKED[suffix](content))
    with pytest.raises(UserError) as caught:
        archives.digests(archives.members([path])[0])
    return str(caught.value)


@pytest.mark.parametrize("suffix", PACKED)
def test_twenty_gigabytes_that_are_claimed_are_not_looked_for(tmp_path, suffix, monkeypatch):
    """In one member, and in many of a size that one may have."""
    assert "claims 20,000,000,000 bytes" in refused(tmp_path, header("Val/1.png", 20_000_000_000), suffix)
    monkeypatch.setattr(bounds, "ALWAYS", 1 << 20)
    monkeypatch.setattr(bounds, "MAX_RATIO", 100)
    many = b"".join(header(f"{i}.png", 300 << 10) + bytes(300 << 10) for i in range(9))
    if suffix != ".tar":  # so large a file may hold that much
        assert "bytes or more: expected at most 100 times its size" in refused(tmp_path, many, suffix)


def test_bytes_between_members_count(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "ALWAYS", 1 << 20)
    many = b"".join(
        header("././@LongLink", 99_000, tarfile.GNUTYPE_LONGNAME) + padded(bytes(99_000)) for _ in range(40)
    )
    assert "unpacks to more than 1,048,576 bytes" in refused(tmp_path, many, ".tar.bz2")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header("././@LongLink", 1 << 33, tarfile.GNUTYPE_LONGNAME), "a header has 8,589,9"),
        (header("././@PaxHeader", 1 << 33, tarfile.XHDTYPE), "a header has 8,589,9"),
        (header("././@PaxHeader", 3 << 20, tarfile.XHDTYPE) + b"7" * (3 << 20), "a number of over 64 digits"),
        (header("1.png", -1536) + bytes(1024), "claims -1,536 bytes"),
        (pax(size="-99999") + header("1.png", 0) + bytes(1024), "claims -99,999 bytes"),
        (pax(size="1" + "0" * 400) + header("1.png", 0) + bytes(1024), "claims 10,000,000,000,000,000,00... bytes"),
        (pax(size="none", path="x") * 2000 + header("1.png", 0), "cannot be read"),
        (pax(GNU__sparse__size="many", path="x") + header("1.png", 0), "cannot be read"),
        (pax(GNU__sparse__map="0,x", GNU__sparse__size="1") + header("1.png", 0), "cannot be read"),
        (
            pax(GNU__sparse__major="1", GNU__sparse__minor="0") + header("1.png", 4) + padded(b"9\n5\n"),
            "cannot be read",
        ),
        (header("1.png", 4) + padded(b"abcd") + b"\1" * 512, "a header is damaged"),
        (header("1.png", 4000) + padded(b"abcd"), "unexpected end of data"),
    ],
    ids=[
        *("long name", "large extended header", "digits", "negative", "negative by extension", "huge by extension"),
        *("nested", "sparse size", "sparse map", "endless map", "damaged header", "cut off"),
    ],
)
def test_bad_headers_are_told_in_a_sentence(tmp_path, content, said):
    for suffix in (".tar", ".tar.gz"):
        message = refused(tmp_path, content, suffix)
        assert said in message
        assert str(tmp_path / "a.tar") in message
        assert len(message) < 500


def sparse(version: str) -> bytes:
    """GNU's three ways to say that a file of 1,000,000 bytes holds "head" at 0 and "tail" at 500,000."""
    data = padded(b"headtail")
    size = {"GNU__sparse__name": "big.tif", "GNU__sparse__realsize": "1000000"}
    if version == "1.0":
        table = padded(b"2\n0\n4\n500000\n4\n")
        return pax(GNU__sparse__major="1", GNU__sparse__minor="0", **size) + header("x", 520) + table + data
    if version == "0.1":
        both = {"GNU__sparse__map": "0,4,500000,4", "GNU__sparse__size": "1000000"}
        return pax(GNU__sparse__name="big.tif", **both) + header("x", 8) + data
    block = bytearray(header("big.tif", 8, tarfile.GNUTYPE_SPARSE))
    block[386:434] = b"".join(b"%011o\0" % number for number in (0, 4, 500_000, 4))
    block[483:495] = b"%011o\0" % 1_000_000
    block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
    return bytes(block) + data


@pytest.mark.parametrize("version", ["old", "0.1", "1.0"])
def test_sparse_files_are_whole(tmp_path, version):
    """As tar -S writes them, and the file after them is found."""
    for suffix, pack in PACKED.items():
        path = tmp_path / f"a{suffix}"
        path.write_bytes(pack(sparse(version) + header("1.png", 3) + padded(b"png") + bytes(1024)))
        found, _ = archives.members([path])
        assert [(member.name, member.size) for member in found] == [("1.png", 3), ("big.tif", 1_000_000)]
        archives.unpack({found[1]: tmp_path / "big"}, lambda: None)
        expected = bytearray(1_000_000)
        expected[:4], expected[500_000:500_004] = b"head", b"tail"
        assert (tmp_path / "big").read_bytes() == expected
        assert found[0].open().read() == b"png"


@pytest.mark.parametrize("table", ["4,4,0,4", "0,4,2,4", "0,4,1000000,4", "0,-4,8,4"])
def test_a_map_of_holes_that_is_none(tmp_path, table):
    """Out of order, overlapping, beyond the end, negative: Python's reader looks for ever for what no part covers."""
    content = pax(GNU__sparse__map=table, GNU__sparse__size="1000000", GNU__sparse__name="a") + header("x", 8)
    assert "map of holes is damaged" in refused(tmp_path, content + padded(b"headtail"))


def test_a_sparse_file_of_terabytes(tmp_path):
    content = pax(GNU__sparse__map="0,4", GNU__sparse__size=str(1 << 42), GNU__sparse__name="a") + header("x", 4)
    assert "claims 4,398,046,511,104 bytes" in refused(tmp_path, content + padded(b"head"))


def test_names_that_are_no_utf8(tmp_path):
    """GBK, as zip files have it; and bytes that are no text in any encoding."""
    for raw, name in (("数据/1.png".encode("gbk"), "数据/1.png"), (b"\xff\xfe/1.png", "\xa0■/1.png")):
        path = tmp_path / "a.tar"
        path.write_bytes(header(raw.decode("utf-8", "surrogateescape"), 1) + padded(b"x") + bytes(1024))
        (member,), _ = archives.members([path])
        assert (member.name, member.open().read()) == (name, b"x")
        assert str(member).encode() == f"{path}: {name}".encode()


def test_names_do_not_reach_the_terminal_as_commands(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(header("a\x1b[2J\nb\u202e/1.png", 1) + padded(b"x") + bytes(1024))
    (member,), _ = archives.members([path])
    assert member.name == "a\ufffd[2J\ufffdb\ufffd/1.png"


def test_a_bomb_is_no_tar_file_by_its_first_bytes_alone(tmp_path):
    """What begins with zeros, or is packed but no tar file, is not."""
    for content in (b"", bytes(512), gzip.compress(bytes(1 << 20)), b"\xfd7zXZ\0damaged", b"BZh9damaged"):
        (tmp_path / "a").write_bytes(content)
        assert not tars.is_tar(tmp_path / "a")
    with tarfile.open(tmp_path / "a", "w:xz") as tar:
        tar.addfile(tarfile.TarInfo("1"), io.BytesIO())
    assert tars.is_tar(tmp_path / "a")
