"""Selection of the bands of a raster that are red, green and blue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from segearth.errors import UserError, option, printable

BandSelection: TypeAlias = "str | int | Sequence[str | int] | None"  # "4,3,2", "red,green,blue", (4, 3, 2), 1
BandNumbers: TypeAlias = "tuple[int, int, int]"

COLOURS = ("red", "green", "blue")
_B432 = ("b4", "b3", "b2")  # the names of Sentinel-2 and of Landsat 8 and 9
SENTINEL2 = (12, 13)  # bands of a whole image, with or without B10; both begin with B1, B2, B3, B4
SENTINEL2_RGB = (4, 3, 2)


@dataclass(frozen=True)
class Band:
    """A band of a raster.

    Attributes:
        number: from 1.
        description: its name in the file; may be empty.
        dtype: numpy's name, such as "uint16".
        colour: GDAL's colour interpretation: "red", "gray", "palette", "alpha", "undefined" and so on.
        unit: of its values; empty if unknown.
        nodata: the nodata value, or None.
        bits: used bits of a sample, if fewer than the data type has.
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
        """Lower-case names by which it can be selected: description, its first word; B04 also as b4."""
        description = self.description.strip().lower()
        return frozenset(
            _normalised_name(name) for name in (description, re.split(r"[\s,;:(]", description)[0]) if name
        )

    def __str__(self) -> str:
        return f"{self.number} ({printable(self.description)})" if self.description else str(self.number)


def choose_bands(bands: Sequence[Band], selection: BandSelection, name: str) -> tuple[BandNumbers, list[str]]:
    """Chooses the bands that are used as red, green and blue; a single band is used three times.

    Args:
        bands: of the raster.
        selection: one or three, each a number from 1, a description or a colour; None: by colour interpretation, then
            by description, then in the order of Sentinel-2, then the first three.
        name: of the raster, for messages.

    Returns:
        Their numbers from 1, and remarks (one sentence each) on choices that the file does not state.

    Raises:
        UserError: unknown band, alpha, neither one nor three bands, or CMYK instead of RGB.
    """
    if selection is not None:
        return _selected_bands(bands, selection, name), []
    candidates = [band for band in bands if band.colour != "alpha"]
    if not candidates:
        raise UserError(f"{name} has no band but alpha: expected one with colours; give another raster")
    if len(candidates) < 3:
        if len(candidates) == 2:
            return _gray_numbers(candidates[0]), [
                f"{name} has two bands; only band {candidates[0]} is used, three times"
            ]
        is_palette = candidates[0].colour == "palette"
        return _gray_numbers(candidates[0]), [] if is_palette else [f"{name} has one band; it is used three times"]
    if any(band.colour == "cyan" for band in candidates):
        raise UserError(
            f"{name} has the bands cyan, magenta, yellow and black: expected red, green and blue; convert it to RGB "
            f"first, or name bands with {option('bands', '1,2,3')}"
        )
    if numbers := _rgb_numbers({band.colour: band for band in reversed(candidates)}, COLOURS):
        return numbers, []
    by_name = {name: band for band in reversed(candidates) for name in band.names}
    for names in (COLOURS, _B432):
        if numbers := _rgb_numbers(by_name, names):
            described = _describe_bands(bands, numbers)
            return numbers, [f"{name}: bands {described} are red, green and blue by their descriptions"]
    if len(candidates) in SENTINEL2:
        return SENTINEL2_RGB, [
            f"{name} has {len(candidates)} bands and does not say which are colours; 4, 3 and 2 are used as red, green "
            f"and blue, as in the order of Sentinel-2; say it with {option('bands', '4,3,2')} if it is another one"
        ]
    first = candidates[0].number, candidates[1].number, candidates[2].number
    if len(candidates) == 3:
        return first, []
    return first, [
        f"{name} has {len(candidates)} bands and does not say which are colours; {_describe_bands(bands, first)} are "
        f"used as red, green and blue; say it with {option('bands', '3,2,1')} if others are"
    ]


def _selected_bands(bands: Sequence[Band], selection: str | int | Sequence[str | int], name: str) -> BandNumbers:
    """Returns the numbers of the bands that the user selects."""
    words = [selection] if isinstance(selection, int) else selection
    words = words.split(",") if isinstance(words, str) else list(words)
    if len(words) not in (1, 3):
        raise UserError(
            f"{option('bands')} names {len(words)} bands: expected three, for red, green and blue, or one, such as "
            f"{option('bands', '4,3,2')}"
        )
    red, green, blue = [_find_band(bands, word, name).number for word in words] * (3 // len(words))
    return red, green, blue


def _find_band(bands: Sequence[Band], word: str | int, name: str) -> Band:
    """Finds a band by its number, description or colour."""
    text = str(word).strip()
    wanted = _normalised_name(text.lower())
    by_colour = {band.colour: band for band in reversed(bands)}
    by_name = {name: band for band in reversed(bands) for name in band.names}
    sensor = dict(zip(COLOURS, _B432, strict=True)).get(wanted, "")
    band = by_name.get(wanted) or by_colour.get(wanted) or by_name.get(sensor)
    if band is None and text.isdecimal() and 1 <= int(text) <= len(bands):
        band = bands[int(text) - 1]
    if band is None:
        raise UserError(
            f"{name} has no band {text!r}: expected one of {', '.join(map(str, bands))}; correct {option('bands')}"
        )
    if band.colour == "alpha":
        raise UserError(
            f"band {band} of {name} is its transparency: expected a band with colours; correct {option('bands')}"
        )
    return band


def _rgb_numbers(bands: dict[str, Band], names: Sequence[str]) -> BandNumbers | None:
    """Returns the numbers of the bands with three names, or None if one is missing."""
    numbers = [bands[name].number for name in names if name in bands]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None


def _gray_numbers(band: Band) -> BandNumbers:
    return band.number, band.number, band.number


def _describe_bands(bands: Sequence[Band], numbers: Sequence[int]) -> str:
    red, green, blue = (str(bands[number - 1]) for number in numbers)
    return f"{red}, {green} and {blue}"


def _normalised_name(name: str) -> str:
    """Removes leading zeros of band names: B04 becomes B4."""
    return re.sub(r"^(b)0+(?=\d)", r"\1", name)
