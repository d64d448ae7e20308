"""`segearth predict`: many images to maps in a folder."""

import csv
import io
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from segearth import cli, weights
from segearth.models import SegEarth, factored
from segearth.models.attention import METHODS
from segearth.models.averaging import VIEWS
from segearth.models.flat import TorchOperations
from segearth.predictor import Predictor

WORDS = ["-c", "road; tree,forest; water", "--model", "tiny", "--long-side", "64"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing may depend on the working directory, the network or a cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def folder(elsewhere, tmp_path, photo):  # noqa: ARG001 (in that folder)
    """Three images in two folders, one of them damaged."""
    for place in ("in/a.png", "in/north/b.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(tmp_path / place)
    (tmp_path / "in" / "bad.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:200])
    return tmp_path / "in"


def predict(*arguments):
    return cli.main(["predict", *arguments])


def test_one_image(tmp_path, photo, capsys):
    Image.fromarray(photo).save("scene.png")
    assert predict("scene.png", *WORDS, "-o", "out", "--scores", "--colour", "forest=#010203") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "scene.labels.png",
        "scene.overlay.png",
        "scene.scores.npz",
        "scene.summary.json",
        "summary.csv",
    ]
    labels = np.asarray(Image.open("out/scene.labels.png"))
    summary = json.loads((tmp_path / "out/scene.summary.json").read_text(encoding="utf-8"))
    assert [row["pixels"] for row in summary["classes"]] == np.bincount(labels.ravel(), minlength=3).tolist()
    assert summary["classes"][1]["colour"] == [1, 2, 3]
    assert summary["image"] == "scene.png"
    assert summary["settings"]["weights_sha256"]
    with np.load("out/scene.scores.npz") as arrays:
        assert np.array_equal(arrays["scores"].argmax(axis=0), labels)
    rows = list(csv.DictReader((tmp_path / "out/summary.csv").open(encoding="utf-8")))
    assert [row["class"] for row in rows] == ["road", "tree", "water"]
    printed = capsys.readouterr()
    assert printed.err.splitlines()[0] == "1 picture, long side 64, 1 window, 3 classes, model tiny"
    assert "1 map written to out" in printed.out


def test_a_folder_with_an_image_that_fails(folder, capsys, monkeypatch):
    assert predict("in", *WORDS, "-o", "out") == 1
    printed = capsys.readouterr()
    assert "2 maps written to out, 1 failed" in printed.out
    assert "failed: the image in/bad.png is damaged" in printed.err
    assert "Traceback" not in printed.err
    out = folder.parent / "out"
    assert (out / "north" / "b.overlay.png").is_file()
    assert not list(out.glob("bad*"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    calls = []
    original = Predictor.predict

    def counted(self, path, *args, **kwargs):
        calls.append(path.name)
        return original(self, path, *args, **kwargs)

    monkeypatch.setattr(Predictor, "predict", counted)
    (out / "a.labels.png").unlink()
    assert predict("in", *WORDS, "-o", "out") == 1
    assert calls == ["a.png", "bad.png"]  # what is there is skipped, what is missing is made
    assert "1 map written to out, 1 was there, 1 failed" in capsys.readouterr().out
    kept = out / "north" / "b.overlay.png"
    assert kept.stat().st_mtime_ns == before[kept]


def test_a_folder_on_a_gpu(folder, capsys, monkeypatch, photo):
    """Images of one size are mapped together; what fails has its turn, and what is done is written at once."""
    for name in ("c.png", "d.png"):
        Image.fromarray(photo[::-1]).save(folder / "north" / name)
    assert predict("in", *WORDS, "-o", "one") == 1
    expected = capsys.readouterr()
    monkeypatch.setattr(factored, "operations_for", lambda _, __, scratch_mb=0.0: TorchOperations(scratch_mb))
    calls, whole, first = [], SegEarth.logits, folder.parent / "many" / "a.summary.json"

    def logits(self, image, *rest):
        calls.append((len(image), first.is_file()))
        return whole(self, image, *rest)

    monkeypatch.setattr(SegEarth, "logits", logits)
    assert predict("in", *WORDS, "-o", "many") == 1
    printed = capsys.readouterr()
    assert calls == [(1, False), (3, True)]
    assert printed.err.replace("many", "one").splitlines()[-1] == expected.err.splitlines()[-1]
    assert "4 maps written to many, 1 failed" in printed.out
    for name in ("a", "north/b", "north/c", "north/d"):
        ours, theirs = (np.asarray(Image.open(f"{out}/{name}.labels.png")) for out in ("many", "one"))
        assert (ours == theirs).mean() > 0.999
    (folder.parent / "many" / "north" / "c.labels.png").unlink()
    assert predict("in", *WORDS, "-o", "many") == 1
    assert calls[2:] == [(1, True)]  # what is there is skipped
    assert "1 map written to many, 3 were there, 1 failed" in capsys.readouterr().out


def test_a_gpu_with_too_little_memory_for_one_image_maps_the_others(folder, capsys, monkeypatch, photo):
    Image.fromarray(photo[:40]).save(folder / "north" / "c.png")
    monkeypatch.setattr(factored, "operations_for", lambda _, __, scratch_mb=0.0: TorchOperations(scratch_mb))
    whole = SegEarth.logits

    def logits(self, image, *rest):
        if image.shape[2] > 40:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return whole(self, image, *rest)

    monkeypatch.setattr(SegEarth, "logits", logits)
    assert predict("in", *WORDS, "-o", "out") == 1
    printed = capsys.readouterr()
    assert "1 map written to out, 3 failed" in printed.out
    assert (
        "not enough memory on cpu to map a at 64 × 44 pixels: use a smaller --long-side or --max-memory" in printed.err
    )
    assert "Traceback" not in printed.err


def test_all_done_needs_no_model(capsys, monkeypatch):
    assert predict("in/a.png", *WORDS) == 0
    monkeypatch.setitem(sys.modules, "segearth.loading", None)
    assert predict("in/a.png", *WORDS) == 0
    assert predict("in/a.png", *WORDS, "--resume") == 0
    assert "the map is in out already" in capsys.readouterr().out
    assert predict("in/a.png", *WORDS[2:], "-c", "road; tree") == 2
    assert "made with classes road; tree,forest; water, not road; tree" in capsys.readouterr().err


def test_a_killed_run_leaves_whole_maps(folder, capsys, monkeypatch):
    original = Predictor.predict

    def interrupted(self, path, *a, **k):
        if path.name == "b.jpg":
            raise KeyboardInterrupt
        return original(self, path, *a, **k)

    (folder / "bad.png").unlink()
    monkeypatch.setattr(Predictor, "predict", interrupted)
    assert predict("in", *WORDS) == 130
    assert "goes on" in capsys.readouterr().err
    assert sorted(path.name for path in (folder.parent / "out").iterdir()) == [
        "a.labels.png",
        "a.overlay.png",
        "a.summary.json",
    ]
    monkeypatch.setattr(Predictor, "predict", original)
    assert predict("in", *WORDS) == 0


def test_dry_run_writes_nothing(folder, capsys):
    (folder / "bad.png").write_bytes(b"")
    assert predict("in", *WORDS, "--dry-run") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ("in/a.png: 130 × 90 pixels, 1 window -> out/a.labels.png out/a.overlay.png out/a.summary.json")
    assert lines[1].startswith("in/bad.png: fails: the image in/bad.png is empty")
    assert len(lines) == 3
    assert not (folder.parent / "out").exists()


def test_a_list_on_standard_input_and_progress_as_json(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("in/a.png\nin/north/b.jpg\n"))
    assert predict("-", *WORDS, "--progress", "json", "--quiet") == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert events[-1] == {
        "image": "in/north/b.jpg",
        "images_done": 2,
        "images": 2,
        "windows_done": 2,
        "windows": 2,
        "seconds_left": 0.0,
    }
    assert [event["windows_done"] for event in events] == sorted(event["windows_done"] for event in events)


def test_threshold_background_and_preset(folder, capsys):
    assert predict("in/a.png", *WORDS, "--threshold", "1", "-o", "one") == 0
    assert np.unique(np.asarray(Image.open("one/a.labels.png"))).tolist() == [254]
    assert predict("in/a.png", *WORDS, "--threshold", "1", "--background", "forest", "-o", "two") == 0
    assert np.unique(np.asarray(Image.open("two/a.labels.png"))).tolist() == [1]
    capsys.readouterr()
    assert predict("in/a.png", "--preset", "loveda", *WORDS[2:], "-o", "three") == 0
    settings = json.loads((folder.parent / "three/a.summary.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["threshold"], settings["background"]) == (0.3, "background")
    assert "was tuned on its labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in/a.png", "--model", "tiny"], "--classes"),
        (["none.png", *WORDS], "no image at none.png"),
        (["in/bad.png", *WORDS], "in/bad.png is damaged"),
        (["in/a.png", *WORDS, "--threshold", "2"], "--threshold 2"),
        (["in/a.png", *WORDS, "--opacity", "-1"], "--opacity -1"),
        (["in/a.png", *WORDS, "--background", "sea"], "--background sea is none of the classes"),
        (["in/a.png", *WORDS, "--colour", "road"], "expected NAME=#RRGGBB"),
        (["in/a.png", *WORDS, "--colour", "sea=#000000"], "none of the classes"),
        (["in/a.png", *WORDS, "--colour", "road=red"], "is no colour"),
        (["in/a.png", "-c", "road; tree"], "--model tiny"),  # the real CLIP cannot be had here
        (["in/a.png", "--preset", "nowhere", "--model", "tiny"], "nowhere"),
        (["in/a.png", *WORDS, "--tresholds", "1"], "--threshold"),
        (["in/a.png", *WORDS, "--max-memory", "0"], "--max-memory 0"),
    ],
)
def test_mistakes(folder, capsys, arguments, message):
    try:
        code = predict(*arguments)
    except SystemExit as end:
        code = end.code
    assert code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    out = folder.parent / "out"
    assert not out.exists() or not list(out.iterdir())


def test_mistakes_are_found_before_torch_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert predict("none.png", *WORDS) == 2
    assert predict("in/a.png", "-c", "road;; tree", "--model", "tiny") == 2


def test_one_class_only_is_told(capsys):
    assert predict("in/a.png", "-c", "road, building", *WORDS[2:]) == 0
    assert "every pixel becomes 'road': put semicolons between classes (\"road; building\")" in capsys.readouterr().err


def test_a_model_from_a_file(folder, capsys):
    (folder.parent / "models").mkdir()
    shutil.copy(weights.packaged("tiny.safetensors"), "models/mine.safetensors")
    shutil.copy(weights.packaged("tiny.json"), "mine.json")
    own = ["-c", "road; tree", "--long-side", "64", "--model", "models/mine.safetensors"]
    assert predict("in/a.png", *own) == 2
    assert "--architecture" in capsys.readouterr().err
    assert predict("in/a.png", *own, "--architecture", "mine.json", "--upsampler", "bilinear") == 0
    settings = json.loads((folder.parent / "out/a.summary.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["model"], settings["upsampler"]) == ("mine.safetensors", "bilinear")
    own[-1] = str(folder.parent / "models/mine.safetensors")  # the same file by another path: nothing is to be done
    capsys.readouterr()
    assert predict("in/a.png", *own, "--architecture", "mine.json", "--upsampler", "bilinear") == 0
    assert "the map is in out already" in capsys.readouterr().out


def test_a_file_in_the_place_of_a_folder_stops_no_other_image(folder, capsys):
    (folder / "bad.png").unlink()
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "north").write_text("")
    (folder.parent / "out" / "foreign.summary.json").write_text('{"classes": [1], "image": "x"}')
    assert predict("in", *WORDS) == 1
    printed = capsys.readouterr()
    assert "failed: cannot write to the output folder out/north" in printed.err
    assert "1 map written to out, 1 failed" in printed.out
    assert (folder.parent / "out" / "summary.csv").read_text().count("a.png") == 3


def test_another_method_and_test_time_averaging(tmp_path, photo, capsys):
    Image.fromarray(photo).save("scene.png")
    assert predict("scene.png", *WORDS, "-o", "out", "--method", "NACLIP", "--tta", "flips") == 0
    settings = json.loads((tmp_path / "out/scene.summary.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["method"], settings["tta"]) == ("NACLIP", "flips")
    assert predict("scene.png", *WORDS, "-o", "out", "--method", "NACLIP") == 2
    assert predict("scene.png", *WORDS, "-o", "gem", "--method", "GEM") == 0
    assert predict("scene.png", *WORDS, "-o", "no", "--method", "Foo") == 2
    said = capsys.readouterr().err
    assert 'was made with tta "flips", not nothing: expected the same settings' in said
    assert "error: unknown method 'Foo': expected one of vanilla, " in said
    assert not (tmp_path / "no").exists()


def test_the_help_names_all_methods_and_views():
    """It is written without torch, so by hand."""
    described = {action.dest: action for action in cli.verb_parser("predict")._actions}
    assert f" {', '.join(METHODS)} (SegEarth)" in described["method"].help
    assert list(described["tta"].choices) == list(VIEWS)
    for verb in ("demo", "eval"):
        assert {"method", "tta"} <= {action.dest for action in cli.verb_parser(verb)._actions}
