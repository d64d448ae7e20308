"""Colours of classes: the name of a class decides its hue; all colours of a map can be told apart.

Two colours are compared as CIE76 does, by the Euclidean distance in CIE L*a*b* (white point D65; a distance
of 2.3 is just noticeable), for normal sight and for simulated deuteranopia and protanopia. Every class has a
colour that people expect by its name. Where the colours of one map are too near, those of the rarer names become
lighter, darker, greyer or more vivid until all of them can be told apart. Their hue stays.
"""

from __future__ import annotations

import colorsys
import math
import re
import zlib
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from segearth.colour_names import BACKGROUND, TABLE, find, key
from segearth.errors import UserError

RGB = tuple[int, int, int]
Sight = Literal["normal", "deutan", "protan"]
_Lab = tuple[float, float, float]
_Matrix = tuple[tuple[float, float, float], ...]

# The minimum CIE76 distances of the colours of a map; maps of many classes have a fraction of these.
DISTANCES: dict[Sight, float] = {"normal": 15.0, "deutan": 10.0, "protan": 10.0}

# What people without the cones for green (deutan) or red (protan) see, as matrices on linear sRGB: severity 1.0
# of G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A Physiologically-based Model for Simulation of Color
# Vision Deficiency", IEEE TVCG 15(6), 2009, as printed on the authors' page,
# https://www.inf.ufrgs.br/~oliveira/pubs_files/CVD_Simulation/CVD_Simulation.html
_SIMULATION: dict[Sight, _Matrix] = {
    "normal": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
}
# Linear sRGB to CIE XYZ (IEC 61966-2-1), each row divided by the white point D65.
_XYZ: _Matrix = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
_LINEAR = tuple(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (i / 255 for i in range(256)))

_EASY = 12  # classes; with more, the first distances that are tried are smaller than `DISTANCES`
_PLACINGS = 400  # how many colours are placed, over all attempts, before smaller distances are tried
_SMALLEST = 0.01  # fraction of `DISTANCES`: where even this cannot be had, a colour is used again


def parse_colour(text: str) -> RGB:
    """Reads `#RRGGBB` or `#RGB`, hexadecimal digits in either case.

    Raises:
        UserError: anything else.
    """
    match = re.fullmatch(r"#([0-9a-f]{3}|[0-9a-f]{6})", text.strip(), re.IGNORECASE | re.ASCII)
    if match is None:
        raise UserError(
            f"{text!r} is no colour: expected '#RRGGBB' or '#RGB' in hexadecimal digits; "
            "give for example '#19732A' for a dark green"
        )
    digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def distance(a: RGB, b: RGB, sight: Sight = "normal") -> float:
    """The CIE76 distance of two sRGB colours (0-255), for normal or simulated colour-blind sight."""
    return math.dist(_lab(a, sight), _lab(b, sight))


@lru_cache(maxsize=1 << 16)
def _lab(colour: RGB, sight: Sight) -> _Lab:
    """CIE L*a*b* of a colour as a person with this sight sees it."""
    seen = [min(1.0, max(0.0, value)) for value in _times(_SIMULATION[sight], [_LINEAR[c] for c in colour])]
    x, y, z = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in _times(_XYZ, seen))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _times(matrix: _Matrix, vector: Sequence[float]) -> list[float]:
    """The product of a matrix (3, 3) and a vector (3,)."""
    r, g, b = vector
    return [row[0] * r + row[1] * g + row[2] * b for row in matrix]


def palette(classes: Sequence[Sequence[str]], fixed: Mapping[int, RGB] | None = None) -> tuple[RGB, ...]:
    """Chooses a colour (0-255) for every class, from its names and the other classes; their order does not matter.

    A class has the hue of the first of its names that is known: the whole name, or its head ("dense forests" is a
    forest). Without such a name, the first name alone decides the hue. Background and the like are grey or black.

    Up to nine classes are `DISTANCES` apart; with 16, at least 5 for each sight; with more, as far as possible.
    A hue moves, by up to 45°, only where lightness and chroma do not give these distances.

    Args:
        classes: the names of each of the C classes.
        fixed: class index -> the colour that the user chose. It is kept, and the others keep away from it.
    """
    return _palette(tuple(tuple(names) for names in classes), tuple(sorted((fixed or {}).items())))


@lru_cache(maxsize=64)
def _palette(classes: tuple[tuple[str, ...], ...], fixed: tuple[tuple[int, RGB], ...]) -> tuple[RGB, ...]:
    """As `palette`: reduces the distances until every class has a colour."""
    colours = dict(fixed)
    ranks = [_rank(names) for names in classes]
    wanted = {i: _wanted(names, ranks[i][0]) for i, names in enumerate(classes) if i not in colours}
    order = sorted(wanted, key=lambda i: (ranks[i], classes[i]))  # the best known first: the first ones move least
    count = max(1, len(classes))
    factor = min(1.0, math.sqrt(_EASY / count))  # n colours fill a plane 1 / sqrt(n) apart
    needed = 1.0 if count <= 9 else 0.5 if count <= 16 else factor / 3
    placed = None
    while placed is None:
        # Hues change before distances become smaller than needed.
        for shift in (False, True) if 0.75 * factor < needed else (False,):
            placed = placed or _place([wanted[i] for i in order], list(colours.values()), factor, shift)
        factor = max(_SMALLEST, 0.75 * factor)
    colours |= zip(order, placed, strict=True)
    return tuple(colours[i] for i in range(len(classes)))


