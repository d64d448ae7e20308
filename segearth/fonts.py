"""Fonts for legends: Pillow's own, and one that fontconfig knows for names that Pillow's own cannot draw.

Pillow's font has hardly more than ASCII: neither "forêt" nor "森林" can be drawn with it.
"""

from __future__ import annotations

import subprocess
import unicodedata
from collections.abc import Sequence

from PIL import ImageFont, features

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_TIMEOUT_S = 5  # fc-match takes some 50 ms, and more when it reads new fonts
_MOST_FILES = 12  # of those that fontconfig offers: the first fits best, but Pillow cannot read all kinds
_MISSING = "\uffff"  # never a character, so every font draws its sign for a missing glyph
_offered: dict[str, list[tuple[str, int]]] = {}  # script -> font files: fontconfig is asked once


def fonts_for(names: Sequence[str], size: int) -> list[Font | None]:
    """A font for each name that has its glyphs, the same for all if there is one; None where there is none.

    Args:
        names: any Unicode text.
        size: of the text in pixels.
    """
    own = ImageFont.load_default(size)
    fonts = [own if can_draw(own, name) else _installed(name, own, size) for name in names]
    for font in fonts:  # one look for the whole legend
        if font is not None and all(can_draw(font, name) for name in names):
            return [font] * len(names)
    return fonts


def can_draw(font: Font, text: str) -> bool:
    """Whether a font has a glyph for every visible character of a text, and Pillow can put them in order."""
    if not isinstance(font, ImageFont.FreeTypeFont):  # a Pillow without FreeType has a font of bitmaps
        return text.isascii()
    return not _lacking(font, text) and (not _is_complex(text) or _can_shape())


def _lacking(font: ImageFont.FreeTypeFont, text: str) -> str:
    """The visible characters of a text for which a font has no glyph."""
    missing = _glyph(font, _MISSING)
    # Spaces and what only controls its neighbours (such as joiners and variation selectors) need none.
    visible = {c for c in text if unicodedata.category(c) not in ("Zs", "Cc", "Cf") and c not in "\ufe0e\ufe0f"}
    return "".join(sorted(c for c in visible if _glyph(font, c) == missing))


def _glyph(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    """Size and pixels of what is drawn for a character."""
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _is_complex(text: str) -> bool:
    """Whether letters run from right to left, or combine."""
    return any(unicodedata.bidirectional(c) in ("R", "AL") or unicodedata.category(c) in ("Mc", "Mn") for c in text)


def _can_shape() -> bool:
    """Whether this Pillow joins and orders the letters of complex scripts."""
    return bool(features.check("raqm") and features.check("fribidi"))


def _installed(name: str, own: Font, size: int) -> Font | None:
    """The best of this machine's fonts that has all glyphs of a name."""
    lacking = _lacking(own, name) if isinstance(own, ImageFont.FreeTypeFont) else name
    for script, characters in _by_script(lacking).items():
        if script not in _offered:
            _offered[script] = _ask_fontconfig(characters)
        for path, index in _offered[script]:
            try:
                font = ImageFont.truetype(path, size, index)
                if can_draw(font, name):
                    return font
            except OSError:  # a kind of font, or a size of a bitmap font, that Pillow cannot read
                continue
    return None


def _by_script(characters: str) -> dict[str, str]:
    """Characters by the first word of their Unicode names, such as CJK or ARABIC; pictures and signs as one."""
    found: dict[str, str] = {}
    for character in characters:
        is_sign = unicodedata.category(character).startswith("S")
        script = "signs" if is_sign else unicodedata.name(character, "none").split()[0]
        found[script] = found.get(script, "") + character
    return found


def _ask_fontconfig(characters: str) -> list[tuple[str, int]]:
    """Font files (path, index in the file) for characters, the best first; none without fontconfig."""
    pattern = "sans-serif:charset=" + " ".join(f"{ord(character):x}" for character in characters)
    command = ["fc-match", "-s", "-f", "%{index} %{file}\n", pattern]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return []
    rows = [line.partition(" ") for line in done.stdout.splitlines()[:_MOST_FILES]]
    # Beyond 16 bits the index of a variable font tells its instance.
    return [(path, int(index) & 0xFFFF) for index, _, path in rows if index.isdecimal() and path]
