"""Which bands of a raster are its red, green and blue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from segearth.errors import UserError, option, printable

Asked: TypeAlias = "str | int | Sequence[str | int] | None"  # "4,3,2", "red,green,blue", (4, 3, 2), 1
Numbers: TypeAlias = "tuple[int, int, int]"

COLOURS = ("red", "green", "blue")
_B432 = ("b4", "b3", "b2")  # the names of Sentinel-2 and of Landsat 8 and 9
SENTINEL2 = (12, 13)  # bands of a whole image, with or without B10; both begin with B1, B2, B3, B4
SENTINEL2_RGB = (4, 3, 2)


@dataclass(frozen=True)
class Band:
    """A band of a raster.

    Attributes:
        number: from 1.
        description: what the file calls it; "" where it does not.
        dtype: numpy's name, such as "uint16".
        colour: GDAL's colour interpretation: "red", "gray", "palette", "alpha", "undefined" and so on.
        unit: of its values; "" where it is not known.
        nodata: the value that means nothing was seen; None for none.
        bits: that a sample uses, where they are fewer than its type has.
    """

    number: int
    description: str
    dtype: str
    colour: str
    unit: str = ""
    nodata: float | None = None
    bits: int | None = None

    @property
    def names(self) -> frozenset[str]:
        """What it answers to, in small letters: its description, the first word of that, B04 also as b4."""
        whole = self.description.strip().lower()
        return frozenset(_short(name) for name in (whole, re.split(r"[\s,;:(]", whole)[0]) if name)

    def __str__(self) -> str:
        return f"{self.number} ({printable(self.description)})" if self.description else str(self.number)


def choose_bands(bands: Sequence[Band], asked: Asked, name: str) -> tuple[Numbers, list[str]]:
    """The bands that are taken as red, green and blue; one band thrice.

    Args:
        bands: of the raster.
        asked: one or three, each a number from 1, a description or a colour; None: by colour interpretation, then by
            description, then as Sentinel-2 has them, then the first three.
        name: of the raster, for messages.

    Returns:
        Their numbers from 1, and remarks, one sentence each, on what was not evident.

    Raises:
        UserError: no such band, alpha, or neither one nor three; or the bands are inks, not colours.
    """
    if asked is not None:
        return _asked(bands, asked, name), []
    seen = [band for band in bands if band.colour != "alpha"]
    if not seen:
        raise UserError(f"{name} has no band but alpha: expected one with colours; give another raster")
    if len(seen) < 3:
        if len(seen) == 2:
            return _thrice(seen[0]), [f"{name} has two bands; only band {seen[0]} is used, three times"]
        said = "" if seen[0].colour == "palette" else f"{name} has one band; it is used three times"
        return _thrice(seen[0]), [said] if said else []
    if any(band.colour == "cyan" for band in seen):
        raise UserError(
            f"{name} has the inks cyan, magenta, yellow and black: expected red, green and blue; convert it to RGB "
            f"first, or name bands with {option('bands', '1,2,3')}"
        )
    found = _by({band.colour: band for band in reversed(seen)}, COLOURS)
    if found:
        return found, []
    by_name = {name: band for band in reversed(seen) for name in band.names}
    for names in (COLOURS, _B432):
        if found := _by(by_name, names):
            return found, [f"{name}: bands {_listed(bands, found)} are red, green and blue by their descriptions"]
    if len(seen) in SENTINEL2:
        return SENTINEL2_RGB, [
            f"{name} has {len(seen)} bands and does not say which are colours; 4, 3 and 2 are taken as red, green and "
            f"blue, as in the order of Sentinel-2; say it with {option('bands', '4,3,2')} if it is another one"
        ]
    first = (seen[0].number, seen[1].number, seen[2].number)
    if len(seen) == 3:
        return first, []
    return first, [
        f"{name} has {len(seen)} bands and does not say which are colours; {_listed(bands, first)} are taken as red, "
        f"green and blue; say it with {option('bands', '3,2,1')} if others are"
    ]


def _asked(bands: Sequence[Band], asked: str | int | Sequence[str | int], name: str) -> Numbers:
    """The bands that the user names."""
    words = asked.split(",") if isinstance(asked, str) else [asked] if isinstance(asked, int) else list(asked)
    if len(words) not in (1, 3):
        raise UserError(
            f"{option('bands')} names {len(words)} bands: expected three, for red, green and blue, or one, such as "
            f"{option('bands', '4,3,2')}"
        )
    found = [_named(bands, word, name) for word in words]
    return _thrice(found[0]) if len(found) == 1 else (found[0].number, found[1].number, found[2].number)


def _named(bands: Sequence[Band], word: str | int, name: str) -> Band:
    """The band of a number, a description or a colour."""
    text = str(word).strip()
    wanted = _short(text.lower())
    by_colour = {band.colour: band for band in reversed(bands)}
    by_name = {name: band for band in reversed(bands) for name in band.names}
    sensor = dict(zip(COLOURS, _B432, strict=True)).get(wanted, "")
    found = by_name.get(wanted) or by_colour.get(wanted) or by_name.get(sensor)
    if found is None and text.isdecimal() and 1 <= int(text) <= len(bands):
        found = bands[int(text) - 1]
    if found is None:
        raise UserError(
            f"{name} has no band {text!r}: expected one of {', '.join(map(str, bands))}; correct {option('bands')}"
        )
    if found.colour == "alpha":
        raise UserError(
            f"band {found} of {name} is its transparency: expected a band with colours; correct {option('bands')}"
        )
    return found


def _by(bands: dict[str, Band], names: Sequence[str]) -> Numbers | None:
    """The bands of three names, if all are there."""
    found = [bands[name].number for name in names if name in bands]
    return (found[0], found[1], found[2]) if len(found) == 3 else None


def _thrice(band: Band) -> Numbers:
    return band.number, band.number, band.number


def _listed(bands: Sequence[Band], numbers: Sequence[int]) -> str:
    one, two, three = (str(bands[number - 1]) for number in numbers)
    return f"{one}, {two} and {three}"


def _short(name: str) -> str:
    """B04 is B4."""
    return re.sub(r"^(b)0+(?=\d)", r"\1", name)
