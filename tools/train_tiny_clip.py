"""Trains `tiny`, the small CLIP in segearth/data, and writes its weights and its model card.

    pip install -r requirements-dev.txt
    python tools/train_tiny_clip.py --data DIR --out segearth/data/tiny.safetensors

DIR holds the open image sets described in tools/tiny_clip/sources.py; without it the drawn scenes alone
are learned from. Killed and started again with the same options, it goes on at its last checkpoint.
About an hour on two CPU cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from safetensors.torch import save as to_bytes
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.errors import UserError
from segearth.exits import run
from segearth.outputs import atomic, writable_folder
from tiny_clip.report import report_on
from tiny_clip.sources import POOL_SEEDS, draw_samples, read_folder
from tiny_clip.training import ClipRecipe, train

CONFIG = Path(__file__).parents[1] / "segearth" / "data" / "tiny.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the training; returns the exit code."""
    default = ClipRecipe()
    parser = argparse.ArgumentParser(description="Train `tiny`, the small CLIP, on open images and drawn scenes.")
    parser.add_argument("--data", type=Path, help="folder of the open image sets; without it, drawn scenes only")
    parser.add_argument(
        "--samples", type=Path, help="folder with LoveDA/img_dir/val and LoveDA/ann_dir/val, to measure"
    )
    parser.add_argument("--out", type=Path, default=Path("out/tiny/tiny.safetensors"), help="weights to write")
    parser.add_argument("--config", type=Path, default=CONFIG, help="architecture, as open_clip's JSON")
    parser.add_argument("--steps", type=int, default=default.steps, help="of the image tower")
    parser.add_argument("--text-steps", type=int, default=default.text_steps, help="of the text tower")
    parser.add_argument("--batch", type=int, default=default.batch, help="crops a step")
    parser.add_argument("--lr", type=float, default=default.lr, help="highest learning rate, AdamW's")
    parser.add_argument("--muon-lr", type=float, default=default.muon_lr, help="highest learning rate, Muon's")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--teacher", choices=("minilm", "hash"), default=default.teacher, help="hash: for tests only")
    parser.add_argument("--scenes", type=int, default=96, help="scenes to draw")
    parser.add_argument("--scene-size", type=int, default=1024, help="their side in pixels")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw them; 0 for none")
    parser.add_argument("--every", type=int, default=250, help="steps between two checkpoints")
    args = parser.parse_args(argv)
    return run(lambda: make(args))


def make(args: argparse.Namespace) -> None:
    """Reads and draws the samples, trains, saves, measures."""
    for name in ("steps", "text_steps", "batch", "scenes", "scene_size", "every"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(args, name)}: expected at least 1")
    writable_folder(args.out.parent)
    start = time.monotonic()
    recipe = ClipRecipe(args.steps, args.text_steps, args.batch, args.lr, args.muon_lr, args.seed, args.teacher)
    samples = [] if args.data is None else read_folder(args.data)
    samples += draw_samples(range(POOL_SEEDS, POOL_SEEDS + args.scenes), args.scene_size, args.workers)
    print(f"{len(samples)} images, {time.monotonic() - start:.0f} s", flush=True)
    checkpoint = args.out.with_suffix(".checkpoint")
    clip = train(args.config, samples, recipe, checkpoint, args.every)
    sources = sorted({sample.source for sample in samples})
    save(clip, args.out, {
        "steps": str(args.steps), "text_steps": str(args.text_steps), "batch": str(args.batch), "lr": str(args.lr),
        "muon_lr": str(args.muon_lr), "seed": str(args.seed), "teacher": args.teacher, "sources": ", ".join(sources),
        "drawn_scenes": f"{args.scenes} of {args.scene_size} pixels", "torch": version("torch"),
    })  # fmt: skip
    print(f"trained in {(time.monotonic() - start) / 60:.0f} min; {checkpoint} is not needed any more", flush=True)
    report_on(args.out, args.config, args.data, args.samples, samples, args.scene_size)


def save(clip: nn.Module, path: Path, about: dict[str, str]) -> None:
    """Writes the weights as float16 safetensors, with what they are."""
    state = {name: value.half().contiguous() for name, value in clip.state_dict().items()}
    notes = {"about": "small CLIP for remote sensing; not OpenAI's CLIP", **about}
    with atomic(path) as part:
        part.write_bytes(to_bytes(state, metadata=notes))  # save_file would make it the owner's alone
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
