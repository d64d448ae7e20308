"""Measures a small CLIP made by train_tiny_clip.py on images kept out of its training, and writes its model card.

    python tools/evaluate_tiny_clip.py --weights segearth/data/tiny.safetensors --data DIR --samples DIR

The card is written beside the weights unless --card says where. Without --data and --samples, drawn scenes only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.exits import run
from segearth.outputs import writable_folder
from tiny_clip.report import report_on

DATA = Path(__file__).parents[1] / "segearth" / "data"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the evaluation; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure a small CLIP and write its model card.")
    parser.add_argument("--weights", type=Path, default=DATA / "tiny.safetensors")
    parser.add_argument("--config", type=Path, default=DATA / "tiny.json", help="architecture, as open_clip's JSON")
    parser.add_argument("--simfeatup", type=Path, help="its upsampler (WEIGHTS_simfeatup.safetensors, where it is)")
    parser.add_argument("--data", type=Path, help="folder of the open image sets (tools/tiny_clip/sources.py)")
    parser.add_argument("--samples", type=Path, help="folder with LoveDA/img_dir/val and LoveDA/ann_dir/val")
    parser.add_argument("--upsamplers", type=Path, help="folder of upsamplers (tools/tiny_clip/ablation.py)")
    parser.add_argument("--card", type=Path, help="the file to write; by default beside the weights")
    args = parser.parse_args(argv)

    def measure() -> None:
        if args.card is not None:
            writable_folder(args.card.parent)
        beside = args.weights.with_name(f"{args.weights.stem}_simfeatup.safetensors")
        simfeatup = args.simfeatup or (beside if beside.is_file() else None)
        report_on(
            args.weights,
            args.config,
            args.data,
            args.samples,
            card=args.card,
            simfeatup=simfeatup,
            upsamplers=args.upsamplers,
        )

    return run(measure)


if __name__ == "__main__":
    sys.exit(main())
