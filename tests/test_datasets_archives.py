"""Archives are read without trusting what they say."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from segearth.datasets import archives
from segearth.errors import UserError


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "C:\\out.png", "a/../../out.png"])
def test_paths_that_point_outside(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "Val.zip", "w") as file:
        file.writestr(name, b"x")
    with pytest.raises(UserError, match="points outside"):
        archives.members([tmp_path / "Val.zip"])
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(UserError, match="points outside"):
        archives.members([tmp_path / "a.tar"])


def test_links(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="holds a link"):
        archives.members([tmp_path / "a.zip"])
    info = tarfile.TarInfo("link")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(info)
    with pytest.raises(UserError, match="holds a link"):
        archives.members([tmp_path / "a.tar"])


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("big.png", bytes(5000))
    with pytest.raises(UserError, match="claims 5,000 bytes"):
        archives.members([tmp_path / "a.zip"])


def test_gbk_names(tmp_path):
    path = "Satellite dataset Ⅱ (East Asia)/test/image/1.tif"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("x" * len(path.encode("gbk")))
        file.writestr(info, b"1")
    data = (tmp_path / "a.zip").read_bytes().replace(info.filename.encode(), path.encode("gbk"))
    (tmp_path / "a.zip").write_bytes(data)
    (member,), _ = archives.members([tmp_path / "a.zip"])
    assert member.below.endswith(path)
    assert member.open().read() == b"1"


def test_content_and_not_the_suffix_tells_a_zip_from_a_tar(tmp_path):
    with zipfile.ZipFile(tmp_path / "Val.tar.gz", "w") as file:
        file.writestr("Val/1.png", b"of a zip")
    with tarfile.open(tmp_path / "Train.zip", "w:gz") as tar:
        info = tarfile.TarInfo("Train/1.png")
        info.size = 8
        tar.addfile(info, io.BytesIO(b"of a tar"))
    (member,), _ = archives.members([tmp_path / "Val.tar.gz"])
    assert (member.below, member.open().read()) == ("Val/1.png", b"of a zip")
    (member,), _ = archives.members([tmp_path / "Train.zip"])
    archives.unpack_tar(member.source, {member.name: tmp_path / "1.png"}, lambda: None)
    assert (member.below, (tmp_path / "1.png").read_bytes()) == ("Train/1.png", b"of a tar")


@pytest.mark.parametrize("name", ["Val.zip", "Val.tar.gz"])
def test_a_web_page_in_the_archives_place(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf\n<!DOCTYPE html><title>Google Drive - Virus scan warning</title>")
    with pytest.raises(UserError, match="is no archive: it is a web page: .* open the source's page in a browser"):
        archives.members([tmp_path / name])


def test_a_password(tmp_path):
    with zipfile.ZipFile(tmp_path / "Val.zip", "w") as file:
        file.writestr("1.png", b"x")
    data = bytearray((tmp_path / "Val.zip").read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the index
    (tmp_path / "Val.zip").write_bytes(data)
    with pytest.raises(UserError, match="Val.zip is encrypted: .*7z x '.*Val.zip' -o'.*Val' asks for it"):
        archives.members([tmp_path / "Val.zip"])
