"""Measures a training step of SimFeatUp: seconds, peak memory, and what computing kernels twice costs.

    python tools/benchmark_simfeatup.py                                 # ViT-B/16, D = 512, batch 4: some minutes
    python tools/benchmark_simfeatup.py --architecture tiny --rounds 5

A CLIP with random weights and random images; every variant runs in a process of its own, and variants are interleaved,
so that what else the machine does falls on all alike. Memory is what a process takes beyond the loaded model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed
sys.path.insert(0, str(Path(__file__).parent))

from benchmarks.clocks import resident_mb, timed
from benchmarks.workload import machine
from segearth.architectures import build_clip, clip_config
from segearth.compute import choose_device
from segearth.errors import UserError
from segearth.exits import run
from segearth.json_files import write_json
from segearth.outputs import atomic, writable_folder
from segearth.training.simfeatup.images import Batch
from segearth.training.simfeatup.recipe import UpsamplerRecipe
from segearth.training.simfeatup.step import Features, Trainee, accumulate, check_crop

# name -> whether all images are in memory at once (else as many as the device is best at), and kernels computed twice
VARIANTS: dict[str, tuple[bool, bool]] = {
    "as it is": (False, False),
    "kernels computed twice": (False, True),
    "all images at once": (True, False),
    "all images at once, kernels twice": (True, True),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints a table and writes JSON; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure a training step of SimFeatUp.")
    parser.add_argument("--architecture", default="ViT-B-16-quickgelu", help="open_clip's name, or tiny (%(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="images a step (%(default)s)")
    parser.add_argument("--crop", type=int, default=224, help="their side in pixels (%(default)s)")
    parser.add_argument("--jitters", type=int, default=5, help="jittered copies a step (%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="rounds; medians are shown (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/benchmark_simfeatup.json"), help="JSON to write")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)  # in a process of its own
    args = parser.parse_args(argv)
    if args.variant is not None:
        return run(lambda: print(json.dumps(one_step(args, *VARIANTS[args.variant]), allow_nan=False)))
    return run(lambda: measure(args, list(argv if argv is not None else sys.argv[1:])))


def measure(args: argparse.Namespace, options: list[str]) -> None:
    """Runs every variant in a process of its own.

    Args:
        args: the options.
        options: the same as they were given.

    Raises:
        UserError: what went wrong in one of them.
    """
    if args.rounds < 1:
        raise UserError(f"--rounds {args.rounds}: expected 1 or more")
    writable_folder(args.out.parent)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for _ in range(args.rounds):
        for name, steps in runs.items():
            command = [sys.executable, __file__, *options, "--variant", name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
                raise UserError(f"measuring {name!r} failed: {lines[-1].removeprefix('error: ')}")
            steps.append(json.loads(done.stdout))
    median = {
        name: {key: statistics.median(step[key] for step in steps) for key in steps[0]} for name, steps in runs.items()
    }
    settings = {key: getattr(args, key) for key in ("architecture", "batch", "crop", "jitters", "rounds", "device")}
    result = {"machine": machine(), "settings": settings, "steps": median}
    print(report(result))
    with atomic(args.out) as part:
        write_json(part, result)


def one_step(args: argparse.Namespace, all_at_once: bool, recompute: bool) -> dict[str, float]:
    """Seconds of a step and of the CLIP's part in it, and memory in MB; to be called in a fresh process.

    Raises:
        UserError: an unknown architecture, or an option that does not fit it.
    """
    known = open_clip.list_models()
    if args.architecture not in (*known, "tiny"):
        raise UserError(f"unknown architecture {args.architecture!r}: give tiny or a name of open_clip.list_models()")
    if min(args.batch, args.jitters) < 1:
        raise UserError(f"--batch {args.batch} --jitters {args.jitters}: expected 1 or more of each")
    device = choose_device(args.device)
    torch.manual_seed(0)
    clip = build_clip(clip_config(args.architecture), args.architecture)
    features = Features(clip).eval().requires_grad_(False).to(device)
    recipe = UpsamplerRecipe(jitters=args.jitters, recompute=recompute, at_once=args.batch if all_at_once else None)
    trainee = Trainee(features.encoder.dim, features.encoder.patch_size, recipe).to(device)
    check_crop(args.crop, features.encoder.patch_size, trainee.upsampler)
    images = torch.randn(args.batch, 3, args.crop, args.crop, device=device)
    batch = Batch(0, list(range(args.batch)), images, args.batch)
    cuda, linux = device.type == "cuda", Path("/proc/self/clear_refs").exists()

    def step() -> None:
        accumulate(trainee, features, batch, recipe, 0)
        if cuda:
            torch.cuda.synchronize(device)

    loaded = resident_mb("VmRSS") if linux else 0.0
    if linux:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
    first = timed(step)
    processor = time.process_time()
    seconds = timed(step)
    processor = time.process_time() - processor
    peak = resident_mb("VmHWM") - loaded if linux else 0.0
    if cuda:
        peak = torch.cuda.max_memory_allocated(device) / 1e6
    encoder = timed(lambda: features(images)) * (1 + args.jitters)
    return {"first": first, "seconds": seconds, "processor": processor, "encoder": encoder, "memory": peak}


def report(result: dict[str, Any]) -> str:
    """The measurements as text."""
    facts, settings = result["machine"], result["settings"]
    lines = [
        f"{facts['processor']}, {facts['threads']} threads, torch {facts['torch']}, {facts['date']}",
        f"{settings['architecture']}, {settings['batch']} crops of {settings['crop']} pixels, "
        f"{settings['jitters']} jitters",
        "",
        f"{'':<36}{'s/step':>8}{'CPU s':>8}{'of it CLIP':>12}{'memory':>11}",
    ]
    lines += [
        f"{name:<36}{step['seconds']:>8.2f}{step['processor']:>8.2f}{step['encoder']:>12.2f}{step['memory']:>8.0f} MB"
        for name, step in result["steps"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
