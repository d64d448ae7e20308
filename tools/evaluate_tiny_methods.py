"""Measures methods beyond the paper, and test-time averaging, with `tiny`, and puts the table into its card.

    python tools/evaluate_tiny_methods.py --data training-data --samples DIR

Without --data and --samples, drawn scenes only. It takes five minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.exits import run
from segearth.loading import load_clip, read_upsampler
from tiny_clip.evaluation import held_out_sets
from tiny_clip.methods import measure_ways, section, write_section

DATA = Path(__file__).parents[1] / "segearth" / "data"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure methods beyond the paper with the packaged model.")
    parser.add_argument("--data", type=Path, help="folder of the open image sets (tools/tiny_clip/sources.py)")
    parser.add_argument("--samples", type=Path, help="folder with LoveDA/img_dir/val and LoveDA/ann_dir/val")
    parser.add_argument("--card", type=Path, default=DATA / "tiny.md", help="the card that the table is put into")
    args = parser.parse_args(argv)

    def measure() -> None:
        clip = load_clip("tiny")
        _, *sets = held_out_sets(args.data, args.samples)  # the first is the demo scene alone
        measured = measure_ways(clip, sets, read_upsampler(DATA / "tiny_simfeatup.safetensors"))
        write_section(args.card, section(measured, len(clip.visual.transformer.resblocks)))  # type: ignore[union-attr, arg-type]
        print(f"wrote {args.card}")

    return run(measure)


if __name__ == "__main__":
    sys.exit(main())
