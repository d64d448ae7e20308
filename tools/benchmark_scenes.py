"""Measures what mapping a scene takes beside the model's own work, in one run on one machine.

    python tools/benchmark_scenes.py
    python tools/benchmark_scenes.py --size 20000 --model-size 6000     # an hour

(a) with a stub for the model: seconds and megapixels a second of reading, blending, labels, writing and assembly
(b) with a model: the whole time over the number of windows times that of a window in `Predictor.predict`
(c) windows that are computed for those there are, for blocks of several sizes in a scene of 20,000 × 20,000
(d) one process against two: seconds, and the memory of all processes, as PSS, above that of idle ones (Linux)
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

import rasterio.shutil
from PIL import Image

from benchmarks.clocks import Parts, clocks, timed
from benchmarks.workload import machine, picture
from check_scenes import empty, idle_mb, whole
from scene_checks.raster import write_raster
from scene_checks.run import Run
from segearth.json_files import write_json
from segearth.models import SegEarth
from segearth.models.blend import Blend
from segearth.models.pixel_logits import PixelLogits
from segearth.outputs import atomic
from segearth.scenes import blocks as blocks_module
from segearth.scenes import scene_files
from segearth.scenes.block_files import BlockWriter
from segearth.scenes.grid import blocks
from segearth.scenes.options import SceneOptions
from segearth.scenes.predict import predict_scene
from segearth.scenes.raster import Raster
from segearth.scenes.scene_summary import ClassSums
from segearth.windows import CROP, STRIDE, Grid, Window

PARTS: Parts = {
    "reading": ((Raster, "read"),),
    "model": ((SegEarth, "_encode"), (PixelLogits, "of_group")),
    "blending": ((Blend, "add"), (Blend, "take")),
    "labels and scores": ((blocks_module, "classify"), (blocks_module, "apply_thresholds"), (ClassSums, "from_arrays")),
    "writing": ((BlockWriter, "_open"), (BlockWriter, "write"), (BlockWriter, "_close"), (BlockWriter, "_check")),
    "assembly": ((rasterio.shutil, "copy"),),
    "overlay": ((scene_files, "scene_overlay"), (Image.Image, "save")),  # as large for every scene
}
HALO_SIZE = 20_000  # side of the scene that is cut into blocks of these sides
BLOCKS = (448, 1008, 2016, 3584, 8064)
ROUNDS = 3  # of predictions before and after a scene


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measures, prints and writes JSON; returns what was measured."""
    parser = argparse.ArgumentParser(description="Measure what mapping a scene takes beside the model's own work.")
    parser.add_argument("--size", type=int, default=2500, help="side of the scene of the stub in pixels (%(default)s)")
    parser.add_argument("--model", default="tiny", help="what `segearth predict --model` takes (%(default)s)")
    parser.add_argument("--model-size", type=int, default=1400, help="side of the scene of the model (%(default)s)")
    parser.add_argument("--side", type=int, default=672, help="side of the image that is predicted (%(default)s)")
    parser.add_argument("--block", type=int, help="side of blocks in pixels; as usual if left out")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="processes to compare (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/benchmark_scenes.json"), help="JSON (%(default)s)")
    args = parser.parse_args(argv)

    folder = args.out.with_suffix("")
    empty(folder)
    stub = Run(_scene(folder, args.size), str(folder / "stub"), block=args.block)
    model = Run(_scene(folder, args.model_size), str(folder / "model"), model=args.model, block=args.block)
    found: dict[str, Any] = {"machine": machine(), "stub": in_parts(stub)}
    found["model"] = against_prediction(model, args.side)
    found["halo"] = {str(side): halo(HALO_SIZE, side) for side in BLOCKS}
    found["workers"] = [
        workers(replace(run, block=run.block or 1008, workers=count)) for run in (stub, model) for count in args.workers
    ]
    print(report(found))
    with atomic(args.out) as part:
        write_json(part, found)
    print(f"\nwritten to {args.out}")
    return found


