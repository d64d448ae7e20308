"""Measures a prediction against the backbone that it cannot do without, in one run on one machine.

    python tools/benchmark.py              # a few minutes
    python tools/benchmark.py --full       # also larger images, one thread, and the upsampling as it is published

A ViT-B/16 and a SimFeatUp with random weights, nine class names, long side 448, 224 windows at stride 112. Rounds are
interleaved and medians compared, so that what else the machine does falls on all alike. What is measured:

(a) open_clip's own `visual` on the image's nine windows, in one batch, float32, by the products that torch chooses
(A) the same at its best: products by oneDNN where they can be, as commands take them, in batches of 3 windows
(b) the whole prediction, from pixels to labels, in float32 and with the encoder in bfloat16
(c) its parts: encoder, guidance kernels, adaptive convolution, the rest
(d) --full: SimFeatUp of one window by unfolding the whole 512-channel map, times nine (takes 15 GB)

    python tools/benchmark.py --device cuda          # five minutes at most; also cpu and mps
    python tools/benchmark.py --device cpu --quick

measures another thing, on any device: whole predictions by precision, side and batch, with the operations that they
start and their memory, the ways to compute the upsampling, and the published method (`benchmarks.on_device`).

Scenes, beside the model: tools/benchmark_scenes.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from benchmarks.clocks import Parts, clocks, forget_peak, resident_mb, timed
from benchmarks.device_report import device_report
from benchmarks.on_device import QUICK, Extent, measure
from benchmarks.published import upsample
from benchmarks.workload import machine, models, picture, window_batch
from segearth.compute import choose_device
from segearth.json_files import write_json
from segearth.models import DenseCLIP, tiles
from segearth.models.onednn import use_onednn
from segearth.outputs import atomic
from segearth.predictor import Predictor

FULL_SIDES = (448, 896, 1792)
BEST_BATCH = 3  # windows in a call of `visual`, whose memory then stays in the cache
PARTS: Parts = {
    "encoder": ((DenseCLIP, "forward"),),
    "guidance kernels": ((tiles.TileKernels, "kernels"),),
    "guidance keys": ((tiles.TileKernels, "from_guidance"),),
    "adaptive convolution": ((tiles, "apply_kernels"),),
}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measures, prints a table and writes JSON; returns what was measured."""
    parser = argparse.ArgumentParser(description="Measure a prediction against its backbone.")
    parser.add_argument("--full", action="store_true", help="also sides 896 and 1792, one thread, and (d)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; medians are compared (%(default)s)")
    parser.add_argument("--side", type=int, default=448, help="side of the image in pixels (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/benchmark.json"), help="JSON to write (%(default)s)")
    parser.add_argument(
        "--memory", type=int, nargs="*", default=[448], help="image sides to take the peak memory of (Linux)"
    )
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)  # in a process of its own
    on_device = parser.add_argument_group("on a device, in place of all this")
    on_device.add_argument("--device", help="cpu, cuda, cuda:N or mps: tables by precision, size and batch")
    on_device.add_argument("--quick", action="store_true", help="small sizes, each measured once: to try it")
    on_device.add_argument("--sides", type=int, nargs="+", help="sides of the images in pixels (448 896 1792)")
    on_device.add_argument("--batches", type=int, nargs="+", help="images at once (1 4 16)")
    on_device.add_argument("--seconds", type=float, help="after which no other row is begun (300)")
    args = parser.parse_args(argv)
    if args.peak is not None:
        print(json.dumps(peak_memory(args.peak), allow_nan=False))
        return {}

    products = use_onednn() or "oneDNN"
    if args.device is not None:
        return measure_device(args, products)

    found: dict[str, Any] = {"machine": machine(), "products": products, "side": args.side}
    clip, predictors = models()
    with torch.inference_mode():
        found |= compare(clip, predictors, args.side, args.rounds)
        if args.full:
            found["sides"] = [one_size(clip, predictors["fp32"], side) for side in FULL_SIDES]
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            found["one thread"] = compare(clip, predictors, args.side, args.rounds)
            torch.set_num_threads(threads)
            model = predictors["fp32"].model
            source = torch.randn(1, model.encoder.dim, 14, 14)
            window, queries = window_batch(224), model.query_features
            found["unfolded, one window"] = timed(lambda: upsample(model.upsampler, source, window, queries))
    linux = Path("/proc/self/clear_refs").exists()
    found["memory"] = [measure_memory(side) for side in args.memory] if linux else []
    print(report(found))
    write(args.out, found)
    print(f"\nwritten to {args.out}")
    return found


def measure_device(args: argparse.Namespace, products: str) -> dict[str, Any]:
    """The tables of a device, as asked for on the command line."""
    device = choose_device(args.device)
    extent = QUICK if args.quick else Extent()
    asked = {"sides": args.sides, "batches": args.batches, "seconds": args.seconds}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    extent = replace(extent, **given)
    found = measure(models, device, extent, lambda known: write(args.out, {"products": products, **known}))
    found = {"products": products, **found}
    print(device_report(found))
    print(f"\nwritten to {args.out}")
    return found


