import json
import sys

import numpy as np
import pytest
from PIL import Image
from test_images import BAD, bad_files

import demo
from segearth import weights
from segearth.errors import UserError
from segearth.predictor import Predictor


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing may depend on the working directory, the network or a cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "cache"))


def test_drawn_scene(tmp_path, capsys):
    assert demo.main(["--model", "tiny", "--out", "out"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["labels.png", "overlay.png", "summary.json"]
    labels = Image.open(tmp_path / "out" / "labels.png")
    scene = Image.open(weights.packaged("scene.jpg"))
    assert labels.mode == "P"
    assert labels.size == scene.size
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    counts = np.bincount(np.asarray(labels).ravel(), minlength=8)
    assert [row["pixels"] for row in summary["classes"]] == counts.tolist()
    assert sum(row["percent"] for row in summary["classes"]) == pytest.approx(100, abs=0.01)
    assert 0.5 <= summary["miou"] <= 1
    overlay = Image.open(tmp_path / "out" / "overlay.png")
    assert overlay.width == scene.width
    assert overlay.height > scene.height
    printed = capsys.readouterr().out
    assert "mIoU 0." in printed
    assert "bareland" in printed
    assert "--model clip-vit-b16" in printed  # how to go on, with the size of the download
    assert "604 MB" in printed


def test_memory_is_bounded_and_changes_nothing(tmp_path, capsys):
    for memory in ("20", "400"):
        options = ["--long-side", "300", "--out", memory, "--max-memory", memory]
        assert demo.main(["--model", "tiny", *options]) == 0
    few, many = ((tmp_path / memory / "labels.png").read_bytes() for memory in ("20", "400"))
    assert few == many
    assert demo.main(["--model", "tiny", "--max-memory", "0"]) == 2
    assert "--max-memory 0.0: expected a number of megabytes" in capsys.readouterr().err


def test_without_network_it_says_so_and_goes_on_with_tiny(tmp_path, capsys):
    assert demo.main(["--out", "out", "--long-side", "100"]) == 0
    err = capsys.readouterr().err
    assert "neither cached nor reachable" in err
    assert "NOT OpenAI's CLIP" in err
    assert json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["model"] == "tiny"


def test_choice_of_the_model(monkeypatch, tmp_path, capsys):
    """Cached: used. Reachable: fetched, the small file first. A download that fails: tiny, and why."""
    asked, fetched = [], []
    monkeypatch.setattr(weights, "reachable", lambda file: asked.append(file.name) or True)
    monkeypatch.setattr(weights, "fetch", lambda file: fetched.append(file.name))
    assert demo.choose_model() == "clip-vit-b16"
    assert asked == ["xclip_jbu_one_million_aid.ckpt"]  # one request
    assert fetched == ["xclip_jbu_one_million_aid.ckpt", "vit_base_patch16_clip_224.openai.safetensors"]

    def fail(_):
        raise UserError("Could not download: a web page came instead")

    monkeypatch.setattr(weights, "fetch", fail)
    assert demo.choose_model() == "tiny"
    assert "a web page came instead" in capsys.readouterr().err
    monkeypatch.setattr(weights, "find", lambda file: tmp_path)
    asked.clear()
    assert demo.choose_model() == "clip-vit-b16"
    assert asked == []


def test_printed_command_repeats_the_users_arguments(tmp_path, photo, capsys):
    Image.fromarray(photo).save(tmp_path / "my image.png")
    assert demo.main(["--model", "tiny", "--image", "my image.png", "--classes", "road; sea", "--long-side", "64"]) == 0
    assert "demo.py --model clip-vit-b16 --image 'my image.png' --classes 'road; sea'" in capsys.readouterr().out


def test_own_image_and_classes(tmp_path, photo, capsys):
    Image.fromarray(photo).convert("RGBA").save(tmp_path / "a.png")
    (tmp_path / "cls.txt").write_text("road\ntree,forest\n")
    for classes in ("road; tree,forest", "cls.txt"):
        assert (
            demo.main(["--model", "tiny", "--image", "a.png", "--classes", classes, "--long-side", "0", "--out", "o"])
            == 0
        )
        summary = json.loads((tmp_path / "o" / "summary.json").read_text(encoding="utf-8"))
        assert [row["names"] for row in summary["classes"]] == [["road"], ["tree", "forest"]]
        assert summary["miou"] is None
        assert (summary["width"], summary["height"]) == (130, 90)
    captured = capsys.readouterr()
    assert "alpha" in captured.err
    assert "mIoU" not in captured.out


@pytest.mark.parametrize("name", BAD)
def test_bad_images(tmp_path, capsys, name):
    path, message = bad_files(tmp_path)[name]
    assert demo.main(["--model", "tiny", "--image", str(path), "--out", "out"]) == 2
    assert_one_sentence(capsys, tmp_path, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", " "], "no classes"),
        (["--classes", "road; tree, Road"], "duplicate"),
        (["--classes", "none.txt"], "no class file"),
        (["--model", "nothing"], "segearth weights list describes"),
        (["--device", "cuda"], "sees 0 CUDA devices"),
        (["--device", "abacus"], "unknown device"),
        (["--long-side", "-3"], "--long-side -3"),
        (["--long-side", "99999999"], "--long-side 99999999 makes the image"),
        (["--classes", "/"], "is a folder: expected a text file"),
        (["--model", "clip-vit-b16"], "--model tiny"),
        (["--image", "oem_koeln_50.tif"], "oem_koeln_50.tif"),
    ],
)
def test_mistakes(tmp_path, capsys, monkeypatch, arguments, message):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert demo.main(["--model", "tiny", "--out", "out", *arguments]) == 2
    assert_one_sentence(capsys, tmp_path, message)


def test_output_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert demo.main(["--model", "tiny", "--out", "file"]) == 2
    assert "cannot write to the output folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        demo.main(["--precision", "fp8"])
    assert exit_.value.code == 2


def test_interrupted(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict", interrupt)
    assert demo.main(["--model", "tiny", "--out", "out"]) == 130
    assert list((tmp_path / "out").iterdir()) == []


def test_mistakes_are_found_before_torch_is_loaded(monkeypatch):
    """They cost no ten seconds of imports."""
    monkeypatch.setitem(sys.modules, "segearth.loading", None)  # importing it would fail
    assert demo.main(["--model", "tiny", "--image", "none.png", "--out", "out"]) == 2


def assert_one_sentence(capsys, tmp_path, message):
    err = capsys.readouterr().err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in err
    out = tmp_path / "out"
    assert not out.exists() or list(out.iterdir()) == []
