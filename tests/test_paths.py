"""Names as people have them, and as they mistype them: read, or told in one line that every terminal can show."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segearth import cli
from segearth.batch.inputs import find_images
from segearth.datasets.archives import members
from segearth.errors import UserError
from segearth.images import check_image, read_image
from segearth.openmmlab.places import resolve
from segearth.paths import LONGEST_NAME, user_path

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
WORDS = ["-c", "road; tree", "--model", "tiny", "--long-side", "32"]
BYTES = os.fsdecode(b"caf\xe9.png")  # Latin-1
LINES = "two\nlines\x1b[2J.png"
MISTAKES = {
    "x" * 300 + ".png": "cannot be opened (File name too long)",
    "https://example.org//tiles/a.png?x=1": "https://example.org//tiles/a.png",
    "s3://bucket/a.tif": "s3://bucket/a.tif is an address",
    "ftp://example.org/a.tif": "example.org/a.tif",
    "~nobody-of-this-name/a.png": "cannot be opened (there is no user nobody-of-this-name; ",
    "a\0b.png": r"a\x00b.png cannot be opened (it holds a null character)",
    os.fsdecode(b"\xff\xfe.png"): r"\xff\xfe.png",
    "no\nsuch.png": r"no\nsuch.png",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path


@pytest.mark.parametrize("given", MISTAKES)
def test_mistakes_in_python(given, here):
    ways = [read_image, check_image, lambda path: find_images([path], here / "out")]
    for read in ways[: 2 if "://" in given else 3]:  # addresses may be scenes
        with pytest.raises(UserError) as caught:
            read(given)
        assert MISTAKES[given] in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("given", MISTAKES)
@pytest.mark.parametrize("verb", [["demo", "--image"], ["predict", *WORDS, "--"], ["info", "--no-cost", "--"]])
def test_mistakes_on_the_command_line(given, verb, capsys):
    if "://" in given:
        if verb[0] == "info":
            pytest.skip("it tells of addresses, too")
        verb = [*verb[:-1], "--as", "picture", "--"] if verb[0] == "predict" else verb
    assert cli.main([*verb, given]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert MISTAKES[given] in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "loveda", "--data-root", "~nobody-of-this-name/x"],
        ["prepare", "loveda", "~nobody-of-this-name/x"],
        ["eval", "loveda", "--data-root", "~nobody-of-this-name/x"],
        ["eval-all", "--upsamplers", "~nobody-of-this-name/x", "-o", "out"],
        ["predict", "x" * 300, *WORDS, "-o", "~nobody-of-this-name/x"],
    ],
)
def test_the_home_of_nobody(arguments, capsys):
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_home(here):
    Image.fromarray(PIXELS).save(here / "home/a.png")
    assert np.array_equal(read_image("~/a.png")[0], PIXELS)
    assert user_path("~/a.png") == here / "home/a.png"
    (here / "~").mkdir()
    Image.fromarray(255 - PIXELS).save("~/a.png")
    assert np.array_equal(read_image("~/a.png")[0], 255 - PIXELS), "a folder that is called so"
    assert [item.path for item in find_images(["~"], here / "out")] == [user_path("~/a.png")]


def test_names_that_no_terminal_should_obey(here, capsys):
    """Mapped, told and tabled like others."""
    for name in (BYTES, LINES):
        try:
            Image.fromarray(PIXELS).save(name)
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
    told = []
    for arguments in (["--dry-run"], ["--progress", "json"], ["--dry-run"]):
        assert cli.main(["predict", BYTES, LINES, *WORDS, "-o", "out", *arguments]) == 0
        captured = capsys.readouterr()
        told.append((captured.out + captured.err).splitlines())
    assert all(line.isprintable() for lines in told for line in lines)
    for shown in (r"caf\xe9.png", r"two\nlines\x1b[2J.png"):
        assert any(line.startswith(f"{shown}: 30 × 20 pixels") for line in told[0])
        assert any(line.startswith(f"{shown}: done already") for line in told[2])
    assert {json.loads(line)["image"] for line in told[1] if line.startswith("{")} == {BYTES, LINES}
    assert (here / "out" / os.fsdecode(b"caf\xe9.labels.png")).is_file()
    with (here / "out/summary.csv").open(encoding="utf-8", newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} == {r"caf\xe9.png", r"two\nlines\x1b[2J.png"}
    summary = json.loads((here / "out" / os.fsdecode(b"caf\xe9.summary.json")).read_text(encoding="utf-8"))
    assert summary["image"] == r"caf\xe9.png"


def test_a_list_of_names_that_are_no_utf8(here):
    try:
        Image.fromarray(PIXELS).save(BYTES)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (item,) = find_images(["-"], here / "out", [b"caf\xe9.png\n"])
    assert item.path.is_file()


def test_a_name_that_is_too_long_for_its_results(here):
    fits, long = (f"{'n' * (length - 4)}.png" for length in (LONGEST_NAME, LONGEST_NAME + 24))
    for name in (fits, long):
        Image.fromarray(PIXELS).save(name)
    assert cli.main(["predict", fits, *WORDS, "-o", "out"]) == 0
    with pytest.raises(UserError, match="is too long: expected at most .* bytes, .*; rename it"):
        find_images([long], here / "out")


@pytest.mark.parametrize("given", ["~nobody-of-this-name/x", "n" * 400])
def test_mistakes_in_other_paths_than_those_of_images(given, here, monkeypatch, capsys):
    """Nothing is written to a folder of such a name, and nothing ends in a traceback."""
    change = f"test_dataloader.dataset.data_root={given}"
    assert cli.main(["eval", "loveda", "--model", "tiny", "--cfg-options", change]) == 2
    assert cli.main(["eval", "loveda", "--model", "tiny", "--data-root", given]) == 2
    assert cli.main(["prepare", "loveda", "home", "-o", given]) == 1
    monkeypatch.setenv("SEGEARTH_HOME", given)
    assert cli.main(["weights", "list"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    expected = ("data", "folder of data", "output folder", "folder of SEGEARTH_HOME")
    for what, error in zip(expected, errors, strict=True):
        assert what in error
        assert given in error
    assert [path.name for path in here.iterdir()] == ["home"]
    with pytest.raises(UserError):
        members([Path(given)])
    with pytest.raises(UserError, match="cannot be opened"):
        resolve(given, here)
