"""The table itself, and where files are found; a request is an error here."""

import ast
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants, file_download
from safetensors.torch import save_file

from segearth import clips, downloads, hashes, weights
from segearth.checkpoints import read_state_dict
from segearth.downloads import connection
from segearth.errors import UserError, called_as
from segearth.files import File
from segearth.hashes import git_blob_of, sha256_of
from segearth.weights import Packaged

UNPINNED = File("mine.safetensors", hub=("o/r", "w.safetensors"), about_size=599_000_000)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Empty caches; a request is an error."""

    def no_request(*_args, **_options):
        raise AssertionError("a request was made")

    monkeypatch.setattr(connection, "_in_background", no_request)
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "home"))
    for module in (constants, file_download):  # the second until huggingface_hub 0.24
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A row of the table for a file that the test can make."""
    source = tmp_path / "source"
    source.write_bytes(b"hello\n")
    file = File("small.ckpt", "https://example.org/small.ckpt", size=6, git_blob=git_blob_of(source))
    monkeypatch.setitem(clips.UPSAMPLER_FILES, "small", file)
    return file


def hub_copy(root, file, revision="0123456789abcdef", main="0123456789abcdef"):
    """Random weights where the hub's own client, and so open_clip, puts this file."""
    repository, name = file.hub
    folder = root / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(main)
    save_file({"w": torch.rand(100)}, snapshot / name)
    return snapshot / name


DOWNLOADED = {name: file for name, file in weights.files().items() if isinstance(file, File)}


@pytest.mark.parametrize("key", DOWNLOADED)
def test_rows_of_files(key):
    file = DOWNLOADED[key]
    assert file.name.startswith(key) or key in clips.CLIPS
    assert file.address.startswith("https://") == file.has_place
    assert file.licence
    assert file.about or clips.CLIPS[key].about
    assert file.pinned or file.hub or file.member or not file.has_place
    assert not (file.size and file.about_size)
    assert file.revision == "main" or re.fullmatch("[0-9a-f]{40}", file.revision)
    assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert file.git_blob is None or re.fullmatch("[0-9a-f]{40}", file.git_blob)


def test_the_size_of_the_real_clip_is_that_of_its_architecture():
    """The header of safetensors, and 302 tensors of float32: nothing else is in that file."""
    open_clip = pytest.importorskip("open_clip")
    row = clips.CLIPS["clip-vit-b16"]
    state = open_clip.create_model(row.architecture, device="meta").state_dict()
    header, end = {}, 0
    for name, tensor in sorted(state.items()):
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + 4 * tensor.numel()]}
        end += 4 * tensor.numel()
    length = len(json.dumps(header, separators=(",", ":")))
    assert len(state) == 302
    assert 8 + length + -length % 8 + end == row.file.size


def test_unknown_names():
    with pytest.raises(UserError, match=r"'nothing'.*xclip_jbu_one_million_aid"):
        weights.find("nothing")


