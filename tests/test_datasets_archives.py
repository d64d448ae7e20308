"""Archives are read without trusting what they say."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from preparing import ROOT, made, tree

from segearth.datasets import archives, bounds
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


def test_names_that_no_disk_can_have(tmp_path):
    """They are told by their length, not shown."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("n" * 60_000, b"x")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../" + "n" * 59_997), io.BytesIO())
    for name in ("a.zip", "a.tar"):
        with pytest.raises(UserError, match="a name of 60,000 characters") as caught:
            archives.members([tmp_path / name])
        assert len(str(caught.value)) < 500


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
    monkeypatch.setattr(bounds, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("big.png", bytes(5000))
    with pytest.raises(UserError, match="claims 5,000 bytes"):
        archives.members([tmp_path / "a.zip"])


def test_a_zip_that_claims_more_than_its_size_can_hold(tmp_path, monkeypatch):
    """Every entry of the index points to the same 5,000 bytes."""
    monkeypatch.setattr(bounds, "ALWAYS", 1000)
    monkeypatch.setattr(bounds, "MAX_RATIO", 10)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("big.png", bytes(5000))
        file.filelist *= 20
    with pytest.raises(UserError, match="expected at most 10 times its size"):
        archives.members([tmp_path / "a.zip"])


def test_a_disk_that_is_too_small_is_known_before_it_is_full(tmp_path, monkeypatch):
    source = packed(tmp_path / "WHU.tar.gz", {f"val/{kind}/0.tif": tile(kind, 0) for kind in ("image", "label")})
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(
        UserError, match="need 1,04[0-9],[0-9]{3} bytes to be unpacked, .* has 1,000,000: free some space"
    ):
        made("whu_aerial", source, tmp_path / "data")
    assert not (tmp_path / "data").exists()


PEAK = """
import resource, sys
from pathlib import Path
from segearth.datasets import DATASETS, archives, prepare
from segearth.errors import UserError
archives.IN_MEMORY = prepare.IN_MEMORY = 8 << 20
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
before = peak()
archives.digests(archives.members([Path(sys.argv[1])])[0])
try:
    prepare.prepare(DATASETS["whu_aerial"], [Path(sys.argv[1])], Path(sys.argv[2]), quiet=True)
except UserError as error:
    print(peak() - before, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count the peak in other units")
def test_a_large_member_of_a_zip_is_never_held_whole(tmp_path):
    """Neither to compare it nor to unpack it, nor where it turns out to be no image."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for kind in ("image", "label"):
            file.writestr(f"val/{kind}/0.tif", bytes(100 << 20))
    run = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path / "a.zip", tmp_path / "data"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    megabytes, said = run.stdout.split(maxsplit=1)
    assert int(megabytes) < 50
    assert "a.zip: val/image/0.tif is damaged or no image" in said


def test_windows_way_to_pack_large_files(tmp_path):
    """It is no damage: another program reads it."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("1.png", b"x")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for start, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(start) + offset] = 9  # deflate64
    (tmp_path / "a.zip").write_bytes(data)
    (member,), _ = archives.members([tmp_path / "a.zip"])
    with pytest.raises(UserError, match=r"packed in a way that Python cannot read .*\(7z x '.*a.zip'\)"):
        member.open()


def test_names_that_are_marked_as_utf8_and_are_not(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("é.png", b"x")
    data = (tmp_path / "a.zip").read_bytes().replace("é".encode(), b"\xff\xff")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError, match="a.zip cannot be read .*'utf-8' codec"):
        archives.members([tmp_path / "a.zip"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_files_whose_names_are_no_utf8(tmp_path):
    (tmp_path / "数据".encode("gbk").decode("utf-8", "surrogateescape")).write_bytes(b"x")
    (member,), _ = archives.members([tmp_path])
    assert (member.below, str(member)) == ("数据", f"{tmp_path}/数据")
    assert member.open().read() == b"x"


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
    archives.unpack({member: tmp_path / "1.png"}, lambda: None)
    assert (member.below, (tmp_path / "1.png").read_bytes()) == ("Train/1.png", b"of a tar")


def test_a_given_archive_needs_no_suffix(tmp_path):
    """As browsers save it from an address with a question mark."""
    with zipfile.ZipFile(tmp_path / "download", "w") as file:
        file.writestr("Val/1.png", b"x")
    (member,), _ = archives.members([tmp_path / "download"])
    assert (member.below, member.open().read()) == ("Val/1.png", b"x")
    (tmp_path / "photograph").write_bytes(b"x")
    with pytest.raises(UserError, match="photograph is no archive"):
        archives.members([tmp_path / "photograph"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    with pytest.raises(UserError, match="no file or folder at .*a.zip"):
        archives.members([tmp_path / "a.zip"])
    assert archives.members([tmp_path]) == ([], [])


def test_another_kind_of_archive_under_a_zips_name(tmp_path):
    (tmp_path / "Val.zip").write_bytes(b"7z\xbc\xaf\x27\x1c rest")
    with pytest.raises(UserError, match="extract it with: 7z x '.*Val.zip' -o'.*Val' and give the folder"):
        archives.members([tmp_path / "Val.zip"])


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


def packed(path: Path, content: dict[str, bytes] | list[tuple[str, bytes]]) -> Path:
    """A zip or tar file."""
    items = list(content.items()) if isinstance(content, dict) else content
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file, pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *_, **__: None)  # of two members with one name
            for name, data in items:
                file.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, data in items:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def tile(kind: str, value: int) -> bytes:
    """An uncompressed tile of WHU Aerial or its label: all are of one size."""
    file = io.BytesIO()
    Image.new("RGB" if kind == "image" else "L", (512, 512), value).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize("archive", ["WHU.tar.gz", "WHU.zip"])
def test_an_archive_beside_its_own_extraction(tmp_path, archive):
    """Under the archive's name, and without that folder: the files are taken once. One that differs is refused."""
    content = {f"val/{kind}/{i}.tif": tile(kind, 255 * i) for kind in ("image", "label") for i in (0, 1)}
    results = []
    for i, folder in enumerate((None, "WHU", "")):
        source = tmp_path / f"dl{i}"
        source.mkdir()
        packed(source / archive, content)
        if folder is not None:
            for name, data in content.items():
                (path := source / folder / name).parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        made("whu_aerial", source, tmp_path / f"out{i}")
        results.append(tree(tmp_path / f"out{i}"))
    assert results[1:] == results[:1] * 2
    path.write_bytes(tile("label", 254))
    with pytest.raises(UserError, match=f"two different files for 1: .*{archive}: val/label/1.tif and {path}; "):
        made("whu_aerial", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize(
    "names",
    [
        ("val/label/\u00e9.tif", "val/label/e\u0301.tif"),
        ("val/label/a.tif", "val\\label\\a.tif"),
        ("val/label/a.tif", "val/label/A.tif"),
        ("val/label/a.tif", "VAL/label/a.tif"),
        ("val/label/a.tif", "./val/label/a.tif"),
        ("val/label/a.tif", "val/./label/a.tif"),
        ("val/label/a.tif", "val//label//a.tif"),
        ("val/label/a.tif", ".\\val/label/./a.tif"),
        ("val/label/a.tif", "val/label/a.tif"),
    ],
    ids=[
        *("accents", "slashes", "case", "case of a folder", "the same folder", "a dot", "empty folders", "dots"),
        "the very same",
    ],
)
def test_two_files_of_one_name(tmp_path, names, suffix):
    """Which of them would be written, or would replace the other on the disk, is not left to chance."""
    image = {"val/image/" + names[0].rpartition("/")[2]: tile("image", 0)}
    same = packed(tmp_path / f"same{suffix}", [*image.items(), *((name, tile("label", 0)) for name in names)])
    assert made("whu_aerial", same, tmp_path / "out").manifest["images"] == 1
    different = [(name, tile("label", value)) for name, value in zip(names, (0, 255), strict=True)]
    other = packed(tmp_path / f"other{suffix}", [*image.items(), *different])
    with pytest.raises(UserError, match="two different files for") as caught:
        made("whu_aerial", other, tmp_path / "none")
    alike = len({name.lower() for name in names}) == 1 and names[0] != names[1]  # only case is seen in the message
    assert ("is in the archive twice, as its members 2 and 3;" in str(caught.value)) is not alike
    assert not (tmp_path / "none").exists()


def test_two_files_of_one_name_on_the_disk(tmp_path):
    """Their names look alike: they are shown as what tells them apart."""
    for kind, name in (("image", "\u00e9"), ("label", "\u00e9"), ("label", "e\u0301")):
        path = tmp_path / f"val/{kind}/{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tile(kind, len(name)))
    with pytest.raises(UserError, match=r"two different files for .: '.*/e\\u0301.tif' and '.*/\\xe9.tif'; "):
        made("whu_aerial", tmp_path, tmp_path / "out")


def test_the_list_of_a_split_in_a_tar_file(tmp_path):
    """It is read before anything is unpacked; two that differ are refused."""
    content = {f"koeln/{kind}/koeln_{i}.tif": tile(kind[:-1], i) for kind in ("images", "labels") for i in (1, 2)}
    source = packed(tmp_path / "OpenEarthMap.tar.gz", {**content, "val.txt": b"koeln_2.tif\n"})
    assert made("openearthmap", source, tmp_path / "out").manifest["stems"] == ["koeln_2"]
    (tmp_path / "OpenEarthMap").mkdir()
    (tmp_path / "OpenEarthMap/val.txt").write_text("koeln_1.tif\n")
    with pytest.raises(UserError, match="different lists of the split: .*val.txt and .*val.txt"):
        made("openearthmap", tmp_path, tmp_path / "other")


def test_labels_whose_names_differ_in_case(tmp_path):
    source = packed(
        tmp_path / "a.zip", {"val/image/DJI_1.tif": tile("image", 0), "val/label/dji_1.TIF": tile("label", 0)}
    )
    assert made("whu_aerial", source, tmp_path / "out").manifest["stems"] == ["DJI_1"]
