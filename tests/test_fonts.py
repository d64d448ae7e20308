import os
import shutil
import subprocess
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFont

from segearth import fonts
from segearth.drawing import with_legend
from segearth.errors import UserNotice

MADE_UP = "\U0010fff0\U0010fff1"  # private use: no font has a glyph for it
COLOURS = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)


@pytest.fixture
def fontconfig(tmp_path, monkeypatch):
    """Puts an fc-match in place of this machine's, which prints what it is given; returns it and its calls."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    calls.touch()
    monkeypatch.setattr(fonts, "_font_files", {})

    def say(output: str, code: int = 0) -> None:
        (tmp_path / "output").write_text(output, encoding="utf-8")
        script = folder / "fc-match"
        script.write_text(f'#!/bin/sh\necho "$4" >> "{calls}"\ncat "{tmp_path / "output"}"\nexit {code}\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    return say, lambda: calls.read_text().splitlines()


@pytest.fixture(scope="module")
def installed():
    """A font of this machine with accents, which Pillow's own lacks."""
    if shutil.which("fc-match") is None:
        pytest.skip("no fontconfig here")
    path = subprocess.run(["fc-match", "-f", "%{file}", ":charset=ea"], capture_output=True, text=True).stdout
    if not path.endswith((".ttf", ".otf")) or not fonts.can_draw(ImageFont.truetype(path, 20), "forêt"):
        pytest.skip("no font with accents here")
    return path


def drawn(names):
    return np.asarray(with_legend(Image.new("RGB", (480, 480)), names, COLOURS[: len(names)]))


def test_pillows_own_font():
    own = ImageFont.load_default(16)
    assert fonts.can_draw(own, "Low vegetation (2), 50 %\u200d")
    assert fonts.can_draw(own, "")
    for text in (MADE_UP, "森林", "\ue000", "tree \U0001f332"):
        assert not fonts.can_draw(own, text)


def test_ascii_names_do_not_ask_fontconfig(fontconfig):
    say, calls = fontconfig
    say("")
    drawn(["road", "tree", "water"])
    assert fonts.fonts_for([], 14) == []
    assert calls() == []


@pytest.mark.parametrize(
    ("output", "code"),
    [("", 0), ("", 1), ("0 /no/such/font.ttf\nnonsense\n", 0), (f"0 {__file__}\n", 0)],
    ids=["nothing", "failure", "no such file", "no font"],
)
def test_without_a_font_the_number_stands_in_the_legend(fontconfig, output, code):
    say, calls = fontconfig
    say(output, code)
    with pytest.warns(UserNotice, match="10fff0.*: the legend shows 1 instead.*; install") as told:
        picture = drawn(["road", MADE_UP, "water"])
    assert len(told) == 1
    assert np.array_equal(picture, drawn(["road", "1", "water"]))
    assert calls() == ["sans-serif:charset=10fff0 10fff1"]


def test_fontconfig_is_asked_once_a_script(fontconfig):
    say, calls = fontconfig
    say("")
    assert fonts.fonts_for(["森林", "road", "水", "дорога"], 14)[::2] == [None, None]
    fonts.fonts_for(["田", "лес"], 14)
    assert calls() == ["sans-serif:charset=6797 68ee", "sans-serif:charset=430 433 434 43e 440"]


def test_without_fontconfig(monkeypatch, tmp_path):
    monkeypatch.setattr(fonts, "_font_files", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fonts.fonts_for(["forêt"], 14) == [None]


def test_a_font_that_fontconfig_knows_is_used(fontconfig, installed):
    say, calls = fontconfig
    say(f"0 /no/such/font.ttf\n65536 {installed}\n")
    found = fonts.fonts_for(["forêt", MADE_UP, "road"], 14)
    assert found[0].path == installed
    assert found[1] is None
    assert found[2].path != installed  # not for all names: Pillow's own is for those that it can draw
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(["forêt", "road", "water"])
    assert {font.path for font in fonts.fonts_for(["forêt", "road", "water"], 14)} == {installed}
    assert len(calls()) == 2  # accents, and what nobody has


def test_letters_that_combine_need_a_pillow_that_combines_them(monkeypatch, installed):
    monkeypatch.setattr(fonts.features, "check", lambda name: False)
    font = ImageFont.truetype(installed, 14)
    assert fonts.can_draw(font, "for\u00eat")
    assert not fonts.can_draw(font, "fore\u0302t")