def write(path: Path, found: dict[str, Any]) -> None:
    """Writes what was found as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as part:
        write_json(part, found)


def compare(clip: Any, predictors: dict[str, Predictor], side: int, rounds: int) -> dict[str, Any]:
    """Medians over interleaved rounds of (a), (A), (b) and (c), in seconds."""
    windows, pixels = window_batch(side), picture(side)
    seconds: dict[str, list[float]] = {}
    parts: dict[str, dict[str, list[float]]] = {precision: {} for precision in predictors}
    for number in range(rounds + 1):
        use_onednn(False)
        one = {"visual": timed(lambda: clip.visual(windows))}
        use_onednn()
        one["best visual"] = timed(lambda: [clip.visual(few) for few in windows.split(BEST_BATCH)])
        for precision, predictor in predictors.items():
            with clocks(PARTS) as spent:
                one[precision] = timed(lambda p=predictor: p.predict(pixels, side))  # type: ignore[misc]
            spent["rest"] = one[precision] - sum(spent.values())
            if number:
                for part, time_ in spent.items():
                    parts[precision].setdefault(part, []).append(time_)
        if number:  # the first round warms up
            for key, time_ in one.items():
                seconds.setdefault(key, []).append(time_)
    return {
        "windows": len(windows),
        "rounds": rounds,
        "seconds": {key: statistics.median(times) for key, times in seconds.items()},
        "parts": {
            precision: {part: statistics.median(times) for part, times in spent.items()}
            for precision, spent in parts.items()
        },
    }


def one_size(clip: Any, predictor: Predictor, side: int) -> dict[str, float]:
    """(a) and (b) once, in float32, a window."""
    windows, pixels = window_batch(side), picture(side)
    use_onednn(False)
    visual = sum(timed(lambda part=part: clip.visual(part)) for part in windows.split(9))  # type: ignore[misc]
    use_onednn()
    whole = timed(lambda: predictor.predict(pixels, side))
    return {"side": side, "windows": len(windows), "visual": visual / len(windows), "fp32": whole / len(windows)}


def measure_memory(side: int) -> dict[str, float]:
    """Resident memory of a process of its own, with the model loaded and at its peak, in MB."""
    command = [sys.executable, __file__, "--peak", str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def peak_memory(side: int) -> dict[str, float]:
    """Resident memory before and during one prediction, in MB; to be called in a fresh process."""
    use_onednn()
    _, predictors = models(("fp32",))
    pixels = picture(side)
    loaded = resident_mb("VmRSS")
    forget_peak()  # of loading
    seconds = timed(lambda: predictors["fp32"].predict(pixels, side))
    peak = resident_mb("VmHWM")
    return {"side": side, "loaded": loaded, "peak": peak, "prediction": peak - loaded, "seconds": seconds}


def report(found: dict[str, Any]) -> str:
    """The measurements as text."""
    facts, products = found["machine"], found["products"]
    by = "oneDNN, but for (a)" if products == "oneDNN" else f"what torch chooses, as {products}"
    lines = [
        f"{facts['processor']}, {facts['threads']} threads, torch {facts['torch']}, {facts['date']}",
        f"float32 products by {by}",
        "",
    ]
    lines += _comparison(found, f"image of {found['side']} pixels, {found['windows']} windows")
    if "one thread" in found:
        lines += ["", *_comparison(found["one thread"], "the same with one thread")]
    if "sides" in found:
        lines += ["", f"{'side':>6}  {'windows':>7}  {'(a) s/window':>12}  {'(b) s/window':>12}  {'(b)/(a)':>8}"]
        lines += [
            f"{row['side']:>6}  {row['windows']:>7}  {row['visual']:>12.3f}  {row['fp32']:>12.3f}  "
            f"{row['fp32'] / row['visual']:>8.2f}"
            for row in found["sides"]
        ]
    if "unfolded, one window" in found:
        plain = found["unfolded, one window"] * found["windows"]
        ratio = plain / found["seconds"]["fp32"]
        lines += [
            "",
            f"(d) upsampling as published: {plain:.0f} s for {found['windows']} windows, (d)/(b) = {ratio:.0f}",
        ]
    for row in found["memory"]:
        lines += [
            "",
            f"memory at {row['side']} pixels: {row['loaded']:.0f} MB with the model loaded, {row['prediction']:.0f} MB "
            f"more at the peak of a prediction ({row['seconds']:.1f} s)",
        ]
    return "\n".join(lines)


def _comparison(found: dict[str, Any], title: str) -> list[str]:
    seconds = found["seconds"]

    def line(name: str, time_: float) -> str:
        shares = f"{time_ / seconds['visual']:>5.2f} × (a)   {time_ / seconds['best visual']:>5.2f} × (A)"
        return f"  {name:<34}{time_:>8.3f} s   {shares}"

    lines = [title, line("(a) visual, float32, as shipped", seconds["visual"])]
    lines.append(line("(A) visual, float32, at its best", seconds["best visual"]))
    for precision, parts in found["parts"].items():
        lines.append(line(f"(b) prediction, encoder in {precision}", seconds[precision]))
        lines += [
            f"      {part:<30}{time_:>8.3f} s   {time_ / seconds['visual']:>5.2f}" for part, time_ in parts.items()
        ]
    return lines


if __name__ == "__main__":
    main()
