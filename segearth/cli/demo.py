"""`segearth demo`: a first map, with the real CLIP if available, else the packaged model.

Without arguments it maps the drawn scene that comes with the package. Writes into --out: labels.png (class indices
with a palette), overlay.png (the image, the map over it, a legend), summary.json.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from segearth import weights
from segearth.cli.method_options import add_method_options, method_options
from segearth.cli.options import (
    add_max_memory,
    add_max_pixels,
    add_model_options,
    check_long_side,
    check_max_memory,
    check_max_pixels,
    check_model,
)
from segearth.clips import resolve
from segearth.errors import UserError, from_script, option, printable
from segearth.exits import OK, say
from segearth.outputs import refuse_folder, writable_folder
from segearth.paths import user_path
from segearth.vocabulary import LAND_COVER, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELP = "Map one image with class names in words; if none is given, the packaged scene."
REAL_MODEL = "clip-vit-b16"
CLASSES = "; ".join(",".join(names) for names in LAND_COVER)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds image, classes, and output folder."""
    parser.add_argument("--image", help="a picture file, or oem_koeln_50.tif to download the official demo image")
    parser.add_argument(
        "-c",
        "--classes",
        default=CLASSES,
        help="class names: semicolons between classes, commas between synonyms; or a class file (%(default)s)",
    )
    add_model_options(parser, f"{REAL_MODEL} where it can be had, else tiny")
    add_method_options(parser)
    parser.add_argument("-o", "--out", default="out", help="folder for the results (%(default)s)")
    parser.add_argument("--long-side", type=int, default=448, help="resize to this many pixels; 0: no resizing (448)")
    add_max_pixels(parser)
    add_max_memory(parser, "400, on a GPU up to 2000")


def run(args: argparse.Namespace) -> int:
    """Maps the image."""
    demo(args)
    return OK


def demo(args: argparse.Namespace) -> None:
    """Checks the arguments, predicts, writes and prints."""
    vocabulary = Vocabulary.of(args.classes)
    check_model(args)
    check_long_side(args)
    check_max_pixels(args)
    check_max_memory(args)
    method = method_options(args)
    folder = writable_folder(user_path(args.out, "output folder"))
    files = [folder / name for name in ("labels.png", "overlay.png", "summary.json")]
    for file in files:
        refuse_folder(file)
    pixels, truth, name = load_image(args.image, vocabulary, args.max_pixels)
    model = args.model or choose_model()
    about = resolve(model, args.architecture).about

    started = time.perf_counter()
    say(f"loading {model}: {about}")
    from segearth.loading import load_model
    from segearth.models.onednn import use_onednn
    from segearth.outputs import write_all
    from segearth.summary import demo_report, json_writer

    use_onednn()
    predictor = load_model(
        model,
        vocabulary,
        args.device,
        args.precision,
        architecture=args.architecture,
        upsampler=args.upsampler or "default",
        **method,
    )
    loaded = time.perf_counter()
    result = predictor.predict(
        pixels, args.long_side or None, max_memory_mb=args.max_memory, max_pixels=args.max_pixels
    )
    seconds = {"load": round(loaded - started, 2), "predict": round(time.perf_counter() - loaded, 2)}
    summary = result.summary(truth) | {
        "image": name,
        "model": model,
        "about": about,
        "upsampler": predictor.settings["upsampler"],
        "device": str(predictor.device),
        "precision": predictor.settings["precision"],
        "long_side": args.long_side or None,
        **method,
        "seconds": seconds,
    }
    write_all(dict(zip(files, (result.label_image().save, result.overlay().save, json_writer(summary)), strict=True)))
    print("\n" + demo_report(summary))
    print(f"\nwritten to {printable(folder)}: labels.png, overlay.png, summary.json")
    if model == "tiny":
        size = resolve(REAL_MODEL).download_bytes / 1e6
        print(f"with the real CLIP (a download of {size:.0f} MB, once):\n  {printable(same_command(args))}")


def same_command(args: argparse.Namespace) -> str:
    """The command of this run, with the real CLIP and the Python that runs it."""
    if from_script():
        python = Path(sys.executable)
        words = [str(python.relative_to(Path.cwd())) if python.is_relative_to(Path.cwd()) else "python", "demo.py"]
    else:
        words = ["segearth", "demo"]
    words += ["--model", REAL_MODEL]
    words += ["--image", args.image] if args.image else []
    words += ["--classes", args.classes] if args.classes != CLASSES else []
    words += [word for name in ("method", "tta") if (value := getattr(args, name)) for word in (f"--{name}", value)]
    return shlex.join(words)


def choose_model() -> str:
    """The real CLIP if it is cached or can be downloaded, else the packaged model, with a message."""
    instead = "so the packaged model 'tiny' is used instead"
    files = sorted(resolve(REAL_MODEL).downloads, key=lambda file: file.size or file.about_size)
    missing = [file for file in files if weights.find(file) is None]
    if missing and not weights.reachable(missing[0]):
        names = " and ".join(file.name for file in missing)
        say(f"{REAL_MODEL} needs {names}, neither cached nor reachable from here, {instead}")
        return "tiny"
    for file in missing:
        say(
            f"{file.name} ({file.size_text}) is downloaded to {weights.cache_dir()}; {option('model', 'tiny')} "
            "needs no download"
        )
        try:
            weights.fetch(file)
        except UserError as error:
            say(str(error))
            say(instead.capitalize())
            return "tiny"
    return REAL_MODEL


def load_image(
    choice: str | None, vocabulary: Vocabulary, max_pixels: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, str]:
    """Pixels (H, W, 3), true labels (H, W) if known for this vocabulary, and a name."""
    import numpy as np
    from PIL import Image

    from segearth.images import read_image

    if choice is None:
        pixels, _ = read_image(weights.packaged("scene.jpg"))
        truth = np.asarray(Image.open(weights.packaged("scene_labels.png")))
        return pixels, truth if vocabulary.classes == LAND_COVER else None, "the drawn demo scene"
    path = weights.fetch(weights.IMAGE) if choice == weights.IMAGE.name and not Path(choice).exists() else choice
    pixels, remarks = read_image(path, max_pixels)
    for remark in remarks:
        say(f"note: {remark}")
    return pixels, None, printable(choice)
