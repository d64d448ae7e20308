"""Hashes and lengths of files."""

import pytest
import torch
from safetensors.torch import save_file

from segearth.files import File, is_whole_safetensors
from segearth.hashes import git_blob_of, sha256_of


def test_hashes_of_known_content(tmp_path):
    empty, hello = tmp_path / "empty", tmp_path / "hello"
    empty.write_bytes(b"")
    hello.write_bytes(b"hello\n")
    assert git_blob_of(empty) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # what git itself gives
    assert git_blob_of(hello) == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert sha256_of(empty) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_damage_names_both_hashes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert File("file").damage(path) is None
    assert File("file", git_blob="ce013625030ba8dba906f756967f9e9ca394464a").damage(path) is None
    problem = File("file", git_blob="0" * 40).damage(path)
    assert problem is not None
    assert "ce013625" in problem
    assert "0" * 40 in problem
    assert "expected " + "0" * 64 in str(File("file", sha256="0" * 64).damage(path))


def test_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert File("file", size=5).is_complete(path)
    assert not File("file", size=6).is_complete(path)
    assert File("file.bin").is_complete(path)  # nothing is known that could tell
    assert not File("file.safetensors").is_complete(path)


@pytest.mark.parametrize("cut", [1, 40, 100])
def test_whole_safetensors(tmp_path, cut):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.rand(10), "b": torch.rand(3, 3)}, path, metadata={"format": "pt"})
    assert is_whole_safetensors(path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert not is_whole_safetensors(path)


NESTED = (10**5).to_bytes(8, "little") + b"[" * 10**5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02",
        NESTED,
        b"\x02" + bytes(7) + b"{}",
        b"\xff" * 20,
        b"<html>" * 99,
    ],
)
def test_not_safetensors(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert not is_whole_safetensors(path)


def test_address_of_a_hub_file_honours_the_mirror(monkeypatch):
    file = File("w", hub=("owner/repo", "w.safetensors"))
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert file.address == "https://huggingface.co/owner/repo/resolve/main/w.safetensors"
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert file.address == "https://mirror.example/owner/repo/resolve/main/w.safetensors"
    assert File("w", url="https://example.org/w").address == "https://example.org/w"


def test_address_of_a_pinned_revision(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    file = File("w", hub=("owner/repo", "w.safetensors"), revision="0" * 40)
    assert file.address == f"https://huggingface.co/owner/repo/resolve/{'0' * 40}/w.safetensors"


def test_sizes_that_a_file_may_have():
    assert [size for size in (9, 10, 11) if File("w", size=10, about_size=100).may_have(size)] == [10]
    about = File("w", about_size=599_000_000)
    assert about.may_have(598_516_980)  # three digits are rounded
    assert not about.may_have(299_000_000)  # of half the precision
    assert not about.may_have(10_000_000_000_000)
    assert File("w").may_have(7)  # nothing is known that could tell


def test_size_text():
    assert File("w", size=5_690_776).size_text == "5.7 MB"
    assert File("w", about_size=599_000_000).size_text == "about 599 MB"
