#!/usr/bin/env python3
"""Maps one image: python demo.py --image scene.tif --classes "road; tree,forest; building,roof,house".

Without arguments it maps the drawn scene that comes with the package. Writes into --out:
labels.png (class indices with a palette), overlay.png (the image, the map over it, a legend), summary.json.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from segearth import weights
from segearth.errors import UserError
from segearth.outputs import run, writable_folder
from segearth.vocabulary import LAND_COVER, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REAL_MODEL = "clip-vit-b16"
CLASSES = "; ".join(",".join(names) for names in LAND_COVER)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; wrong usage ends the program with code 2."""
    parser = argparse.ArgumentParser(description="Map one aerial or satellite image with class names in words.")
    parser.add_argument("--image", help="a picture file, or oem_koeln_50.tif to download the official demo image")
    parser.add_argument(
        "--classes",
        default=CLASSES,
        help="class names: semicolons between classes, commas between synonyms; or a cls_*.txt file (%(default)s)",
    )
    parser.add_argument("--model", help=f"{', '.join(weights.MODELS)} ({REAL_MODEL} where it can be had, else tiny)")
    parser.add_argument(
        "--architecture", help="of a --model given by the path of its weights: open_clip's name, or JSON"
    )
    parser.add_argument("--upsampler", help="bilinear, or a file of tools/train_simfeatup.py (the model's own)")
    parser.add_argument("--out", default="out", help="folder for the results (%(default)s)")
    parser.add_argument("--long-side", type=int, default=448, help="resize to this many pixels; 0: no resizing (448)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (%(default)s)")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"], help="of the image encoder")
    return parser.parse_args(argv)


def demo(args: argparse.Namespace) -> None:
    """Checks what can be checked without torch, predicts, writes and prints."""
    vocabulary = Vocabulary.of(args.classes)
    if len(vocabulary) > 256:
        raise UserError(f"{len(vocabulary)} classes: labels.png holds 256; use fewer, or predict() from Python")
    if args.model is not None and args.architecture is None:
        if Path(args.model).is_file():
            raise UserError(f"--model {args.model} is a file: tell its --architecture, too, such as ViT-L-14")
        weights.model(args.model)
    if args.long_side < 0:
        raise UserError(f"--long-side {args.long_side}: expected a number of pixels, or 0 for the image's own size")
    folder = writable_folder(args.out)
    pixels, truth, name = load_image(args.image, vocabulary)
    model = args.model or choose_model()
    about = f"{args.architecture} from a file" if args.architecture else weights.model(model).about

    started = time.perf_counter()
    say(f"loading {model}: {about}")
    from tqdm import tqdm

    from segearth.loading import load_model
    from segearth.summary import save, summarise, table

    upsampler = args.upsampler or "default"
    predictor = load_model(
        model, vocabulary, args.device, args.precision, architecture=args.architecture, upsampler=upsampler
    )
    loaded = time.perf_counter()
    with tqdm(desc="windows", unit="", leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = predictor.predict(pixels, args.long_side or None, progress)
    seconds = {"load": round(loaded - started, 2), "predict": round(time.perf_counter() - loaded, 2)}

    run_facts = {
        "image": name,
        "model": model,
        "about": about,
        "upsampler": upsampler,
        "device": str(predictor.device),
        "precision": args.precision,
        "long_side": args.long_side or None,
        "seconds": seconds,
    }
    summary = run_facts | summarise(result, vocabulary, truth)
    save(folder, pixels, result, summary)
    print("\n" + table(summary))
    print(f"\nwritten to {folder}: labels.png, overlay.png, summary.json")
    if model == "tiny":
        size = weights.model(REAL_MODEL).download_bytes / 1e6
        print(f"with the real CLIP (a download of {size:.0f} MB, once):\n  {same_command(args)}")


def same_command(args: argparse.Namespace) -> str:
    """This run's command with the real CLIP, by the Python that runs it."""
    own = Path(sys.executable)
    python = str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else "python"
    words = [python, "demo.py", "--model", REAL_MODEL]
    words += ["--image", args.image] if args.image else []
    words += ["--classes", args.classes] if args.classes != CLASSES else []
    return shlex.join(words)


def choose_model() -> str:
    """The real CLIP where it is cached or can be downloaded, else the packaged one, and says so."""
    instead = "so the packaged model 'tiny' is used instead"
    files = sorted(weights.model(REAL_MODEL).downloads, key=lambda file: file.size or file.about_size)
    missing = [file for file in files if weights.find(file) is None]
    if missing and not weights.reachable(missing[0]):
        names = " and ".join(file.name for file in missing)
        say(f"{REAL_MODEL} needs {names}, neither cached nor reachable from here, {instead}")
        return "tiny"
    for file in missing:
        say(f"{file.name} ({file.size_text}) is downloaded to {weights.cache_dir()}; --model tiny needs no download")
        try:
            weights.fetch(file)
        except UserError as error:
            say(f"{error}\n{instead.capitalize()}")
            return "tiny"
    return REAL_MODEL


def load_image(choice: str | None, vocabulary: Vocabulary) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, str]:
    """The pixels (H, W, 3), their true labels (H, W) where known for this vocabulary, and a name."""
    import numpy as np
    from PIL import Image

    from segearth.images import read_image

    if choice is None:
        pixels, _ = read_image(weights.packaged("scene.jpg"))
        truth = np.asarray(Image.open(weights.packaged("scene_labels.png")))
        return pixels, truth if vocabulary.classes == LAND_COVER else None, "the drawn demo scene"
    path = weights.fetch(choice) if choice in weights.FILES and not Path(choice).exists() else Path(choice)
    pixels, remarks = read_image(path)
    for remark in remarks:
        say(f"note: {remark}")
    return pixels, None, str(choice)


def say(text: str) -> None:
    """A remark while working, on stderr: stdout keeps the result."""
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = parse(argv)
    return run(lambda: demo(args))


if __name__ == "__main__":
    sys.exit(main())