def _scene(folder: Path, side: int) -> str:
    """A raster without empty parts, so that all windows are computed."""
    path = folder / f"scene{side}.tif"
    return str(path if path.is_file() else write_raster(path, (side, side), empty=0))


def in_parts(run: Run) -> dict[str, Any]:
    """Maps a scene in this process; seconds of the whole and of each part."""
    options = SceneOptions(block=run.block, confidence=True)
    with rasterio.open(run.scene) as file:
        megapixels = file.height * file.width / 1e6
    predictor = run.predictor()
    with clocks(PARTS) as spent:
        seconds = timed(lambda: predict_scene(run.scene, empty(Path(run.out)), predictor, options=options))
    spent["rest"] = seconds - sum(spent.values())
    return {"megapixels": megapixels, "seconds": seconds, "parts": spent}


def against_prediction(run: Run, side: int) -> dict[str, Any]:
    """The time of a scene, and of as many windows as it has in predictions before and after it."""
    predictor, pixels = run.predictor(), picture(side)
    windows = predictor.model.grid(side, side).count
    predictor.predict(pixels, None, False)  # warms up
    each = [timed(lambda: predictor.predict(pixels, None, False)) / windows for _ in range(ROUNDS)]
    with rasterio.open(run.scene) as file:
        count = predictor.model.grid(file.height, file.width).count
    options = SceneOptions(block=run.block)
    seconds = timed(lambda: predict_scene(run.scene, empty(Path(run.out)), predictor, options=options))
    each += [timed(lambda: predictor.predict(pixels, None, False)) / windows for _ in range(ROUNDS)]
    window = statistics.median(each)
    return {
        "model": run.model, "windows": count, "seconds": seconds, "seconds a window": window,
        "ratio": seconds / (count * window),
    }  # fmt: skip


def halo(size: int, side: int) -> float:
    """Windows that blocks compute for those of the whole grid."""
    grid = Grid(size, size, CROP, STRIDE)
    return sum(len(grid.windows(block.area)) for block in blocks(Window(0, size, 0, size), side)) / grid.count


def workers(run: Run) -> dict[str, Any]:
    """Seconds of a scene in processes of its own, and the memory of all of them."""
    empty(Path(run.out))
    found = whole(run)
    idle = idle_mb(run)
    return {
        "model": run.model, "workers": run.workers, "seconds": found.seconds, "idle MB": idle,
        "MB above": found.peak_mb - idle,
    }  # fmt: skip


def report(found: dict[str, Any]) -> str:
    """The measurements as text."""
    facts, stub, model = found["machine"], found["stub"], found["model"]
    lines = [f"{facts['processor']}, {facts['threads']} threads, torch {facts['torch']}, {facts['date']}", ""]
    lines += [f"(a) {stub['megapixels']:.1f} megapixels with a stub for the model: {stub['seconds']:.1f} s"]
    lines += [
        f"      {part:<20}{seconds:>8.2f} s {stub['megapixels'] / max(seconds, 1e-9):>9.1f} megapixels a second"
        for part, seconds in stub["parts"].items()
    ]
    lines += ["", f"(b) {model['windows']:,} windows with {model['model']}: {model['seconds']:.1f} s"]
    lines += [
        f"      {model['ratio']:.3f} × their number × {model['seconds a window']:.3f} s of one in a prediction",
        "",
    ]
    lines += [f"(c) windows computed for those there are in a scene of {HALO_SIZE:,}², by the side of blocks"]
    lines += [
        "      " + "   ".join(f"{side}: {ratio:.3f}" for side, ratio in found["halo"].items()),
        "",
        "(d) processes",
    ]
    lines += [
        f"      {row['model']:<8}{row['workers']:>3}{row['seconds']:>9.1f} s, {row['MB above']:.0f} MB above "
        f"{row['idle MB']:.0f} MB of idle ones"
        for row in found["workers"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