def test_cache_dir(monkeypatch, tmp_path):
    assert weights.cache_dir() == tmp_path / "home"
    monkeypatch.setenv("SEGEARTH_HOME", "~/somewhere")
    assert weights.cache_dir() == Path.home() / "somewhere"
    monkeypatch.delenv("SEGEARTH_HOME")
    monkeypatch.setenv("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert weights.cache_dir() == tmp_path / "caches" / "segearth"
    monkeypatch.delenv("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    assert weights.cache_dir() == Path.home() / ".cache" / "segearth"


def test_find_in_the_cache(cache, small):
    assert weights.find("small") is None
    path = cache / small.name
    path.write_bytes(b"hello\n")
    assert weights.find("small") == weights.find(small) == weights.fetch("small") == path
    path.write_bytes(b"hell")
    assert weights.find("small") is None  # interrupted
    path.write_bytes(b"jello\n")
    with pytest.raises(UserError, match=f"{path} is damaged.*{git_blob_of(path)}.*{small.git_blob}.*delete it"):
        weights.find("small")


def test_a_large_file_is_hashed_once(cache, tmp_path, monkeypatch):
    """What is remembered holds as long as its size and time; damage is found as of any other."""
    monkeypatch.setattr(hashes, "LARGE_BYTES", 5)
    source, hashed = tmp_path / "source", []
    source.write_bytes(b"hello\n")
    file = File("large.ckpt", "https://example.org/large.ckpt", size=6, sha256=sha256_of(source))
    monkeypatch.setattr(hashes, "sha256_of", lambda path: hashed.append(path) or sha256_of(path))
    path = cache / file.name
    path.write_bytes(b"hello\n")
    assert weights.find(file) == weights.find(file) == path
    assert hashed == [path, path]  # so new a file may change again within the same tick of the clock
    os.utime(path, (1, 1))
    hashed.clear()
    assert weights.find(file) == weights.find(file) == path
    assert hashed == [path]
    path.write_bytes(b"jello\n")
    os.utime(path, (2, 2))
    for _ in range(2):
        with pytest.raises(UserError, match="is damaged"):
            weights.find(file)
    assert hashed == [path, path]
    (note,) = (cache / "hashes").glob("*.json")
    note.write_text("{")  # a damaged note is none
    with pytest.raises(UserError, match="is damaged"):
        weights.find(file)
    shutil.rmtree(cache / "hashes")
    (cache / "hashes").touch()  # a memory that cannot be written
    with pytest.raises(UserError, match="is damaged"):
        weights.find(file)


def test_a_downloaded_file_is_not_hashed_again(cache, monkeypatch):
    monkeypatch.setattr(hashes, "LARGE_BYTES", 5)
    monkeypatch.setattr(downloads, "download", lambda file, target, **_: target.write_bytes(b"hello\n"))
    known = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    weights.fetch(File("large.ckpt", "https://example.org/large.ckpt", size=6, sha256=known))
    monkeypatch.setattr(hashes, "sha256_of", None)
    assert weights.hash_of(cache / "large.ckpt") == known


def test_a_file_without_a_place():
    alip = clips.CLIPS["alip-vit-b32"].file
    assert not weights.reachable(alip)
    with pytest.raises(UserError, match=r"no address of it could be confirmed.*get it from its authors and put"):
        weights.fetch(alip)


def test_find_in_the_cache_of_the_hub(cache, tmp_path):
    file = replace(UNPINNED, about_size=0)
    assert weights.find(file) is None
    path = hub_copy(tmp_path / "hub", file)
    assert weights.find(file) == weights.fetch(file) == path
    mine = cache / file.name
    mine.write_bytes(path.read_bytes()[:-1])
    assert weights.find(file) == path  # mine is interrupted
    save_file({"w": torch.rand(3)}, mine)
    assert weights.find(file) == mine


def test_a_pinned_revision_in_the_cache_of_the_hub(cache, tmp_path):
    """It is found by its commit, whatever the newest one is by now; else the newest one, if its hash is the right one.

    Without a known hash, another commit than the one that was asked for may hold another file.
    """
    file = File("mine.safetensors", hub=("o/r", "w.safetensors"), revision="1" * 40)
    path = hub_copy(tmp_path / "hub", file, "1" * 40)
    assert list(weights.copies(file)) == [cache / file.name, path]
    shutil.rmtree(tmp_path / "hub")
    path = hub_copy(tmp_path / "hub", file, "2" * 40, main="2" * 40)
    assert list(weights.copies(file)) == [cache / file.name]
    assert weights.find(file) is None
    assert weights.find(clips.resolve(f"hf://o/r@{'1' * 40}/w.safetensors", "ViT-B-16").file) is None
    assert weights.find(clips.resolve("hf://o/r/w.safetensors", "ViT-B-16").file) == path
    pinned = replace(file, git_blob=git_blob_of(path))
    assert list(weights.copies(pinned)) == [cache / file.name, path]
    assert weights.find(pinned) == path
    assert weights.find(replace(pinned, size=7)) is None


def test_a_stand_in_of_another_size_is_not_found(cache):
    """Also where the size is known by about alone, and the file is complete in itself."""
    save_file({"w": torch.rand(3)}, cache / UNPINNED.name)
    assert UNPINNED.about_size
    assert weights.find(UNPINNED) is None


def test_another_version_in_the_cache_of_the_hub_is_passed_over(cache, tmp_path):
    """It is another program's, and no damage of ours."""
    file = File("mine.safetensors", hub=("o/r", "w.safetensors"), revision="1" * 40, sha256="0" * 64)
    path = hub_copy(tmp_path / "hub", file, "2" * 40, main="2" * 40)
    assert list(weights.copies(file)) == [cache / file.name, path]
    assert weights.find(file) is None


def test_a_failed_fetch_says_what_to_do(monkeypatch, cache, small):
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    (cache / small.name).write_bytes(b"hell")
    with pytest.raises(UserError) as caught:
        weights.fetch("small")
    assert f"put the file at {cache / small.name} yourself (what is there now is not complete: 4 bytes)" in str(
        caught.value
    )
    with pytest.raises(UserError, match=r'598\.5 MB.*model="tiny"'):
        weights.fetch("clip-vit-b16")
    with pytest.raises(UserError) as caught:
        weights.fetch("oem_koeln_50.tif")
    assert 'model="tiny"' not in str(caught.value)


def test_a_failed_fetch_of_an_upsampler_by_name_advises_one_that_needs_none(monkeypatch):
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    for name in ("simfeatup-kernels", "xclip_jbu_one_million_aid"):
        with pytest.raises(UserError, match=r'needs no download: upsampler="bilateral"') as caught:
            weights.upsampler_file(name, clips.CLIPS["tiny"])
        assert "tiny" not in str(caught.value)
        with called_as("segearth predict"), pytest.raises(UserError, match=r"download: --upsampler bilateral\.$"):
            weights.upsampler_file(name, clips.CLIPS["tiny"])
    with pytest.raises(UserError, match='model="tiny"'):  # the CLIP's own: the CLIP would be next
        weights.upsampler_file("default", clips.CLIPS["clip-vit-b16"])


def test_fetch_downloads_into_the_cache(monkeypatch, cache, small):
    def download(file, target, *, advice, progress, timeout):
        assert (file, target, progress, timeout) == (small, cache / small.name, False, 2.0)
        assert advice

    monkeypatch.setattr(downloads, "download", download)
    assert weights.fetch("small", progress=False, timeout=2.0) == cache / small.name


def test_packaged(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny.json").write_text("{}")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    path = tmp_path / "data" / "tiny.json"
    assert weights.packaged("tiny.json") == path
    assert weights.find(Packaged("tiny.json")) == weights.fetch(Packaged("tiny.json")) == path
    with pytest.raises(UserError, match=r"lacks .*absent\.json.*install segearth again"):
        weights.packaged("absent.json")


LIGHT = ["errors.py", "files.py", "json_files.py", "downloads/*.py", "weights.py", "clips/*.py", "hashes.py"]


@pytest.mark.parametrize("module", LIGHT)
def test_imports_are_light(module):
    """At import: the standard library and each other, nothing else."""
    source = "\n".join(path.read_text() for path in Path(str(resources.files("segearth"))).glob(module))
    for node in ast.parse(source).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] in {*sys.stdlib_module_names, "segearth"}, name


def test_the_published_upsampler_is_the_one_in_the_table():
    root = os.environ.get("SEGEARTH_TEST_DATA")
    path = Path(root or "", "weights", "clip_jbu_stack_cocostuff.ckpt")
    if root is None or not path.is_file():
        pytest.skip("SEGEARTH_TEST_DATA names no folder with weights/clip_jbu_stack_cocostuff.ckpt")
    row = clips.UPSAMPLER_FILES["clip_jbu_stack_cocostuff"]
    assert (path.stat().st_size, sha256_of(path)) == (row.size, row.sha256)
    state = read_state_dict(path)
    assert state["upsampler.fixup_proj.1.weight"].shape == (512, 512, 1, 1)
