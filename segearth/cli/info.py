"""`segearth info`: what an image file is, whether it can be mapped, and what that would cost here."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.cli.columns import columns, megabytes
from segearth.cli.options import add_max_pixels, add_model_options, check_max_pixels, check_model
from segearth.errors import UserError
from segearth.exits import MISTAKE, OK, SOME_FAILED, say
from segearth.vocabulary import LAND_COVER, Vocabulary

if TYPE_CHECKING:
    from PIL import Image

    from segearth.cli.cost import Cost

HELP = "Tell what image files are, whether they can be mapped, and what it would cost."
MODEL = "clip-vit-b16"
LONG_SIDE = 448  # of predict, and of the paper

_TIFF_BITS, _TIFF_FORMAT, _TIFF_GEOKEYS = 258, 339, 34735
_TIFF_FORMATS = {1: "unsigned", 2: "signed", 3: "float"}
_EXIF_ORIENTATION = 274
_TURNS = {
    1: "upright",
    2: "mirrored",
    3: "turned by 180°",
    4: "mirrored and turned by 180°",
    5: "mirrored and turned by 90°",
    6: "turned by 90°",
    7: "mirrored and turned by 270°",
    8: "turned by 270°",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files, and the model that would map them."""
    parser.epilog = "Exit codes: 1 if some of the files cannot be mapped, 2 if the only one cannot."
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="image files")
    parser.add_argument(
        "-c", "--classes", help="class names as for predict: more of them cost more (eight of land cover)"
    )
    add_model_options(parser, MODEL)
    add_max_pixels(parser)
    parser.add_argument("--no-cost", action="store_true", help="nothing is timed: what the files are, and no more")


def run(args: argparse.Namespace) -> int:
    """Prints a section on each file, and at last how the cost was found."""
    args.model = args.model or MODEL
    check_model(args)
    check_max_pixels(args)
    vocabulary = Vocabulary.of(args.classes or [list(names) for names in LAND_COVER])
    if missing := [file for file in args.files if not file.exists()]:
        raise UserError(f"no file at {missing[0]}: expected image files; give the paths of some")
    found = [examine(file, args.max_pixels) for file in args.files]
    usable = [size for _, size in found if size is not None]
    cost = None
    if usable and not args.no_cost:
        from segearth.cli.cost import measure

        say(f"timing {args.model} ...")
        cost = measure(args, vocabulary)
    for file, (facts, size) in zip(args.files, found, strict=True):
        if cost is not None and size is not None:
            facts |= costs(size, cost)
        print(f"{file}\n{columns(list(facts.items()), '  ')}\n")
    if cost is not None:
        print(cost.source)
    return OK if len(usable) == len(found) else MISTAKE if len(found) == 1 else SOME_FAILED


def examine(path: Path, max_pixels: int | None = None) -> tuple[dict[str, str], tuple[int, int] | None]:
    """What a file is, as far as Pillow tells, and what `segearth.images` says of it.

    Args:
        path: of the file.
        max_pixels: as of `segearth.images.read_image`.

    Returns:
        The facts; and the image's size (height, width) once it is upright, None where it is refused.
    """
    from PIL import Image

    from segearth.images import read_image

    facts = {"file": megabytes(path.stat().st_size)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow; read_image says it better
        try:
            with Image.open(path) as image:
                facts |= describe(image)
        except Exception:  # a file of any kind: read_image says what is wrong with it
            facts["format"] = "not known to Pillow"
    try:
        pixels, remarks = read_image(path, max_pixels)
    except UserError as error:
        return facts | {"predict": f"refused: {error}"}, None
    size = pixels.shape[:2]
    told = [remark.removeprefix(f"{path} ") for remark in remarks]
    return facts | {"predict": "; ".join(["can be mapped", *told])}, (int(size[0]), int(size[1]))


def describe(image: Image.Image) -> dict[str, str]:
    """What the header of an open image says."""
    tags: Any = getattr(image, "tag_v2", {})
    frames = getattr(image, "n_frames", 1)
    number = image.getexif().get(_EXIF_ORIENTATION, 1)
    palette = image.palette if image.mode in ("P", "PA") else None
    alpha = "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info
    bands = tags.get(277, len(image.getbands()))
    facts = {
        "format": f"{image.format}, {frames} frames" if frames > 1 else str(image.format),
        "size": f"{image.width} × {image.height} pixels (width × height)",
        "bands": f"{bands} ({image.mode}), {_bits(image, tags)}",
        "orientation": _TURNS.get(number, f"unknown ({number})"),
        "palette": "no" if palette is None else f"{len(palette.colors) or len(palette.palette) // 3} colours",
        "alpha": "yes" if alpha else "no",
    }
    if image.format == "TIFF":
        facts["GeoKeys"] = "yes" if _TIFF_GEOKEYS in tags else "no"
    return facts


def costs(size: tuple[int, int], cost: Cost) -> dict[str, str]:
    """Windows, time and memory of a map, at the usual long side and at the image's own size.

    Args:
        size: (height, width) of the image.
        cost: of the model.
    """
    from segearth.resizing import resized_size

    found = {}
    for title, scaled in ((f"at long side {LONG_SIDE}", resized_size(*size, LONG_SIDE)), ("at its own size", size)):
        windows = cost.windows(*scaled)
        found[title] = (
            f"{windows:,} window{'s' * (windows != 1)}, about {_duration(cost.seconds(scaled, size))}, "
            f"about {cost.memory(scaled, size) / 1e9:.1f} GB"
        )
    return found


def _bits(image: Image.Image, tags: Any) -> str:
    """Bits a band, and what kind of number they are."""
    raw = str([tile[3] for tile in getattr(image, "tile", [])])  # decoder arguments, such as 'RGB;16B'
    if _TIFF_BITS in tags:
        bits = max(tags[_TIFF_BITS])
    elif image.mode == "1":
        bits = 1
    elif ";16" in raw or image.mode.startswith("I;16"):
        bits = 16
    else:
        bits = 32 if image.mode in ("I", "F") else 8
    kind = "float" if image.mode == "F" else _TIFF_FORMATS.get(tags.get(_TIFF_FORMAT, (1,))[0], "unsigned")
    return f"{bits} bit{'s' * (bits != 1)}, {kind}"


def _duration(seconds: float) -> str:
    """Seconds for display, with two digits that count."""
    if seconds < 60:
        return f"{float(f'{seconds:.2g}'):g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
