"""`segearth info`: describes images and scenes, whether they can be mapped, and at what cost."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from segearth.cli.formatting import columns, duration, megabytes
from segearth.cli.options import (
    DEFAULT_MODEL,
    add_max_memory,
    add_max_pixels,
    add_model_options,
    add_way,
    check_max_memory,
    check_max_pixels,
    check_model,
)
from segearth.cli.scene_options import add_reading_options, check_reading_options, scene_options
from segearth.errors import UserError, printable
from segearth.exits import MISTAKE, OK, SOME_FAILED, say
from segearth.paths import user_path
from segearth.vocabulary import LAND_COVER, Vocabulary
from segearth.windows import LONG_SIDE

if TYPE_CHECKING:
    from PIL import Image

    from segearth.cli.cost import Cost
    from segearth.scenes.options import SceneOptions
    from segearth.tiff import Page

HELP = "Tell what images and scenes are, whether they can be mapped, and what it would cost."

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
    """Adds files, model, and options of reading."""
    parser.epilog = "Exit codes: 1 if some of the files cannot be mapped, 2 if the only one cannot."
    parser.add_argument("files", nargs="+", metavar="FILE", help="images; rasters of any size, also by their address")
    parser.add_argument(
        "-c", "--classes", help="class names as for predict: more of them cost more (eight of land cover)"
    )
    add_model_options(parser)
    add_max_pixels(parser)
    add_way(parser)
    parser.add_argument("--no-cost", action="store_true", help="nothing is timed: what the files are, and no more")
    scenes = parser.add_argument_group("scenes", "what has coordinates, many bands, more than 8 bits or many pixels")
    add_reading_options(scenes)
    add_max_memory(scenes, "1200")
    scenes.add_argument("--time", action="store_true", help="time a few windows, too")


def run(args: argparse.Namespace) -> int:
    """Prints a section per file, and finally how the cost was measured."""
    args.model = args.model or DEFAULT_MODEL
    spec = check_model(args)
    check_max_pixels(args)
    check_max_memory(args)
    check_reading_options(args)
    vocabulary = Vocabulary.of(args.classes or [list(names) for names in LAND_COVER])

    from segearth.addresses import display_name

    options = scene_options(args)
    ways = {file: _way(file, args.way) for file in args.files}
    for file, (why, _) in ways.items():
        if why is None and not user_path(file).exists():
            raise UserError(f"no file at {printable(file)}: expected image files; give the paths of some")
    results = [_examine(file, *ways[file], options, args, vocabulary) for file in args.files]
    cost = None
    if any(size is not None for _, size, _ in results) and not args.no_cost:
        from segearth.cli.cost import measure

        say(f"timing {args.model} ...")
        cost = measure(args, vocabulary)
    for file, (facts, size, _) in zip(args.files, results, strict=True):
        if cost is not None and size is not None:
            facts |= costs(size, cost)
        print(f"{display_name(file)}\n{columns(list(facts.items()), '  ')}\n")
    if cost is not None:
        print(cost.source)
    if spec is not None and spec.own:
        print(f"Model: {printable(spec.about)}: {spec.usage}")
    return OK if all(fine for *_, fine in results) else MISTAKE if len(results) == 1 else SOME_FAILED


def _way(file: str, asked: str | None) -> tuple[str | None, str | None]:
    """Why a file is a scene, None for a picture; and why it is refused."""
    if asked == "picture":
        return None, None
    from segearth.scenes.input_kind import scene_reason

    try:
        why = scene_reason(file)
    except UserError as error:
        return None, str(error)
    return why or ("as asked for" if asked == "scene" else None), None


def _examine(
    file: str,
    why: str | None,
    refused: str | None,
    options: SceneOptions,
    args: argparse.Namespace,
    vocabulary: Vocabulary,
) -> tuple[dict[str, str], tuple[int, int] | None, bool]:
    """Facts on a file; the size of a picture; and whether it can be mapped."""
    if why is not None:
        from segearth.cli.info_scene import scene_facts

        facts, fine = scene_facts(file, why, options, args, vocabulary)
        return facts, None, fine
    facts, size = examine(user_path(file), args.max_pixels)
    if refused is not None:
        return facts | {"predict": f"refused: {refused}"}, None, False
    return facts, size, size is not None


def examine(path: Path, max_pixels: int | None = None) -> tuple[dict[str, str], tuple[int, int] | None]:
    """Facts on an image file, and whether `segearth.images` can read it.

    Args:
        path: path of the file.
        max_pixels: see `segearth.images.read_image`.

    Returns:
        The facts; and the size (height, width) of the upright image, None if it is refused.
    """
    from segearth.images import read_image

    facts = {"file": megabytes(path.stat().st_size)}
    try:
        facts |= describe(path)
    except Exception:  # any file: read_image reports the error
        facts["format"] = "no picture that is read here"
    try:
        pixels, remarks = read_image(path, max_pixels)
    except UserError as error:
        return facts | {"predict": f"refused: {error}"}, None
    size = pixels.shape[:2]
    remarks = [remark.removeprefix(f"{printable(path)} ") for remark in remarks]
    return facts | {"predict": "; ".join(["can be mapped", *remarks])}, (int(size[0]), int(size[1]))


def describe(path: Path) -> dict[str, str]:
    """Facts in the header of an image file."""
    from PIL import Image

    from segearth import tiff
    from segearth.images.files import FORMATS

    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow
        if file.read(4) in tiff.MAGIC:
            return _describe_tiff(tiff.read_page(file))
        file.seek(0)
        with Image.open(file, formats=tuple(FORMATS)) as image:
            return _describe(image)


def _describe(image: Image.Image) -> dict[str, str]:
    """Facts on an image opened by Pillow."""
    from segearth.images.files import orientation_of

    palette = image.palette if image.mode in ("P", "PA") else None
    alpha = "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info
    raw = str([tile[3] for tile in getattr(image, "tile", [])])  # decoder arguments, such as 'RGB;16B'
    bits = 1 if image.mode == "1" else 16 if ";16" in raw or image.mode in ("I", "I;16") else 8
    colours = 0 if palette is None else len(palette.colors) or len(palette.palette) // 3
    bands = f"{len(image.getbands())} ({image.mode}), {bits} bit{'s' * (bits != 1)}, unsigned"
    return {
        "format": _frames(str(image.format), getattr(image, "n_frames", 1)),
        **_facts((image.height, image.width), bands, orientation_of(image), colours, alpha),
    }


def _describe_tiff(page: Page) -> dict[str, str]:
    """Facts in the tags of a TIFF."""
    bits = max(page.bits)
    colours = 2**bits if page.photometric == 3 else 0
    bands = f"{len(page.bits)} ({page.interpretation}), {bits} bit{'s' * (bits != 1)}, {page.kind}"
    return {
        "format": _frames("TIFF", page.pages),
        **_facts(page.size, bands, page.orientation, colours, page.alpha),
        "GeoKeys": "yes" if page.geokeys else "no",
    }


def _facts(size: tuple[int, int], bands: str, orientation: int, colours: int, alpha: bool) -> dict[str, str]:
    """Facts on an image of any format."""
    return {
        "size": f"{size[1]} × {size[0]} pixels (width × height)",
        "bands": bands,
        "orientation": _TURNS.get(orientation, f"unknown ({orientation})"),
        "palette": f"{colours} colours" if colours else "no",
        "alpha": "yes" if alpha else "no",
    }


def _frames(name: str, count: int) -> str:
    """The name of a format, with the number of frames if several."""
    return f"{name}, {count} frames" if count > 1 else name


def costs(size: tuple[int, int], cost: Cost) -> dict[str, str]:
    """Windows, time and memory of a map, at the default long side and at the size of the image.

    Args:
        size: (height, width) of the image.
        cost: cost of the model.
    """
    from segearth.images.resizing import resized_size

    facts = {}
    for title, scaled in ((f"at long side {LONG_SIDE}", resized_size(*size, LONG_SIDE)), ("at its own size", size)):
        windows = cost.windows(*scaled)
        facts[title] = (
            f"{windows:,} window{'s' * (windows != 1)}, about {duration(cost.seconds(scaled, size))}, "
            f"about {cost.memory(scaled, size) / 1e9:.1f} GB"
        )
    return facts