class _Wanted(NamedTuple):
    """The preferred colour of a name: hue, lightness and chroma of the HSL double cone, from 0 to 1."""

    row: int
    hue: float
    lightness: float
    chroma: float


def _rank(names: Sequence[str]) -> tuple[int, int]:
    """Row and place in the table of the first known name; the row after the last if there is none."""
    return next((rank for name in names if (rank := find(name)) is not None), (len(TABLE), 0))


def _wanted(names: Sequence[str], row: int) -> _Wanted:
    """The preferred colour of a row of the table; without a row, a hue that depends on the first name."""
    if row == len(TABLE):
        return _Wanted(row, zlib.crc32((key(names[0]) or names[0]).encode()) / 2**32, 0.5, 0.6)
    colour = [c / 255 for c in parse_colour(TABLE[row][0])]
    hue, lightness, _ = colorsys.rgb_to_hls(*colour)
    return _Wanted(row, hue, lightness, max(colour) - min(colour))


def _place(wanted: list[_Wanted], fixed: list[RGB], factor: float, shift: bool) -> list[RGB] | None:
    """A colour for each class, `factor` times `DISTANCES` away from all others; None if there is none.

    Each in turn takes the colour nearest to its preferred one that keeps the distances. A class without such a colour
    moves to the front of the queue, and the search starts again.
    """
    queue = list(range(len(wanted)))
    for _ in range(1 + _PLACINGS // max(1, len(wanted))):
        placed = {sight: sorted(_lab(colour, sight) for colour in fixed) for sight in DISTANCES}
        colours: dict[int, RGB] = {}
        left: dict[_Wanted, Iterator[RGB]] = {}  # a colour that was rejected once is not tried again
        for i in queue:
            rest = left.setdefault(wanted[i], _candidates(wanted[i], shift))
            colour = next((candidate for candidate in rest if _is_apart(candidate, placed, factor)), None)
            if colour is None and (factor > _SMALLEST or not shift):
                queue.remove(i)
                queue.insert(0, i)
                break
            colours[i] = colour or next(_candidates(wanted[i], shift))
            for sight, others in placed.items():
                insort(others, _lab(colours[i], sight))
        else:
            return [colours[i] for i in range(len(wanted))]
    return None


def _is_apart(colour: RGB, placed: Mapping[Sight, list[_Lab]], factor: float) -> bool:
    """Whether a colour is `factor` times `DISTANCES` away from all placed ones, which are sorted by lightness."""
    for sight, others in placed.items():
        lab, least = _lab(colour, sight), factor * DISTANCES[sight]
        near = others[bisect_left(others, (lab[0] - least,)) : bisect_left(others, (lab[0] + least,))]
        if any(math.dist(lab, other) < least for other in near):
            return False
    return True


def _candidates(wanted: _Wanted, shift: bool) -> Iterator[RGB]:
    """Colours for a class, the nearest first: of its hue; with `shift` also of hues up to 45° away."""
    yield from _of_hue(wanted)
    if shift and wanted.chroma:
        for step in (1, -1, 2, -2, 3, -3):
            yield from _of_hue(wanted._replace(hue=(wanted.hue + step / 24) % 1))
    elif shift:  # a grey has no hue that could move: grey with a tint
        for step in range(12):
            yield from _of_hue(wanted._replace(hue=step / 12, chroma=0.12))


@lru_cache(maxsize=4096)
def _of_hue(wanted: _Wanted) -> tuple[RGB, ...]:
    """Lighter, darker, greyer and more vivid colours of a hue, the nearest to the wanted one first."""
    row, hue, lightness, chroma = wanted
    darkest, lightest = (0.0, 0.42) if row in BACKGROUND else (0.16, 0.88) if chroma >= 0.2 else (0.2, 1.0)
    weakest, strongest = (0.25, 1.0) if chroma >= 0.2 else (0.04, 0.3) if chroma > 0 else (0.0, 0.0)
    colours: list[tuple[float, RGB]] = []
    for i in range(-25, 26):
        for k in range(-10, 11):
            new, strength = lightness + 0.04 * i, chroma + 0.1 * k
            room = 1 - abs(2 * new - 1)
            is_wanted = i == k == 0 and chroma <= room
            if not is_wanted and not (darkest <= new <= lightest and weakest <= strength <= min(strongest, room)):
                continue
            rgb = colorsys.hls_to_rgb(hue, new, strength / room if strength > 0 else 0.0)
            red, green, blue = (round(255 * c) for c in rgb)
            colours.append((abs(new - lightness) + abs(strength - chroma) / 2, (red, green, blue)))
    return tuple(colour for _, colour in sorted(colours))
