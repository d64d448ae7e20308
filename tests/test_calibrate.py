"""`segearth calibrate` on images with label maps, with a random tiny CLIP."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from mmdata import picture, random_tiny, tiny  # noqa: F401 (fixtures)
from PIL import Image

from segearth import cli
from segearth.loading import load_model
from segearth.metrics import mean_iou
from segearth.vocabulary import Vocabulary

CLASSES = "road; tree,forest; water"
pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def few(tmp_path, monkeypatch) -> Path:
    """Five pictures, whose brightness says the class, and their labels."""
    monkeypatch.chdir(tmp_path)
    for folder in ("few", "truth"):
        Path(folder).mkdir()
    for i in range(5):
        pixels = picture(40, 48, i)
        truth = np.digitize(pixels.mean(axis=2), [90, 150]).astype(np.uint8)
        truth[:3] = 255
        Image.fromarray(pixels).save(f"few/{i}.jpg")
        Image.fromarray(truth).save(f"truth/{i}.png")
    Path("names.txt").write_text("road\ntree\nwater\n")
    return tmp_path


def calibrate(*changes: str, classes: str = CLASSES) -> int:
    arguments = ["few", "--labels", "truth", "-c", classes, "--model", "tiny", "--long-side", "0", "-o", "out.txt"]
    return cli.main(["calibrate", *arguments, *changes])


def miou(vocabulary: Vocabulary) -> float:
    """Of all images together, in percent, by prediction."""
    predictor = load_model("tiny", vocabulary)
    found = [predictor.predict(f"few/{i}.jpg", None).labels.ravel() for i in range(5)]
    truth = [np.asarray(Image.open(f"truth/{i}.png")).ravel() for i in range(5)]
    return 100 * mean_iou(np.concatenate(found), np.concatenate(truth), 3)


@pytest.mark.usefixtures("few")
def test_the_file_gives_in_prediction_what_is_printed(capsys):
    assert calibrate() == 0
    out = capsys.readouterr().out
    before, fitted, left_out = map(float, re.findall(r"(?:before|of them|leave-one-out) (\d+\.\d\d)", out))
    made = Vocabulary.from_file("out.txt")
    assert made.classes == Vocabulary.of(CLASSES).classes
    assert miou(Vocabulary.of(CLASSES)) == pytest.approx(before, abs=0.006)
    assert miou(made) == pytest.approx(fitted, abs=0.006)
    assert fitted > before
    assert left_out < fitted
    assert ("leave-one-out is not better than before" in out) == (left_out <= before)
    text = Path("out.txt").read_text()
    assert text.startswith("# calibrated on labels by segearth calibrate")
    assert re.search(r"# model tiny, SHA-256 [0-9a-f]{64}\n", text)
    assert "# 5 images, labels of truth, long side of each image, method SegEarth, upsampler " in text
    assert "0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg" in text
    assert f"before {before:.2f}" in text
    assert all(None not in (threshold, scale) for threshold, scale in zip(made.thresholds, made.scales, strict=True))


@pytest.mark.usefixtures("few")
def test_colours_stay_and_the_quiet_say_nothing(capsys):
    assert calibrate("-q", classes="road | colour=#102030; tree; water") == 0
    assert capsys.readouterr().err == ""
    assert Vocabulary.from_file("out.txt").colours == ((16, 32, 48), None, None)


def rgb_label() -> None:
    Image.new("RGB", (48, 40)).save("truth/2.png")


def small_label() -> None:
    Image.new("L", (40, 40)).save("truth/2.png")


def large_value() -> None:
    Image.new("L", (48, 40), 3).save("truth/2.png")


def no_label() -> None:
    Path("truth/2.png").unlink()


def nothing_known() -> None:
    Image.new("L", (48, 40), 255).save("truth/2.png")


def folder_there() -> None:
    Path("out").mkdir()


def table_of_a_set() -> None:
    Path("data/LoveDA/img_dir").mkdir(parents=True)
    Path("few").rename("data/LoveDA/img_dir/val")
    Path("few").symlink_to("data/LoveDA/img_dir/val")


@pytest.mark.parametrize(
    ("spoil", "changes", "message"),
    [
        (None, ["--limit", "4"], "4 labelled images: expected at least 5"),
        (nothing_known, [], "4 labelled images: expected at least 5"),
        (None, ["-c", "road; tree | threshold=0.3; water"], "already sets thresholds or scales of classes"),
        (None, ["--split", "train"], "--split is for a config"),
        (None, ["--config", "loveda"], "images and a config given: expected one of them"),
        (None, ["--labels", "few", "--label-suffix", ".jpg"], "is image and label map at once"),
        (None, ["--labels", "nowhere"], "no folder at --labels nowhere"),
        (folder_there, ["-o", "out"], "cannot write out, which is a folder"),
        (None, ["-c", "names.txt", "-o", "names.txt"], "--out names.txt is the class file itself"),
        (no_label, [], "no label map at truth/2.png for few/2.jpg"),
        (rgb_label, [], "is RGB: expected one channel of 8 bits"),
        (small_label, [], "has 40 × 40 pixels, its image few/2.jpg 48 × 40"),
        (large_value, [], "has the value 3: expected 0 to 2"),
        (table_of_a_set, [], "lies in the folder that the table of LoveDA is made of"),
    ],
)
@pytest.mark.usefixtures("few")
def test_what_cannot_be_is_one_sentence_and_nothing_is_written(spoil, changes, message, capsys):
    if spoil is not None:
        spoil()
    assert calibrate(*changes) == 2
    assert message in capsys.readouterr().err
    assert not Path("out.txt").exists()
