"""Fonts for legends: Pillow's default font, or one found by fontconfig for names that the default cannot draw.

Pillow's default font has little more than ASCII: it can draw neither "forêt" nor "森林".
"""

from __future__ import annotations

import subprocess
import unicodedata
from collections.abc import Sequence

from PIL import ImageFont, features

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_TIMEOUT_S = 5  # fc-match takes some 50 ms, and more when it reads new fonts
_MOST_FILES = 12  # of those that fontconfig returns, the best first; Pillow cannot read all kinds
_MISSING = "\uffff"  # not a character: every font draws its symbol for a missing glyph
_font_files: dict[str, list[tuple[str, int]]] = {}  # script -> font files, so that fontconfig runs once for each


def fonts_for(names: Sequence[str], size: int) -> list[Font | None]:
    """A font for each name that has its glyphs; one font for all names if possible; None where no font has them.

    Args:
        names: any Unicode text.
        size: size of the text in pixels.
    """
    default = ImageFont.load_default(size)
    fonts = [default if can_draw(default, name) else _installed(name, default, size) for name in names]
    for font in fonts:  # the whole legend looks the same
        if font is not None and all(can_draw(font, name) for name in names):
            return [font] * len(names)
    return fonts


def can_draw(font: Font, text: str) -> bool:
    """Whether a font has a glyph for every visible character of a text, and Pillow can lay them out."""
    if not isinstance(font, ImageFont.FreeTypeFont):  # a Pillow without FreeType has a font of bitmaps
        return text.isascii()
    return not _lacking(font, text) and (not _is_complex(text) or _can_shape())


def _lacking(font: ImageFont.FreeTypeFont, text: str) -> str:
    """The visible characters of a text for which a font has no glyph."""
    missing = _glyph(font, _MISSING)
    # Spaces and control characters (such as joiners and variation selectors) need no glyph.
    visible = {c for c in text if unicodedata.category(c) not in ("Zs", "Cc", "Cf") and c not in "\ufe0e\ufe0f"}
    return "".join(sorted(c for c in visible if _glyph(font, c) == missing))


def _glyph(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    """Size and pixels of the glyph of a character."""
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _is_complex(text: str) -> bool:
    """Whether letters run from right to left, or combine."""
    return any(unicodedata.bidirectional(c) in ("R", "AL") or unicodedata.category(c) in ("Mc", "Mn") for c in text)


def _can_shape() -> bool:
    """Whether this Pillow joins and orders the letters of complex scripts."""
    return bool(features.check("raqm") and features.check("fribidi"))


def _installed(name: str, default: Font, size: int) -> Font | None:
    """The best installed font that has all glyphs of a name."""
    lacking = _lacking(default, name) if isinstance(default, ImageFont.FreeTypeFont) else name
    for script, characters in _by_script(lacking).items():
        if script not in _font_files:
            _font_files[script] = _ask_fontconfig(characters)
        for path, index in _font_files[script]:
            try:
                font = ImageFont.truetype(path, size, index)
                if can_draw(font, name):
                    return font
            except OSError:  # a kind of font, or a size of a bitmap font, that Pillow cannot read
                continue
    return None


def _by_script(characters: str) -> dict[str, str]:
    """Groups characters by the first word of their Unicode names, such as CJK or ARABIC; symbols are one group."""
    groups: dict[str, str] = {}
    for character in characters:
        is_sign = unicodedata.category(character).startswith("S")
        script = "signs" if is_sign else unicodedata.name(character, "none").split()[0]
        groups[script] = groups.get(script, "") + character
    return groups


def _ask_fontconfig(characters: str) -> list[tuple[str, int]]:
    """Font files (path, index in the file) for characters, the best first; empty without fontconfig."""
    pattern = "sans-serif:charset=" + " ".join(f"{ord(character):x}" for character in characters)
    command = ["fc-match", "-s", "-f", "%{index} %{file}\n", pattern]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return []
    rows = [line.partition(" ") for line in done.stdout.splitlines()[:_MOST_FILES]]
    # The bits above 16 of the index are the instance of a variable font.
    return [(path, int(index) & 0xFFFF) for index, _, path in rows if index.isdecimal() and path]
