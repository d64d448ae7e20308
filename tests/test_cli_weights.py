"""`segearth weights`: the table of weights, and what it says of copies that are there."""

import shutil
from pathlib import Path

import pytest

from segearth import downloads, weights
from segearth.cli import main
from segearth.clips import UPSAMPLER_FILES
from segearth.downloads.part import Content, Part
from segearth.errors import UserError
from segearth.hashes import sha256_of

STACK = UPSAMPLER_FILES["clip_jbu_stack_cocostuff"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache in an empty home, and no network."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def line(text: str, word: str) -> str:
    """The line that begins with the word, or with a state of one or two words before it."""
    (found,) = (one for one in text.splitlines() if word in one.split()[:3])
    return found


def test_list(cache, capsys):
    shutil.copy(weights.packaged("tiny_simfeatup.safetensors"), cache / "other.ckpt")
    (cache / STACK.name).write_bytes(b"x")  # not whole: as good as not there
    came = Part(cache / weights.IMAGE.name)
    came.begin(Content(3_003_372, None, None), keep=True)
    came.path.write_bytes(bytes(2_000_000))
    assert main(["weights", "list"]) == 0
    out = capsys.readouterr().out
    assert line(out, "tiny").split() == ["tiny", "18.7", "MB", "Apache-2.0", "SHA-256", "packaged"]
    assert "598.5 MB" in line(out, "clip-vit-b16")
    assert line(out, "xclip_jbu_one_million_aid").endswith("not here")
    assert line(out, "oem_koeln_50.tif").endswith("not here (2.0 MB of it are)")
    assert "SimFeatUp for OpenAI's ViT-B/16" in out
    assert "CC BY-NC 4.0: not for commercial use" in line(out, "metaclip-vit-b16")
    assert "  SHA-256  " in line(out, "metaclip-vit-b16")
    assert "cc, which one is not said" in line(out, "georsclip-vit-l14")
    assert "not stated by its publisher" in line(out, "xclip_jbu_one_million_aid")
    assert "  not known  not here" in line(out, "georsclip-vit-b32")
    assert line(out, "alip-vit-b32").endswith("not here, and no address is known")
    assert "clip_type='GeoRSCLIP' with vit_type='ViT-B/32' takes GELU (ViT-B-32) instead of quick GELU" in out
    assert "cache: ~/cache" in out
    starts = {text.index("  packaged") for text in out.splitlines() if text.endswith("  packaged")}
    assert len(starts) == 1  # columns are aligned


def test_path(capsys):
    assert main(["weights", "path", "tiny"]) == 0
    assert capsys.readouterr().out == f"{weights.packaged('tiny.safetensors')}\n"
    assert main(["weights", "path", "clip-vit-b16"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "segearth weights download clip-vit-b16" in captured.err
    assert main(["weights", "path", "nothing"]) == 2
    assert "tiny_simfeatup" in capsys.readouterr().err


def test_download(cache, monkeypatch, capsys):
    """A model's name means its CLIP and its upsampler; one that fails does not stop the other."""
    asked = []

    def download(file, target, *, advice, progress, timeout):  # noqa: ARG001
        asked.append((file.name, progress))
        if file.name.endswith(".safetensors"):
            raise UserError("no network")
        target.write_bytes(b"content")

    monkeypatch.setattr(downloads, "download", download)
    assert main(["weights", "download", "clip-vit-b16", "xclip_jbu_one_million_aid", "--quiet"]) == 1
    upsampler = UPSAMPLER_FILES["xclip_jbu_one_million_aid"].name
    assert asked == [("vit_base_patch16_clip_224.openai.safetensors", False), (upsampler, False)]
    captured = capsys.readouterr()
    assert captured.out == f"{cache / upsampler}\n"
    assert captured.err == "error: no network\n"
    asked.clear()
    assert main(["weights", "download", "tiny"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["weights", "download", "tiny", "nothing"]) == 2
    assert asked == []


def test_download_that_fails_says_why(capsys):
    assert main(["weights", "download", "oem_koeln_50.tif"]) == 2
    assert "SEGEARTH_OFFLINE" in capsys.readouterr().err


def test_verify(cache, tmp_path, monkeypatch, capsys):
    assert main(["weights", "verify"]) == 0
    out = capsys.readouterr().out
    assert [line(out, name).split()[0] for name in ("tiny", "tiny_simfeatup")] == ["ok", "ok"]

    mine = weights.File("mine.safetensors", hub=("o/r", "w.safetensors"))
    monkeypatch.setitem(UPSAMPLER_FILES, "mine", mine)
    whole = shutil.copy(weights.packaged("tiny.safetensors"), cache / mine.name)
    assert main(["weights", "verify"]) == 0
    assert f"SHA-256 {sha256_of(whole)}" in line(capsys.readouterr().out, "mine")

    blob = tmp_path / sha256_of(whole)  # as the hub's cache has it
    shutil.move(whole, blob)
    Path(whole).symlink_to(blob)
    assert main(["weights", "verify"]) == 0
    assert line(capsys.readouterr().out, "mine").startswith("ok")

    (cache / STACK.name).write_bytes(b"\0" * STACK.size)
    (cache / weights.IMAGE.name).write_bytes(b"half")
    assert main(["weights", "verify"]) == 1
    captured = capsys.readouterr()
    assert "expected 38ce7487" in line(captured.out, "clip_jbu_stack_cocostuff")
    assert "it has 4 bytes" in line(captured.out, "oem_koeln_50.tif")
    assert captured.err.startswith("2 damaged: delete")


def test_packaged_files_are_those_of_the_table():
    own = [file for file in weights.files().values() if isinstance(file, weights.Packaged)]
    assert len(own) == 2
    for file in own:
        assert sha256_of(weights.packaged(file.name)) == file.sha256


def test_interrupted(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "download", interrupted)
    assert main(["weights", "download", "oem_koeln_50.tif"]) == 130
    assert capsys.readouterr().err == "interrupted: what came is kept; the same command goes on\n"
